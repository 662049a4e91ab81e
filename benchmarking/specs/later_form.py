"""The additions of the later form of specifications to docs/contracts.md: whole command lines.

Pure. An unsupported test only affects itself, never the whole file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import PurePosixPath

from benchmarking.programs.command_template import PROGRAM, CommandTemplate
from benchmarking.specs.location import Location
from benchmarking.specs.model import ModelSpec, PathOrPaths, TestFile, TestSpec

INDEX = "INDEX"
"""The placeholder of the number of a repetition, from 0."""
OUTPUT_DIRECTORY = "TGTDIR"
"""The placeholder of the directory that the program may write to."""
RUN_METRICS = ("delay", "error")
_OUTPUT_PREFIX = f"{{{OUTPUT_DIRECTORY}}}/"


@dataclass(frozen=True)
class InputFile:
    """A file in a command template."""

    location: Location
    md5: str | None = None
    """None: the specification does not give it."""


@dataclass(frozen=True)
class TemplateRun:
    """A test with a whole command line in its specification."""

    command: CommandTemplate
    variables: Mapping[str, str]
    """The values of the placeholders that the specification itself gives, such as ``batch_size``."""
    input_files: Mapping[str, InputFile] = field(default_factory=dict)
    """Maps the NAME in ``{input_files.NAME}`` to the file."""
    output_files: Mapping[str, str] = field(default_factory=dict)
    """Maps the NAME in ``{output_files.NAME}`` to the file's name in the output directory."""

    @property
    def options(self) -> Mapping[str, str]:
        """The words after the program, interpreted as options: ``--name value`` and ``--name=value``."""
        found: dict[str, str] = {}
        words = list(self.command.words[1:])
        for word, following in zip(words, [*words[1:], ""], strict=True):
            name, equals, value = word.lstrip("-").partition("=")
            if word.startswith("-") and name:
                found[name] = value if equals else "" if following.startswith("--") else following
        return found


@dataclass(frozen=True)
class ShellRun:
    """Shell commands that run on the machine of the harness before and after a test."""

    before: tuple[str, ...]
    after: tuple[str, ...]
    variables: Mapping[str, str]
    """The values of the placeholders that the specification itself gives."""


def shell_run(model: ModelSpec, test: TestSpec, repetition: int) -> ShellRun | None:
    """None: there are no commands. The commands of the test are the innermost."""
    before = [one.commands for one in (model.preprocess, test.preprocess) if one is not None]
    after = [one.commands for one in (test.postprocess, model.postprocess) if one is not None]
    if not before and not after:
        return None
    variables = {**model.variables, INDEX: str(repetition)}
    return ShellRun(tuple(chain(*before)), tuple(chain(*after)), variables)


def refusal(model: ModelSpec, test: TestSpec, *, allow_commands: bool) -> str | None:
    """The reason why a test is not run, in one line; None: it is run."""
    if test.metric not in RUN_METRICS:
        return f"the metric {test.metric} is not supported; only delay and error are"
    if not allow_commands and shell_run(model, test, 0) is not None:
        return "its shell commands before or after it are not run; --allow_commands permits them"
    if len(test.templates) > 1:
        return f"it has {len(test.templates)} command lines; a test runs one"
    if model.command_args and not test.templates:
        return "command_args needs a command line, and this test has none: give its options as commands"
    if test.templates and test.metric != "delay":
        return f"a whole command line needs the metric delay, not {test.metric}: give inputs"
    return None


def cooldown_s(model: ModelSpec, test: TestSpec) -> float | None:
    waits = [model.cooldown, test.platform_args.sleep_before_run]
    return max((wait for wait in waits if wait is not None), default=None)


class TemplateReader:
    """Reads the command line of one test, with the values of its placeholders."""

    def __init__(
        self,
        model: ModelSpec,
        test: TestSpec,
        json_path: str,
        fault: Callable[[str, str], None],
        resolve: Callable[[str, str], Location],
    ) -> None:
        """``fault`` takes a JSON path and a message; ``resolve`` a location's text and its JSON path."""
        self._model = model
        self._test = test
        self._json_path = json_path
        self._fault = fault
        self._resolve = resolve

    def run(self) -> TemplateRun | None:
        """None, with a fault, if there is no valid command line."""
        ((where, text),) = self._test.templates.items()
        text = " ".join(filter(None, (text, self._model.command_args)))
        try:
            command = CommandTemplate.parse(text)
        except ValueError as error:
            self._fault(f"{self._json_path}.{where}", str(error))
            return None
        if "\0" in text:
            self._fault(f"{self._json_path}.{where}", "a program's argument cannot contain a NUL")
        run = TemplateRun(command, self._model.variables, self._inputs(), self._outputs())
        self._check(run, f"{self._json_path}.{where}")
        return run

    def _check(self, run: TemplateRun, json_path: str) -> None:
        if run.command.words[0] != f"{{{PROGRAM}}}":
            self._fault(
                json_path, f"the command line has to begin with {{{PROGRAM}}}: no other program is run"
            )
        files = [key for name in self._model.format_names for key in self._model.in_format(name).files]
        known = [
            *(PROGRAM, "iter", "warmup", OUTPUT_DIRECTORY, INDEX, *run.variables),
            *(f"files.{key}" for key in files),
            *(f"input_files.{name}" for name in run.input_files),
            *(f"output_files.{name}" for name in run.output_files),
        ]
        for name in run.command.placeholders:
            if name not in known:
                message = f"{{{name}}} is unknown; known are {', '.join(dict.fromkeys(known))}"
                self._fault(json_path, message)

    def _inputs(self) -> Mapping[str, InputFile]:
        found = {}
        for name, paths in self._test.input_files.items():
            json_path = f"{self._json_path}.input_files.{name}"
            file = self._only_file(paths, json_path)
            if file is not None:
                where = f"{json_path}.location" if isinstance(paths, TestFile) else json_path
                found[name] = InputFile(self._resolve(file.location, where), file.md5 or None)
        return found

    def _outputs(self) -> Mapping[str, str]:
        """Outputs are written below the output directory, regardless of their locations."""
        found = {}
        for name, paths in self._test.output_files.items():
            json_path = f"{self._json_path}.output_files.{name}"
            file = self._only_file(paths, json_path)
            if file is None:
                continue
            path = PurePosixPath(file.location.removeprefix(_OUTPUT_PREFIX))
            if (
                not file.location.startswith(_OUTPUT_PREFIX)
                or len(path.parts) != 1
                or path.name in ("", "..")
            ):
                message = (
                    f"an output of a command line has to be in {_OUTPUT_PREFIX}: use {_OUTPUT_PREFIX}NAME"
                )
                self._fault(f"{json_path}.location", message)
            else:
                found[name] = path.name
        return found

    def _only_file(self, paths: PathOrPaths, json_path: str) -> TestFile | None:
        if isinstance(paths, list):
            self._fault(json_path, "a whole command line takes one file for each name, not a list")
            return None
        return paths if isinstance(paths, TestFile) else TestFile(filename="file", location=paths)
