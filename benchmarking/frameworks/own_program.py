"""The common base of all frameworks that are measured with a program of this project.

Such a program is made with ``frameworks/kit``: it takes the kit's flags, prints what ``program_output``
reads, lists its backends and speaks the worker protocol.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, ClassVar

from benchmarking.errors import Fault, ProgramOutputError, ProgramStartError, UsageError
from benchmarking.files import atomic_file
from benchmarking.files.user import user_directory
from benchmarking.frameworks import program_output, tensor_file
from benchmarking.frameworks.framework_base import BackendStatus, FrameworkBase, Invocation, ProgramReport
from benchmarking.frameworks.kit import archive
from benchmarking.frameworks.program_end import require_success
from benchmarking.programs.command import Command, Outcome, Program
from benchmarking.results.plain_text import plain

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from benchmarking.specs.expand import InputBlob, TestCase
    from benchmarking.specs.later_form import TemplateRun
    from benchmarking.specs.model import OptionValue

SCALAR = "[]"
"""As in the kit: the shape of a tensor without dimensions."""
COMPOSED_OPTIONS = (
    *("input", "input_dims", "input_type", "input_file", "iter", "warmup"),
    *("output", "output_folder", "worker"),
)
"""Options of every program that the specification expresses with its own keys, not in ``commands``."""
NUMBER_TYPES = (
    *("float", "double", "float16", "int", "int64_t", "int16_t", "int8_t"),
    *("uint8_t", "uint16_t", "bool"),
)
"""Types of inputs that most runtimes are fed."""
_SEPARATORS = re.compile(r"[,;]")


class OwnProgramFramework(FrameworkBase):
    """Base class: derive from it, and fill in the class variables."""

    title: ClassVar[str]
    """The name as people write it: ``Caffe2``."""
    model_keys: ClassVar[tuple[str, ...]] = ("model",)
    """The keys that ``model.files`` has to have."""
    input_types: ClassVar[tuple[str, ...]] = NUMBER_TYPES
    program_name: ClassVar[str]
    """The name that the program prints before its errors."""
    program_package: ClassVar[str]
    """The dotted name of the program's package, which has a ``__main__``."""
    program_modules: ClassVar[tuple[str, ...]]
    """The packages that the program imports in addition to the standard library."""
    telemetry: ClassVar[str] = ""
    """How the program keeps its runtime from sending data about its use; empty: the runtime sends none."""
    runtime_packages: ClassVar[tuple[str, ...]] = ()
    """The distributions, as pip knows them, any of which brings the runtime."""
    needed_packages: ClassVar[tuple[str, ...]] = ("numpy",)
    """The distributions that the program needs beside the runtime."""
    composed_options: ClassVar[tuple[str, ...]] = ("model",)
    """Options of this program that are composed from the test, in addition to ``COMPOSED_OPTIONS``."""
    takes_command_lines: ClassVar[bool] = False
    """Whether specifications of the later form contain whole command lines of such a program."""
    output_arguments: ClassVar[Mapping[str, str]] = {}
    """Further arguments of the program if outputs are requested."""

    def __init__(self, program_directory: Path | None = None) -> None:
        """``program_directory``: the directory for the built program; by default the user's cache
        directory.
        """
        self._program_directory = program_directory

    def model_arguments(self, invocation: Invocation) -> Mapping[str, str]:
        """The flags that name the files of the model: by default, each key of ``model.files`` is a flag."""
        keys = self.model_keys_of(invocation.case.model.format)
        return {key: invocation.model_files[key] for key in keys}

    # --- checks ---------------------------------------------------------------------------------------------

    def check(self, case: TestCase) -> Sequence[Fault]:
        file = str(case.specification)
        return [Fault(file, json_path, message) for json_path, message in self._problems(case)]

    def _problems(self, case: TestCase) -> Iterator[tuple[str, str]]:
        if case.model.format not in self.formats:
            names = " and ".join(map(repr, case.model.format_names))
            yield (
                f"$.model.{'formats' if case.model.formats else 'format'}",
                f"{names} cannot be run by the framework {self.name}",
            )
        keys = self.model_keys_of(case.model.format)
        for key in keys:
            if key not in case.model_files:
                yield f"{case.model.files_path}.{key}", f"missing: {self._model_files(keys)}"
        for blob in case.inputs:
            here = f"{case.json_path}.inputs.{blob.name}"
            if blob.type not in self.input_types:
                yield f"{here}.type", f"{blob.type!r} is not one of {', '.join(self.input_types)}"
            if blob.type == "string" and not blob.is_given:
                yield f"{case.json_path}.input_files.{blob.name}", "missing: strings come from a file"
            if _SEPARATORS.search(blob.name):
                yield (
                    here,
                    "the name of a blob that is fed cannot contain a comma or a semicolon",
                )
        for name in case.golden_files:
            if _SEPARATORS.search(name):
                yield (
                    f"{case.json_path}.output_files.{name}",
                    "a blob's name cannot contain a comma or a semicolon",
                )
        if len({blob.is_given for blob in case.inputs}) > 1:
            yield f"{case.json_path}.input_files", "name files for all inputs or for none"
        if case.template is not None:
            if not self.takes_command_lines:
                message = "command lines of other programs are run by the framework generic"
                yield f"{case.json_path}.commands", message
            yield from self._template_problems(case, case.template)
            return
        for option in self.options(case):
            if option in (*COMPOSED_OPTIONS, *self.composed_options):
                yield (
                    f"{case.json_path}.commands.{self.name}.{option}",
                    f"--{option} is composed from the test itself; remove it here",
                )

    def _template_problems(self, case: TestCase, run: TemplateRun) -> Iterator[tuple[str, str]]:
        for name in run.command.placeholders:
            kind, _, key = name.partition(".")
            if kind == "files" and key not in case.model_files:
                yield (
                    f"{case.json_path}.commands",
                    f"{{{name}}} is not a file of the format {case.model.format}",
                )

    def model_keys_of(self, model_format: str) -> tuple[str, ...]:
        """The keys that ``model.files`` has to have in one of the formats."""
        return self.model_keys

    def _model_files(self, keys: Sequence[str]) -> str:
        article = "an" if self.title[0] in "AEIOU" else "a"
        files = "files" if len(keys) > 1 else "file"
        return f"{article} {self.title} model needs the {files} {' and '.join(keys)}"

    def options(self, case: TestCase) -> Mapping[str, OptionValue]:
        """The options of the program in the specification."""
        if case.template is not None:
            return case.template.options
        return case.commands.get(self.name, {})

    def backend(self, case: TestCase, override: str | None) -> str | None:
        chosen = override if override is not None else self.options(case).get("backend")
        return None if chosen is None else str(chosen)

    # --- the program ----------------------------------------------------------------------------------------

    def default_program(self) -> Program:
        """This project's own program as a zipapp, which is rebuilt when its sources have changed.

        Its name contains a hash of the sources, so that versions and parallel processes do not conflict.
        """
        content = archive.content(self.program_package)
        digest = hashlib.sha256(repr(sorted(content.items())).encode()).hexdigest()[:12]
        directory = self._program_directory or user_directory("cache") / "programs"
        path = directory / f"{self.program_name}-{digest}.pyz"
        if not path.exists():
            try:
                directory.mkdir(parents=True, exist_ok=True)
                with atomic_file.writing(path, executable=True) as stream:
                    stream.write(b"#!/usr/bin/env python3\n")
                    archive.write(stream, content)
            except OSError as error:
                raise UsageError(f"cannot build the {self.title} program at {path}: {error}") from error
        return Program(path, needs_python=True, python_modules=self.program_modules)

    def compose(self, invocation: Invocation) -> Command:
        case = invocation.case
        if case.template is not None:
            words = (*invocation.fill(case.template), *self._added_words(invocation))
            return Command(words, _library_path(invocation.shared_libraries), invocation.timeout_s)
        arguments: dict[str, str] = {
            **self.model_arguments(invocation),
            "input": ",".join(blob.name for blob in case.inputs),
            "input_dims": ";".join(",".join(map(str, blob.shape)) or SCALAR for blob in case.inputs),
            "input_type": _input_type(case.inputs),
            "iter": str(case.iterations),
            "warmup": str(case.warmup),
        }
        if invocation.input_files:
            arguments["input_file"] = _joined([invocation.input_files[blob.name] for blob in case.inputs])
        arguments |= {name: option_text(value) for name, value in self.options(case).items()}
        backend = self.backend(case, invocation.backend)
        if backend is not None:
            arguments["backend"] = backend
        if invocation.output_directory is not None:
            arguments["output"] = ",".join(invocation.outputs or case.golden_files)
            arguments["output_folder"] = invocation.output_directory
            arguments |= self.output_arguments
        environment = _library_path(invocation.shared_libraries)
        argv = [word for name, value in arguments.items() for word in (f"--{name}", value)]
        return Command((*invocation.launcher, *argv), environment, invocation.timeout_s)

    def _added_words(self, invocation: Invocation) -> list[str]:
        """Added to a command line that the specification gives completely: the last of several equal flags is
        used.
        """
        added = {} if invocation.backend is None else {"backend": invocation.backend}
        if invocation.outputs and invocation.output_directory is not None:
            added |= {"output": ",".join(invocation.outputs), "output_folder": invocation.output_directory}
            added |= self.output_arguments
        return [word for name, value in added.items() for word in (f"--{name}", value)]

    def compose_worker(self, invocation: Invocation, *, forks: bool, layout_seed: int = 0) -> Command:
        """The command of a worker; --iter and run_individual have no effect in it.

        Python's string hashes are the same in all processes, because random hashes make some processes faster
        than others.
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
        from benchmarking.frameworks import backend_list

        require_success(outcome, self.program_name)
        return backend_list.read(outcome)

    def outputs(self, case: TestCase, model_files: Mapping[str, Path]) -> tuple[str, ...]:
        """The outputs of the specification, or otherwise those of the model itself."""
        names = tuple(case.model.outputs or ()) or self.model_outputs(model_files)
        return () if any(_SEPARATORS.search(name) for name in names) else names

    def model_outputs(self, model_files: Mapping[str, Path]) -> tuple[str, ...]:
        from benchmarking.frameworks.kit.errors import ModelError

        try:
            signature = self.model_signature(model_files)
        except ModelError:  # what runs the model says so in its own words
            return ()
        return signature.outputs if signature else ()

    def times_operators(self, case: TestCase) -> bool:
        return _is_true(self.options(case).get("run_individual", False))

    # --- the program's output -------------------------------------------------------------------------------

    def parse(self, outcome: Outcome, case: TestCase) -> ProgramReport:
        require_success(outcome, self.program_name)
        try:
            log = program_output.richest((outcome.stderr, outcome.stdout, outcome.device_log))
        except ProgramOutputError as error:
            raise ProgramOutputError(str(error), outcome.tail()) from error
        self._require_samples(log, outcome, case)
        return ProgramReport(log.measurements(), log.facts, log.warnings(), log.costs, log.kernels)

    def _require_samples(self, log: program_output.ProgramLog, outcome: Outcome, case: TestCase) -> None:
        def wrong_count(found: int, what: str) -> ProgramOutputError:
            message = f"the program printed {found} of {case.iterations} {what}"
            return ProgramOutputError("; ".join((message, *log.warnings())), outcome.tail())

        if len(log.net_us) != case.iterations:
            raise wrong_count(len(log.net_us), "samples of the net")
        if not self.times_operators(case) or log.facts.get("operators_missing"):
            return
        if not log.operators_us:
            raise wrong_count(0, "samples of each operator, which run_individual requests")
        for name, values in log.operators_us.items():
            if len(values) != case.iterations:
                raise wrong_count(len(values), f"samples of the operator {plain(name)}")

    def output_file(self, blob: str) -> str:
        return tensor_file.file_name(blob)

    def read_tensor(self, path: Path, name: str = "") -> NDArray[np.float64]:
        return tensor_file.read(path, name)


def option_text(value: OptionValue) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _joined(paths: Sequence[str]) -> str:
    """
    Raises:
        ProgramStartError: the program would take one of them for two.
    """
    for path in paths:
        if "," in path:
            raise ProgramStartError(
                f"the input file {plain(path)} cannot be named to the program, for which a comma ends a name:"
                " move it to a directory without commas, or rename it"
            )
    return ",".join(paths)


def _is_true(value: OptionValue) -> bool:
    return option_text(value) in ("true", "1", "yes")


def _library_path(libraries: Sequence[str]) -> Mapping[str, str]:
    directories = dict.fromkeys(str(PurePosixPath(path).parent) for path in libraries)
    return {"LD_LIBRARY_PATH": ":".join(directories)} if directories else {}


def _input_type(inputs: Sequence[InputBlob]) -> str:
    """A single value if all types are the same, because older programs accept no list."""
    types = [blob.type for blob in inputs]
    return types[0] if len(set(types)) == 1 else ";".join(types)
