"""Caffe2: the command line and the output of its benchmark programs, the original's and our own."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, ClassVar

from benchmarking.errors import (
    Fault,
    ProgramExitError,
    ProgramOutputError,
    ProgramTimeoutError,
    UsageError,
)
from benchmarking.files import atomic_file
from benchmarking.files.user import user_directory
from benchmarking.frameworks.caffe2 import observer_log, tensor_file
from benchmarking.frameworks.framework_base import BackendStatus, FrameworkBase, Invocation, ProgramReport
from benchmarking.frameworks.kit import archive
from benchmarking.programs.command import Command, Outcome, Program
from benchmarking.results.plain_text import plain

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from benchmarking.specs.expand import InputBlob, TestCase
    from benchmarking.specs.model import OptionValue

INPUT_TYPES = ("float", "uint8_t", "int")
OWN_OPTIONS = (
    *("init_net", "net", "input", "input_dims", "input_type", "input_file", "iter", "warmup"),
    *("output", "output_folder", "text_output", "worker"),
)
"""Options of the program that the specification says in its own words, not in ``commands``."""

BACKENDS = ("default", "builtin", "eigen", "mkl", "onednn", "nnpack", "opengl", "cuda")
"""Of both engines; asking the program would take as long as it takes to load torch."""
AUTOMATIC = "auto"
"""The engine that is chosen by the backend."""
PROGRAM_PACKAGE = "benchmarking.frameworks.caffe2.program"
_ERROR_LINE = "caffe2_benchmark: error: "
"""How our own program says why it ends."""
_SHOWN_CHARACTERS = 1000
_SEPARATORS = re.compile(r"[,;]")


class Caffe2(FrameworkBase):
    name: ClassVar[str] = "caffe2"
    backends: ClassVar[tuple[str, ...]] = BACKENDS

    def __init__(self, program_directory: Path | None = None) -> None:
        """``program_directory``: where the program is built to; the user's cache directory by default."""
        self._program_directory = program_directory

    # --- what can be run ------------------------------------------------------------------------------------

    def check(self, case: TestCase) -> Sequence[Fault]:
        file = str(case.specification)
        return [Fault(file, json_path, message) for json_path, message in self._problems(case)]

    def _problems(self, case: TestCase) -> Iterator[tuple[str, str]]:
        if case.model.format != self.name:
            yield "$.model.format", f"{case.model.format!r} cannot be run by the framework {self.name}"
        for key in ("init", "predict"):
            if key not in case.model_files:
                yield f"$.model.files.{key}", "missing: a Caffe2 model has the files init and predict"
        for blob in case.inputs:
            here = f"{case.json_path}.inputs.{blob.name}"
            if blob.type not in INPUT_TYPES:
                yield f"{here}.type", f"{blob.type!r} is not one of {', '.join(INPUT_TYPES)}"
            if _SEPARATORS.search(blob.name):
                yield here, "a program cannot be given a blob whose name has a comma or a semicolon"
        for name in case.golden_files:
            if _SEPARATORS.search(name):
                yield (
                    f"{case.json_path}.output_files.{name}",
                    "a blob's name cannot have a comma or a semicolon",
                )
        if any(blob.file for blob in case.inputs) and not all(blob.file for blob in case.inputs):
            yield f"{case.json_path}.input_files", "name a file for every input or for none"
        for option in self._options(case):
            if option in OWN_OPTIONS:
                yield (
                    f"{case.json_path}.commands.{self.name}.{option}",
                    f"--{option} is composed from the test itself; remove it here",
                )

    def _options(self, case: TestCase) -> Mapping[str, OptionValue]:
        return case.commands.get(self.name, {})

    def backend(self, case: TestCase, override: str | None) -> str | None:
        chosen = override if override is not None else self._options(case).get("backend")
        return None if chosen is None else str(chosen)

    # --- the program ----------------------------------------------------------------------------------------

    def default_program(self) -> Program:
        """Our own program as a zipapp, built when its sources have changed.

        The name holds a hash of the sources, so versions and parallel processes do not meet.
        """
        content = archive.content(PROGRAM_PACKAGE)
        digest = hashlib.sha256(repr(sorted(content.items())).encode()).hexdigest()[:12]
        directory = self._program_directory or user_directory("cache") / "programs"
        path = directory / f"caffe2_benchmark-{digest}.pyz"
        if not path.exists():
            try:
                directory.mkdir(parents=True, exist_ok=True)
                with atomic_file.writing(path, executable=True) as stream:
                    stream.write(b"#!/usr/bin/env python3\n")
                    archive.write(stream, content)
            except OSError as error:
                raise UsageError(f"cannot build the Caffe2 program at {path}: {error}") from error
        return Program(path, needs_python=True, python_modules=("torch", "numpy", "google.protobuf"))

    def engine(self, case: TestCase) -> str | None:
        engine = _text(self._options(case).get("engine", AUTOMATIC))
        return None if engine == AUTOMATIC else engine

    def compose(self, invocation: Invocation) -> Command:
        case = invocation.case
        arguments: dict[str, str] = {
            "init_net": invocation.model_files["init"],
            "net": invocation.model_files["predict"],
            "input": ",".join(blob.name for blob in case.inputs),
            "input_dims": ";".join(",".join(map(str, blob.shape)) for blob in case.inputs),
            "input_type": _input_type(case.inputs),
            "iter": str(case.iterations),
            "warmup": str(case.warmup),
        }
        if invocation.input_files:
            arguments["input_file"] = ",".join(invocation.input_files[blob.name] for blob in case.inputs)
        arguments |= {name: _text(value) for name, value in self._options(case).items()}
        backend = self.backend(case, invocation.backend)
        if backend is not None:
            arguments["backend"] = backend
        if invocation.output_directory is not None:
            arguments["output"] = ",".join(invocation.outputs or case.golden_files)
            arguments["output_folder"] = invocation.output_directory
            arguments["text_output"] = "true"
        environment = _library_path(invocation.shared_libraries)
        argv = [word for name, value in arguments.items() for word in (f"--{name}", value)]
        return Command((*invocation.launcher, *argv), environment, invocation.timeout_s)

    def compose_worker(self, invocation: Invocation, *, forks: bool, layout_seed: int = 0) -> Command:
        """As ``compose``; --iter and run_individual mean nothing then.

        Python's hashes of texts are the same in all processes: random ones make one faster than another.
        """
        command = self.compose(invocation)
        return replace(
            command,
            argv=(*command.argv, "--worker", "fork" if forks else "true"),
            environment={**command.environment, "PYTHONHASHSEED": str(layout_seed)},
        )

    def compose_backend_list(
        self, launcher: tuple[str, ...], shared_libraries: tuple[str, ...] = ()
    ) -> Command:
        return Command((*launcher, "--list_backends"), _library_path(shared_libraries))

    def parse_backend_list(self, outcome: Outcome) -> tuple[BackendStatus, ...]:
        from benchmarking.frameworks.caffe2 import backend_list

        _require_success(outcome)
        return backend_list.read(outcome)

    def outputs(self, case: TestCase, model_files: Mapping[str, Path]) -> tuple[str, ...]:
        """As the specification says, or else the external outputs of the net."""
        names = tuple(case.model.outputs or ()) or _external_outputs(model_files["predict"])
        return () if any(_SEPARATORS.search(name) for name in names) else names

    def times_operators(self, case: TestCase) -> bool:
        return _is_true(self._options(case).get("run_individual", False))

    # --- what it printed and wrote --------------------------------------------------------------------------

    def parse(self, outcome: Outcome, case: TestCase) -> ProgramReport:
        _require_success(outcome)
        try:
            log = observer_log.richest((outcome.stderr, outcome.stdout, outcome.device_log))
        except ProgramOutputError as error:
            raise ProgramOutputError(str(error), outcome.tail()) from error
        self._require_samples(log, outcome, case)
        return ProgramReport(log.measurements(), log.facts, log.warnings(), log.costs, log.kernels)

    def _require_samples(self, log: observer_log.ObserverLog, outcome: Outcome, case: TestCase) -> None:
        def wrong_count(found: int, what: str) -> ProgramOutputError:
            message = f"the program gave {found} of {case.iterations} {what}"
            return ProgramOutputError("; ".join((message, *log.warnings())), outcome.tail())

        if len(log.net_us) != case.iterations:
            raise wrong_count(len(log.net_us), "samples of the net")
        if not self.times_operators(case):
            return
        if not log.operators_us:
            raise wrong_count(0, "samples of each operator, which run_individual asks for")
        for name, values in log.operators_us.items():
            if len(values) != case.iterations:
                raise wrong_count(len(values), f"samples of the operator {plain(name)}")

    def output_file(self, blob: str) -> str:
        """As our program writes it: what is no letter, digit, ``_``, ``.`` or ``-`` is percent-encoded."""
        encoded = re.sub(
            r"[^A-Za-z0-9_.-]", lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode()), blob
        )
        return (f"%2E{encoded[1:]}" if encoded.startswith(".") else encoded) + ".txt"

    def read_tensor(self, path: Path) -> NDArray[np.float64]:
        return tensor_file.read(path)


def _external_outputs(net: Path) -> tuple[str, ...]:
    """None of a file that is no net: what runs it says so in its own words."""
    from benchmarking.frameworks.caffe2.program.caffe2_benchmark import net_file
    from benchmarking.frameworks.caffe2.program.caffe2_benchmark.errors import NetError

    try:
        return tuple(net_file.read(str(net), "net").external_output)
    except NetError:
        return ()


def _library_path(libraries: Sequence[str]) -> Mapping[str, str]:
    directories = dict.fromkeys(str(PurePosixPath(path).parent) for path in libraries)
    return {"LD_LIBRARY_PATH": ":".join(directories)} if directories else {}


def _input_type(inputs: Sequence[InputBlob]) -> str:
    """One value where it is the same for all: older programs take no list."""
    types = [blob.type for blob in inputs]
    return types[0] if len(set(types)) == 1 else ";".join(types)


def _text(value: OptionValue) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_true(value: OptionValue) -> bool:
    return _text(value) in ("true", "1", "yes")


def _require_success(outcome: Outcome) -> None:
    if outcome.timed_out:
        limit = outcome.command.timeout_s
        raise ProgramTimeoutError(
            f"the program ran longer than {limit:g} s and was killed; --timeout sets the limit",
            outcome.tail(),
        )
    if outcome.exit_code:
        how = (
            f"was ended by signal {-outcome.exit_code}"
            if outcome.exit_code < 0
            else f"ended with exit status {outcome.exit_code}"
        )
        _, found, said = f"\n{outcome.stderr}".rpartition(f"\n{_ERROR_LINE}")
        reason = plain(said.split("\n", 1)[0].strip()[:_SHOWN_CHARACTERS]) if found else ""
        raise ProgramExitError(f"the program {how}{f': {reason}' if reason else ''}", outcome.tail())
