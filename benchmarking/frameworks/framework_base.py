"""The knowledge about a machine learning framework: its program's command line, output and tensors.

A framework composes command lines and parses output. It never copies files or starts processes, and it does
not know the platform.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from benchmarking.errors import Fault, ProgramOutputError
from benchmarking.programs.command import Command, CpuUse, Outcome, Program
from benchmarking.results.model import Cost, Fact, Kernel, Measurement

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from benchmarking.frameworks.kit.signature import Signature
    from benchmarking.specs.expand import TestCase
    from benchmarking.specs.later_form import TemplateRun


@dataclass(frozen=True)
class Invocation:
    """One start of the benchmark program. All paths are paths on the device."""

    case: TestCase
    launcher: tuple[str, ...]
    """The arguments that start the program: its path, preceded by the interpreter if it needs one."""
    model_files: Mapping[str, str]
    """Maps the key of ``model.files`` ("init", "predict") to the path."""
    input_files: Mapping[str, str]
    """Maps the blob, or the name in a command template, to the path of its input file, if the case feeds
    files.
    """
    output_directory: str | None = None
    """The directory to which the program writes the requested blobs; None if none are requested."""
    outputs: tuple[str, ...] = ()
    """The requested blobs, if they differ from those of ``case.golden_files``."""
    shared_libraries: tuple[str, ...] = ()
    backend: str | None = None
    """The backend of the command line; overrides the backend of the specification."""
    allow_code: bool = False
    """Whether the program may run code that the model's files contain."""
    timeout_s: float | None = None

    def fill(self, run: TemplateRun) -> tuple[str, ...]:
        """The argument list of a command line that the specification gives completely."""
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
    """The contents of a program's output."""

    measurements: tuple[Measurement, ...]
    """``NET_DELAY`` first, then the operators in the order of the net."""
    facts: Mapping[str, Fact] = field(default_factory=dict)
    """Facts that the program reports about itself: engine, versions, threads."""
    warnings: tuple[str, ...] = ()
    """Notes that readers of the result have to know."""
    costs: Mapping[str, Cost] = field(default_factory=dict)
    """Maps the type of measurement to its cost, if the program reports costs."""
    kernels: Mapping[str, Kernel] = field(default_factory=dict)
    """Maps the operator, in the order of the net, to the kernel that computed it, if the program reports
    kernels.
    """
    cpu: CpuUse | None = None
    """Of the process, if it is the iteration that is measured."""


@dataclass(frozen=True)
class BackendStatus:
    """A backend as a program describes it, on the device where the program was asked."""

    name: str
    available: bool
    reason: str = ""
    """The reason why it is not available, and how to get it; one line."""
    engine: str = ""
    """The engine that has the backend, for programs with several engines."""


class FrameworkBase(ABC):
    """Base class of frameworks: derive from it, implement every method and add one line to
    ``frameworks.py``.
    """

    name: ClassVar[str]
    formats: ClassVar[tuple[str, ...]] = ()
    """The values of the specification's ``model.format`` that the framework runs, in order of preference. If
    a model exists in several formats, the framework gets the first of these that the model has. Empty: any
    format.
    """
    backends: ClassVar[tuple[str, ...]] = ()
    """The backends of the framework's own program, on all devices: a name that is similar to one of these is
    a typing error. Empty: any name may be right.
    """

    @abstractmethod
    def check(self, case: TestCase) -> Sequence[Fault]:
        """Yields the faults that make the case impossible for this framework (wrong format, a missing model
        file ...).
        """

    @abstractmethod
    def default_program(self) -> Program:
        """The framework's own benchmark program, for runs without --program.

        Raises:
            UsageError: the framework has none.
        """

    @abstractmethod
    def backend(self, case: TestCase, override: str | None) -> str | None:
        """The backend on which the case runs; ``override`` (the command line's backend) takes precedence."""

    def engine(self, case: TestCase) -> str | None:
        """The engine that the case names, for programs with several engines (``BackendStatus.engine``)."""
        return None

    @abstractmethod
    def compose(self, invocation: Invocation) -> Command:
        """The command that runs one case once."""

    def compose_worker(self, invocation: Invocation, *, forks: bool, layout_seed: int = 0) -> Command | None:
        """The command of a program that runs single iterations on demand (``docs/worker_protocol.md``).

        ``forks``: the program forks such workers. ``layout_seed``, of 32 bits: may decide the layout of the
        program's memory; the two programs that are compared get the same seed. None: no program of this
        framework runs single iterations. Whether a given program does is recognized by its first line
        (``worker_protocol``); a program that does not may do anything, so limit its time.
        """
        return None

    def compose_backend_list(
        self, launcher: tuple[str, ...], shared_libraries: tuple[str, ...] = ()
    ) -> Command | None:
        """The command that lists the program's backends; None: no program of this framework has such a
        command.

        A program without this command may react in any way.
        """
        return None

    def parse_backend_list(self, outcome: Outcome) -> tuple[BackendStatus, ...]:
        """The backends in the output of the command of ``compose_backend_list``.

        Raises:
            ProgramError: the program did not list them.
        """
        raise ProgramOutputError(f"programs of the framework {self.name} do not list their backends")

    def outputs(self, case: TestCase, model_files: Mapping[str, Path]) -> tuple[str, ...]:
        """The blobs that are the model's outputs; empty if they are not known."""
        return tuple(case.model.outputs or ())

    def model_outputs(self, model_files: Mapping[str, Path]) -> tuple[str, ...]:
        """The outputs named in the files; empty if they are not known, or if the files are not a model; the
        program that runs them reports this in its own words.
        """
        return ()

    def model_signature(self, model_files: Mapping[str, Path]) -> Signature | None:
        """The inputs and outputs of a model, as its files describe them; None if they do not.

        No runtime is needed for this.

        Raises:
            ModelError: the files are not such a model.
        """
        return None

    def times_operators(self, case: TestCase) -> bool:
        """Whether the case asks for the time of each operator."""
        return False

    @abstractmethod
    def parse(self, outcome: Outcome, case: TestCase) -> ProgramReport:
        """The samples in the program's output; as many as ``case`` requests.

        Raises:
            ProgramOutputError: samples are missing; carries the end of the program's log.
        """

    @abstractmethod
    def output_file(self, blob: str) -> str:
        """The name of the file, below ``Invocation.output_directory``, to which the program
        writes ``blob``.
        """

    @abstractmethod
    def read_tensor(self, path: Path, name: str = "") -> NDArray[np.float64]:
        """The values of a golden or an output file, flattened: shape (n,).

        Args:
            name: of the output, for a golden file with several arrays.

        Raises:
            ProgramOutputError: the file is missing or is not a tensor.
        """
