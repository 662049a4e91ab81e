"""Calls the harness for one commit."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from benchmarking.continuous.activities import Activities
from benchmarking.continuous.builder import Built
from benchmarking.errors import StorageError
from benchmarking.files import atomic_file
from benchmarking.programs import process
from benchmarking.programs.command import Command
from benchmarking.programs.installation import own_program
from benchmarking.programs.process import Cancellation, Streams
from benchmarking.repos.repo_base import Revision
from benchmarking.results.model import RunType, TestKey
from benchmarking.specs.run_info import Commit, RunInfo, TestName, Version

TERMINATION_GRACE_S = 15.0
"""The time that the harness needs to end its own programs and to report finished tests."""
TAIL_LINES = 20
LONGEST_ABOUT = 200
"""The number of characters of an author, a subject or a branch that are passed on."""
KEPT_LOGS = 500
LONGEST_ARGUMENT = 100_000
"""Characters; Linux takes 131,072 bytes, and macOS more."""
SCREEN_LIMIT_BYTES = 16 * 2**20
"""The number of characters kept from the end of the harness's messages; the log has all of them."""
OUTPUT_LIMIT_BYTES = 512 * 2**20
"""The size limit of the document."""


@dataclass(frozen=True)
class HarnessReport:
    exit_status: int | None
    """The exit status of the process: negative for a signal, None if it had to be killed."""
    log: Path
    """The file with all messages of the harness."""
    screen: str
    """Its output for people."""
    output: bytes
    """Its output for programs: a document, if the harness got that far."""
    program: str = "harness.py"
    """As it calls itself at the beginning of its errors."""

    def problem(self) -> str:
        """Why it ended, in its own words."""
        lines = [line.removeprefix(f"{self.program}: ") for line in self.screen.strip().splitlines()]
        return "\n".join(lines) or f"{self.program} ended with {self.exit_status}"

    def tail(self) -> str:
        return "\n".join([f"--- end of {self.log} ---", *self.screen.rstrip().splitlines()[-TAIL_LINES:]])


@dataclass(frozen=True)
class HarnessRequest:
    platform: str
    treatment: Built
    control: Built | None = None
    history: Sequence[Revision] = ()
    """Earlier commits, newest first; if there are any, the harness looks for regressions."""
    run_type: RunType | None = None
    regressed_types: tuple[str, ...] = ()
    tests: tuple[TestKey, ...] = ()
    """Only these tests, on all devices; empty: all tests."""
    positions: Mapping[str, int] = field(default_factory=dict)
    """The positions of the treatment and the control in their repository."""


@dataclass(frozen=True)
class Harness:
    arguments: tuple[str, ...]
    """The options that the user gave for the harness."""
    framework: str
    log_directory: Path
    activities: Activities
    cancellation: Cancellation
    timeout_s: float | None = None
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    branch: str = ""
    """That of the commits, for the record."""
    program: tuple[str, ...] = own_program("harness")
    program_name: str = "harness.py"

    def validate(self, request: HarnessRequest) -> HarnessReport:
        """Checks all arguments that ``measure`` would pass, and the benchmark files; runs nothing.

        Raises:
            StorageError, RunCancelledError
        """
        return self._run(
            f"validate-{_file_name(request.platform)}", (*self._own_arguments(request), "--validate")
        )

    def measure(self, request: HarnessRequest) -> HarnessReport:
        """Runs the harness.

        Raises:
            StorageError, RunCancelledError
        """
        name = f"{request.treatment.revision.commit}-{_file_name(request.platform)}"
        with self.activities.during("measuring", request.treatment.revision, request.platform):
            return self._run(name, (*self._own_arguments(request), "--json"))

    def _own_arguments(self, request: HarnessRequest) -> tuple[str, ...]:
        # A path may hold bytes that are no text: pydantic's own JSON cannot.
        info = json.dumps(_info(request, self.branch).model_dump(exclude_defaults=True))
        return (*self._where(request.platform), "--info", self._short(info))

    def _short(self, info: str) -> str:
        """``info``, or the file with it: a system takes no argument that is longer.

        Raises:
            StorageError
        """
        if len(info) <= LONGEST_ARGUMENT:
            return info
        name = hashlib.sha256(info.encode("utf-8", "surrogateescape")).hexdigest()
        path = self.log_directory / f"{name}.info"
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_file.write_text(path, info)
        return f"@{path}"

    def _where(self, platform: str) -> tuple[str, ...]:
        return ("--platform", platform)

    def _run(self, name: str, own_arguments: Sequence[str]) -> HarnessReport:
        argv = (*self.program, *self.arguments, "--framework", self.framework, *own_arguments)
        log = self.log_directory / f"{name}.log"
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("w+b") as stderr, tempfile.TemporaryFile(dir=log.parent) as stdout:
                outcome = process.run(
                    Command(argv, self.environment, self.timeout_s),
                    self.cancellation,
                    streams=Streams(stdout=stdout, stderr=stderr),
                    termination_grace_s=TERMINATION_GRACE_S,
                )
                screen = _end(stderr, SCREEN_LIMIT_BYTES).decode("utf-8", errors="replace")
                output = _end(stdout, OUTPUT_LIMIT_BYTES)
        except OSError as error:
            raise StorageError(f"{log}: {error.strerror or error}") from error
        remove_old_logs(self.log_directory, KEPT_LOGS)
        return HarnessReport(outcome.exit_code, log, screen, output, self.program_name)


def _end(stream: IO[bytes], limit_bytes: int) -> bytes:
    stream.seek(max(0, stream.seek(0, os.SEEK_END) - limit_bytes))
    return stream.read(limit_bytes)


def _file_name(platform: str) -> str:
    return platform.replace("/", "+")


def _info(request: HarnessRequest, branch: str) -> RunInfo:
    return RunInfo(
        treatment=_version(request.treatment, request.positions, branch),
        control=_version(request.control, request.positions, branch) if request.control else None,
        regression_commits=[
            Commit(commit=one.commit, commit_time=one.commit_time) for one in request.history
        ],
        run_type=request.run_type,
        regressed_types=list(request.regressed_types),
        tests=[TestName(net=one.net, metric=one.metric, identifier=one.identifier) for one in request.tests],
    )


def _version(built: Built, positions: Mapping[str, int], branch: str) -> Version:
    revision = built.revision
    return Version(
        commit=revision.commit,
        commit_time=revision.commit_time,
        position=positions.get(revision.commit),
        branch=branch[:LONGEST_ABOUT],
        author=revision.author.partition(" <")[0][:LONGEST_ABOUT],  # results may be public, addresses not
        subject=revision.subject[:LONGEST_ABOUT],
        program=str(built.program.resolve()),
    )


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Whatever the disk refuses is an error of ``path``."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror or error}") from error


def remove_old_logs(directory: Path, keep: int) -> None:
    """Removes all logs, and all files with an ``--info``, except the ``keep`` newest of each. One that
    cannot be removed costs nobody what was measured.
    """
    for kind in ("*.log", "*.info"):
        files = sorted(directory.glob(kind), key=lambda path: path.lstat().st_mtime)
        for path in files[:-keep]:
            with suppress(OSError):
                path.unlink()
