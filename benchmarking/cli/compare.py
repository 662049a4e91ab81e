"""``mlbench compare BASE HEAD``: two commands, whole processes in turn, with the verdicts of an A/B run."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarking.cli import harness
from benchmarking.cli.argument_types import Parser, exit_statuses, quoted
from benchmarking.cli.declared import add_options
from benchmarking.cli.options import DESCRIPTIONS, TOKEN_VARIABLE, HarnessOptions
from benchmarking.cli.running import cancelled_by_signals, guarded
from benchmarking.errors import EXIT_STATUS_MEANING, CaseError, ExitStatus, UsageError
from benchmarking.terminal import streams

if TYPE_CHECKING:
    from benchmarking.programs.command import Outcome
    from benchmarking.programs.process import Cancellation

AUTO, PROCESS, OBSERVER = "auto", "process", "observer"
COMMANDS = "commands.txt"
READING_OPTIONS = ("format", "pattern", "json_path", "unit", "net")
"""The options of the framework ``generic`` that say how the times of a program are read."""
HARNESS_OPTIONS = (
    *("timeout", "log_level", "when_busy", "affinity", "set_frequency", "cooldown"),
    *("ab_pairs", "max_pairs", "max_seconds", "minimum_effect", "target_change", "alpha", "beta"),
    *("canary", "fail_on", "seed"),
    *("screen_reporter", "operators", "local_reporter", "remote_reporter", "remote_access_token"),
    *("allow_http", "junit", "markdown", "json"),
)
"""Those of ``mlbench run`` that this command has as well."""


def main(argv: Sequence[str], program: str) -> int:
    values = vars(make_parser(program).parse(argv))
    sides = {name: values.pop(name) for name in ("base", "head")}
    reading = {name: value for name in READING_OPTIONS if (value := values.pop(name)) is not None}
    streams.log_to_stderr(values["log_level"])
    return guarded(program, lambda: _compare(sides, reading, values, [*program.split(), *argv]))


def make_parser(program: str) -> Parser:
    parser = Parser(
        program,
        description="Run two commands in turn and report whether HEAD is slower than BASE.",
        epilog=exit_statuses(EXIT_STATUS_MEANING),
    )
    for name in ("base", "head"):
        parser.add_argument(name, metavar=name.upper(), help="a command in quotes, without shell syntax")
    group = parser.add_argument_group(
        "what is compared", "By default the times that both print in a known form, or else whole processes."
    )
    group.add_argument(
        "--format",
        help=f"the form of the times: {PROCESS} for whole processes, {OBSERVER}, google_benchmark, "
        f"hyperfine, pyperf ... (default: {AUTO}; docs/generic.md)",
    )
    group.add_argument("--pattern", help="a regular expression with a group (?P<value>...)")
    group.add_argument("--json_path", help="the path of the times in a JSON document")
    group.add_argument("--unit", help="of --pattern and --json_path: ns, us, ms or s")
    group.add_argument("--net", help="the name of the main benchmark, of programs that report several")
    add_options(parser, HarnessOptions, DESCRIPTIONS, (), only=HARNESS_OPTIONS)
    return parser


@dataclass(frozen=True)
class _Side:
    name: str
    argv: tuple[str, ...]

    @classmethod
    def of(cls, name: str, text: str) -> _Side:
        """
        Raises:
            UsageError: it is not a command.
        """
        try:
            words = shlex.split(text)
        except ValueError as error:
            raise UsageError(f"{name.upper()}: {quoted(text)} is not a command: {error}") from error
        found = shutil.which(words[0]) if words else None
        if found is None:
            raise UsageError(f"{name.upper()}: there is no program {quoted(words[0] if words else '')}")
        # Not resolved: an environment is known by its own link to the interpreter.
        return cls(name, (str(Path(found).absolute()), *words[1:]))

    def write_launcher(self, directory: Path) -> Path:
        """The hash of the program is in it, so that two builds at one path are two versions."""
        with Path(self.argv[0]).open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        path = directory / self.name
        lines = ["#!/bin/sh", f"# {digest}", f"cd {shlex.quote(str(Path.cwd()))} || exit 126"]
        path.write_text("\n".join([*lines, f"exec {shlex.join(self.argv)}", ""]), encoding="utf-8")
        path.chmod(0o700)
        return path


def _compare(
    sides: Mapping[str, str], reading: dict[str, str], values: dict[str, Any], command: Sequence[str]
) -> ExitStatus:
    from benchmarking.frameworks.generic.generic import form_problems

    if reading.get("format") == AUTO:
        del reading["format"]
    for option, message in form_problems(reading):
        raise UsageError(f"--{option}: {message}")
    base, head = (_Side.of(name, text) for name, text in sides.items())
    reading, count = _reading(base, head, reading, values["timeout"])
    with tempfile.TemporaryDirectory(prefix="benchmark-compare-") as name:
        directory = Path(name)
        # A specification names a file at least.
        commands = "".join(f"{side.name}: {shlex.join(side.argv)}\n" for side in (base, head)).encode()
        (directory / COMMANDS).write_bytes(commands)
        digest = hashlib.md5(commands, usedforsecurity=False).hexdigest()
        info = {
            arm: {"program": str(side.write_launcher(directory))}
            for arm, side in (("treatment", head), ("control", base))
        }
        specification = directory / "comparison.json"
        specification.write_text(json.dumps(_benchmark(base, head, reading, count, digest)), encoding="utf-8")
        options = HarnessOptions(
            benchmark_file=specification,
            framework="generic",
            info=json.dumps(info),
            ab_mode="process",
            **values,
        )
        return harness.perform(options, command)


def _benchmark(
    base: _Side, head: _Side, reading: Mapping[str, str], count: int, digest: str
) -> dict[str, Any]:
    name = Path(base.argv[0]).name
    other = Path(head.argv[0]).name
    return {
        "model": {
            "name": name if name == other else f"{name} and {other}",
            "format": "command",
            "inputs": {},
            "files": {"commands": {"filename": COMMANDS, "location": COMMANDS, "md5": digest}},
            "commands": {"generic": {"command": "{program}", **reading}},
        },
        "tests": [{"identifier": reading.get("format", "printed"), "metric": "delay", "iter": count}],
    }


def _reading(
    base: _Side, head: _Side, wanted: dict[str, str], timeout_s: float | None
) -> tuple[dict[str, str], int]:
    """How the times are read, and the number of times that a process prints: each command runs once to see.

    Raises:
        UsageError: a command fails, or does not print what it should.
        RunCancelledError: the run was cancelled.
    """
    from benchmarking.frameworks.generic.generic import common_form, printed_times
    from benchmarking.programs.process import Cancellation

    with Cancellation() as cancellation, cancelled_by_signals(cancellation):
        outcomes = [_run(side, cancellation, timeout_s) for side in (base, head)]
    if not {"format", "pattern", "json_path"} & {*wanted}:
        wanted = {**wanted, "format": common_form(outcomes)}
    counts = [printed_times(one, wanted) for one in outcomes]
    for side, count in zip((base, head), counts, strict=True):
        if count == 0:
            raise UsageError(f"{side.name.upper()} printed no times that can be read so")
    if counts[0] != counts[1]:
        raise UsageError(f"BASE printed {counts[0]} times, and HEAD {counts[1]}")
    return wanted, counts[0]


def _run(side: _Side, cancellation: Cancellation, timeout_s: float | None) -> Outcome:
    from benchmarking.frameworks.program_end import require_success
    from benchmarking.programs import process
    from benchmarking.programs.command import Command

    outcome = process.run(
        Command(side.argv, timeout_s=timeout_s), cancellation, hidden_environment=(TOKEN_VARIABLE,)
    )
    try:
        require_success(outcome)
    except CaseError as error:
        raise UsageError(
            f"{side.name.upper()}: {error}: {shlex.join(side.argv)}\n{error.evidence}"
        ) from error
    return outcome
