"""What a machine learning framework has to know: its program's command line, output and tensors.

A framework composes and parses. It never copies files, starts processes or knows the platform.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from benchmarking.errors import Fault, ProgramOutputError
from benchmarking.programs.command import Command, Outcome, Program
from benchmarking.results.model import Cost, Fact, Kernel, Measurement

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from benchmarking.specs.expand import TestCase
    from benchmarking.specs.later_form import TemplateRun


@dataclass(frozen=True)
class Invocation:
    """One start of the benchmark program. All paths are the device's."""

    case: TestCase
    launcher: tuple[str, ...]
    """The arguments that start the program: its path, with the interpreter in front where it needs one."""
    model_files: Mapping[str, str]
    """By the key of ``model.files`` ("init", "predict")."""
    input_files: Mapping[str, str]
    """By blob, or by the name in a command template, where a case feeds files."""
    output_directory: str | None = None
    """Where the program shall write the blobs that are wanted; None: none are."""
    outputs: tuple[str, ...] = ()
    """The blobs that are wanted, where they are others than those of ``case.golden_files``."""
    shared_libraries: tuple[str, ...] = ()
    backend: str | None = None
    """The command line's choice; beats the specification's."""
    timeout_s: float | None = None

    def fill(self, run: TemplateRun) -> tuple[str, ...]:
        """The argument list of a command line that the specification gives whole."""
        directory = self.output_directory or ""
        values = {
            **run.variables,
            "iter": str(self.case.iterations),
            "warmup": str(self.case.warmup),
            "TGTDIR": directory,
            **{f"files.{key}": path for key, path in self.model_files.items()},
            **{f"input_files.{name}": path for name, path in self.input_files.items()},
            **{f"output_files.{name}": f"{directory}/{file}" for name, file in run.output_files.items()},
        }
        return run.command.fill(self.launcher, values)


@dataclass(frozen=True)
class ProgramReport:
    """What a program's output says."""

    measurements: tuple[Measurement, ...]
    """``NET_DELAY`` first, then the operators in the order of the net."""
    facts: Mapping[str, Fact] = field(default_factory=dict)
    """Engine, versions, threads: whatever the program says of itself."""
    warnings: tuple[str, ...] = ()
    """What a reader of the result has to know."""
    costs: Mapping[str, Cost] = field(default_factory=dict)
    """By the type of measurement, where the program tells them."""
    kernels: Mapping[str, Kernel] = field(default_factory=dict)
    """By operator, in the order of the net: what computed it, where the program tells that."""


@dataclass(frozen=True)
class BackendStatus:
    """A backend as a program tells of it, on the device that it was asked on."""

    name: str
    available: bool
    reason: str = ""
    """Why it is not, and how to get it; one line."""
    engine: str = ""
    """Of a program that has several: which of them has the backend."""


class FrameworkBase(ABC):
    """Derive from it, implement every method, add one line to ``frameworks.py``."""

    name: ClassVar[str]
    formats: ClassVar[tuple[str, ...]] = ()
    """Of the specification's ``model.format``: those that the framework runs, in order of preference. Of a
    model in several formats it gets the first of these that the model has. Empty: any format."""
    backends: ClassVar[tuple[str, ...]] = ()
    """Of its own program, on whatever device: a name that is nearly one of these is a mistake. Empty: any
    name may be right."""

    @abstractmethod
    def check(self, case: TestCase) -> Sequence[Fault]:
        """What makes the case impossible for this framework (wrong format, a missing model file ...)."""

    @abstractmethod
    def default_program(self) -> Program:
        """The framework's own benchmark program, for runs without --program.

        Raises:
            UsageError: the framework has none.
        """

    @abstractmethod
    def backend(self, case: TestCase, override: str | None) -> str | None:
        """The backend that the case runs on; ``override`` (the command line's) wins."""

    def engine(self, case: TestCase) -> str | None:
        """Of a program that has several (``BackendStatus.engine``): the one that the case names."""
        return None

    @abstractmethod
    def compose(self, invocation: Invocation) -> Command:
        """The command that runs one case once."""

    def compose_worker(self, invocation: Invocation, *, forks: bool, layout_seed: int = 0) -> Command | None:
        """The command of a program that runs single iterations on demand (``docs/worker_protocol.md``).

        ``forks``: it forks such workers. ``layout_seed``, of 32 bits: what decides how things lie in its
        memory may hang on it; the two programs that are compared get the same. None: no program of this
        framework does so. Whether the program at hand does, its first line tells (``worker_protocol``); one
        that does not may do anything, so bound it in time.
        """
        return None

    def compose_backend_list(
        self, launcher: tuple[str, ...], shared_libraries: tuple[str, ...] = ()
    ) -> Command | None:
        """The command that tells which backends the program has; None: no program of this framework does.

        A program that knows no such command may do anything with it.
        """
        return None

    def parse_backend_list(self, outcome: Outcome) -> tuple[BackendStatus, ...]:
        """What ``compose_backend_list`` gave.

        Raises:
            ProgramError: the program did not tell.
        """
        raise ProgramOutputError(f"programs of the framework {self.name} do not tell their backends")

    def outputs(self, case: TestCase, model_files: Mapping[str, Path]) -> tuple[str, ...]:
        """The blobs that a model's answer is made of; empty where that is not known."""
        return tuple(case.model.outputs or ())

    def model_outputs(self, model_files: Mapping[str, Path]) -> tuple[str, ...]:
        """As the files name them; empty where that is not known, or where they are no model: what runs them
        says so in its own words."""
        return ()

    def times_operators(self, case: TestCase) -> bool:
        """Whether the case asks for the time of each operator."""
        return False

    @abstractmethod
    def parse(self, outcome: Outcome, case: TestCase) -> ProgramReport:
        """The samples in what the program printed; as many as ``case`` asks for.

        Raises:
            ProgramOutputError: samples are missing; carries the end of the program's log.
        """

    @abstractmethod
    def output_file(self, blob: str) -> str:
        """The file name, below ``Invocation.output_directory``, that the program writes ``blob`` to."""

    @abstractmethod
    def read_tensor(self, path: Path) -> NDArray[np.float64]:
        """The values of a golden or an output file, flattened: shape (n,).

        Raises:
            ProgramOutputError: the file is missing or is not a tensor.
        """
