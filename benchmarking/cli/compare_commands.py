"""``mlbench compare BASE HEAD``: two commands, whole processes in turn, with the verdicts of an A/B run."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarking.cli import harness
from benchmarking.cli.argument_types import quoted
from benchmarking.cli.compare_request import MODEL_OPTIONS, Request
from benchmarking.cli.options import TOKEN_VARIABLE, HarnessOptions, is_model
from benchmarking.cli.running import cancelled_by_signals
from benchmarking.errors import CaseError, ExitStatus, UsageError

if TYPE_CHECKING:
    from benchmarking.programs.command import Outcome
    from benchmarking.programs.process import Cancellation

AUTO = "auto"
COMMANDS = "commands.txt"


def compare(request: Request) -> ExitStatus:
    base, head = (Side.of(name, text) for name, text in zip(("base", "head"), request.names, strict=True))
    return compare_sides(request, base, head)


@dataclass(frozen=True)
class Side:
    """One of the two commands."""

    name: str
    argv: tuple[str, ...]
    directory: Path
    """Where it runs."""
    version: Mapping[str, Any] = field(default_factory=dict)
    """The commit and its time, as in --info, where they are known."""

    @classmethod
    def of(cls, name: str, text: str, directory: Path | None = None, **version: Any) -> Side:
        """
        Raises:
            UsageError: it is not a command.
        """
        directory = directory or Path.cwd()
        try:
            words = shlex.split(text)
        except ValueError as error:
            raise UsageError(f"{name.upper()}: {quoted(text)} is not a command: {error}") from error
        # As a shell in the directory finds it: a name with a slash is a path from there.
        program = str(directory / words[0]) if words and "/" in words[0] else "".join(words[:1])
        found = shutil.which(program)
        if found is None:
            raise UsageError(f"{name.upper()}: {_why_not(words[0] if words else '', directory)}")
        # Not resolved: an environment is known by its own link to the interpreter.
        return cls(name, (str(Path(found).absolute()), *words[1:]), directory, version)

    def write_launcher(self, directory: Path) -> Path:
        """What identifies the program is in it, so that two builds at one path are two versions.

        Raises:
            UsageError: the program is gone.
        """
        try:
            digest = _identity(Path(self.argv[0]))
        except OSError as error:
            raise UsageError(f"{self.name.upper()}: {self.argv[0]}: {error.strerror or error}") from error
        path = directory / self.name
        lines = ["#!/bin/sh", f"# {digest}", f"cd {shlex.quote(str(self.directory))} || exit 126"]
        path.write_text("\n".join([*lines, f"exec {shlex.join(self.argv)}", ""]), encoding="utf-8")
        path.chmod(0o700)
        return path


def _identity(program: Path) -> str:
    """The hash of its content; of a program that may be executed but not read, what else tells builds apart.

    Raises:
        OSError: it is gone.
    """
    try:
        with program.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except PermissionError:
        status = program.stat()
        told = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        return hashlib.sha256(repr(told).encode()).hexdigest()


def _why_not(word: str, directory: Path) -> str:
    """Why this cannot be run."""
    file = directory / word
    if file.is_file() and is_model(file):
        return (
            f"{quoted(word)} is a model, and no program: give two commands, or two benchmark programs and the"
            " model that they run"
        )
    if "/" in word and file.is_file():
        return f"{quoted(word)} is not executable; try chmod +x, or begin with the program that runs it"
    return f"there is no program {quoted(word)}"


def compare_sides(request: Request, base: Side, head: Side) -> ExitStatus:
    """
    Raises:
        UsageError: a command fails, or does not print what it should.
        BenchmarkError: as ``harness.perform``.
    """
    from benchmarking.frameworks.generic.generic import form_problems
    from benchmarking.statistics.sequential import MOST_PAIRS

    request.refuse(MODEL_OPTIONS, "needs a model or a specification")
    wanted = dict(request.reading)
    if wanted.get("format") == AUTO:
        del wanted["format"]
    for option, message in form_problems(wanted):
        raise UsageError(f"--{option}: {message}")
    reading, count = _reading(base, head, wanted, request.options["timeout"])
    with tempfile.TemporaryDirectory(prefix="benchmark-compare-") as name:
        directory = Path(name)
        # A specification names a file at least.
        commands = "".join(f"{side.name}: {shlex.join(side.argv)}\n" for side in (base, head)).encode()
        (directory / COMMANDS).write_bytes(commands)
        digest = hashlib.md5(commands, usedforsecurity=False).hexdigest()
        info = {
            arm: {**side.version, "program": str(side.write_launcher(directory))}
            for arm, side in (("treatment", head), ("control", base))
        }
        specification = directory / "comparison.json"
        specification.write_text(json.dumps(_benchmark(base, head, reading, count, digest)), encoding="utf-8")
        options = HarnessOptions(
            benchmark_file=specification,
            framework="generic",
            info=json.dumps(info),
            ab_mode="process",
            # Pairs of commands take any time; the limit is the one of --max_seconds.
            **{**request.options, "max_pairs": request.options.get("max_pairs") or MOST_PAIRS},
        )
        return harness.perform(options, request.command)


def _benchmark(base: Side, head: Side, reading: Mapping[str, str], count: int, digest: str) -> dict[str, Any]:
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
    base: Side, head: Side, wanted: dict[str, str], timeout_s: float | None
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


def _run(side: Side, cancellation: Cancellation, timeout_s: float | None) -> Outcome:
    from benchmarking.frameworks.program_end import require_success
    from benchmarking.programs import process
    from benchmarking.programs.command import Command

    outcome = process.run(
        Command(side.argv, timeout_s=timeout_s),
        cancellation,
        directory=side.directory,
        hidden_environment=(TOKEN_VARIABLE,),
    )
    try:
        require_success(outcome)
    except CaseError as error:
        raise UsageError(
            f"{side.name.upper()}: {error}: {shlex.join(side.argv)}\n{error.evidence}"
        ) from error
    return outcome
