"""One run of the harness for a job: its files are fetched, and its results and log go to the lab as they
come.
"""

from __future__ import annotations

import json
import logging
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from benchmarking.bounds import parse_json
from benchmarking.dispatch import LAB_VARIABLE, blobs, ledger
from benchmarking.dispatch.database import Database, LabError
from benchmarking.dispatch.request import BENCHMARK, MeasureJob, PackedFile
from benchmarking.errors import BenchmarkError, ExitStatus, RunCancelledError, UsageError
from benchmarking.files import archive
from benchmarking.programs import process
from benchmarking.programs.command import Command
from benchmarking.programs.own_program import own_program
from benchmarking.programs.process import Cancellation, Streams, Tether
from benchmarking.results.plain_text import plain_lines

if TYPE_CHECKING:
    import psycopg

LOOK_AGAIN_S = 0.2
RETRY_S = 2.0
LAST_TRY_S = 60.0
TERMINATION_GRACE_S = 30.0
"""For the harness, which ends its programs at once and then reports."""
LARGEST_LINE_BYTES = 64 * 2**20
LARGEST_LOG_CHARACTERS = 2 * 10**6
_READ_BYTES = 2**20

# fmt: off
ALLOWED_OPTIONS = frozenset((
    "framework", "backend", "timeout", "affinity", "set_frequency", "cooldown", "reboot", "health_check",
    "recovery_limit", "reference_backend", "blocks", "backend_tolerance", "ab_mode", "ab_pairs", "max_pairs",
    "max_seconds", "minimum_effect", "target_change", "alpha", "beta", "clock", "canary", "comparisons",
    "fail_on", "seed", "detector", "run_type", "regressed_types", "log_level",
))
# fmt: on
"""The options of the harness that a job may set: none of them names a file or a command of a host."""

logger = logging.getLogger(__name__)


class SupersededError(BenchmarkError):
    """The lab took this run for lost and gave the job to somebody else: nothing of it counts any more."""


@dataclass(frozen=True)
class Host:
    """What the owner of a host decided."""

    name: str
    directory: Path
    """For the files of jobs."""
    tether: Tether
    programs: Path | None = None
    """If given, jobs run only programs whose content is that of a file in this directory."""
    arguments: tuple[str, ...] = ()
    """Further arguments of every run of the harness."""
    harness: tuple[str, ...] = own_program("harness")
    """The command line of the harness of this installation."""


@dataclass(frozen=True)
class _Begun:
    done: frozenset[tuple[str, ...]]
    """Net, metric and identifier of the tests that have results."""
    next_number: int


@dataclass
class JobRun:
    """Runs in a thread of its own. ``cancellation`` ends it early."""

    database: Database
    host: Host
    id: int
    attempt: int
    job: MeasureJob
    cancellation: Cancellation

    _results: ClassVar[str] = "results.jsonl"
    _log: ClassVar[str] = "log"

    @property
    def directory(self) -> Path:
        return self.host.directory / "jobs" / f"{self.id}-{self.attempt}"

    def run(self) -> None:
        """
        Raises:
            RunCancelledError: it was cancelled; what was measured is kept.
            SupersededError: another run of the job has begun.
        """
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        try:
            begun: _Begun = self._persistently(self._begin)
            outcome = self._measure(begun)
            if self.cancellation.is_set:
                raise RunCancelledError(f"job {self.id} was cancelled")
            self._persistently(lambda connection: self._end(connection, *outcome))
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)

    def _persistently(self, action: Callable[[psycopg.Connection[Any]], Any]) -> Any:
        """Goes on until the database is there again: a result is not lost with a connection.

        Raises:
            LabError: the run was cancelled, and the database is away for a minute.
        """
        last_try: float | None = None
        while True:
            try:
                with self.database.connected() as connection:
                    return action(connection)
            except LabError as error:
                if self.cancellation.is_set:
                    last_try = last_try or time.monotonic() + LAST_TRY_S
                    if time.monotonic() > last_try:
                        raise
                logger.warning("job %d: %s; trying again", self.id, error)
                time.sleep(RETRY_S)

    # --- the database ---------------------------------------------------------------------------------------

    def _begin(self, connection: psycopg.Connection[Any]) -> _Begun:
        """Keeps what an earlier attempt finished. Its last test may lack a stage, and is run again."""
        with connection.transaction():
            self._check(connection)
            connection.execute(
                "INSERT INTO run (job, attempt, host) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                [self.id, self.attempt, self.host.name],
            )
            connection.execute(
                "DELETE FROM result WHERE job = %(job)s AND attempt < %(attempt)s AND test = (SELECT test"
                " FROM result WHERE job = %(job)s AND attempt < %(attempt)s ORDER BY number DESC LIMIT 1)",
                {"job": self.id, "attempt": self.attempt},
            )
            found = connection.execute("SELECT test, number FROM result WHERE job = %s", [self.id]).fetchall()
        return _Begun(
            frozenset(tuple(json.loads(test)) for test, _ in found),
            max((number for _, number in found), default=-1) + 1,
        )

    def _check(self, connection: psycopg.Connection[Any]) -> None:
        row = connection.execute(
            "SELECT status = 'doing' AND attempts = %s FROM procrastinate_jobs WHERE id = %s FOR SHARE",
            [self.attempt, self.id],
        ).fetchone()
        if row != (True,):
            raise SupersededError(f"job {self.id}: the lab took this run for lost")

    def _end(self, connection: psycopg.Connection[Any], status: ExitStatus | None, problem: str) -> None:
        with connection.transaction():
            self._check(connection)
            connection.execute(
                "UPDATE run SET ended = now(), exit_status = %s, problem = %s"
                " WHERE (job, attempt) = (%s, %s)",
                [status, problem[:10_000], self.id, self.attempt],
            )

    # --- the run --------------------------------------------------------------------------------------------

    def _measure(self, begun: _Begun) -> tuple[ExitStatus | None, str]:
        """The exit status of the harness, and what went wrong otherwise."""
        remaining = [one for one in self.job.tests if (one.net, one.metric, one.identifier) not in begun.done]
        if not remaining:
            return ExitStatus.OK, ""
        try:
            self._fetch_files()
            argv = self._argv([one.model_dump() for one in remaining] if begun.done else [])
        except (BenchmarkError, OSError) as error:
            if isinstance(error, SupersededError):
                raise
            return None, str(error)
        pump = _Pump(self, begun.next_number)
        thread = threading.Thread(target=pump.run, name=f"job {self.id}")
        thread.start()
        try:
            with (
                (self.directory / self._results).open("wb") as stdout,
                (self.directory / self._log).open("wb") as stderr,
            ):
                outcome = process.run(
                    Command(argv, timeout_s=self.job.run_limit_s),
                    self.cancellation,
                    directory=self.directory,
                    streams=Streams(stdout=stdout, stderr=stderr),
                    termination_grace_s=TERMINATION_GRACE_S,
                    tether=self.host.tether,
                    hidden_environment=(LAB_VARIABLE,),
                )
        except RunCancelledError:
            return ExitStatus.INTERRUPTED, ""
        except BenchmarkError as error:
            return None, str(error)
        finally:
            pump.finish()
            thread.join()
            pump.check()
        if outcome.timed_out:
            limit = f"{self.job.run_limit_s:g} s"
            return ExitStatus.INTERRUPTED, f"it ran longer than its limit of {limit} and was ended"
        return _status(outcome.exit_code), pump.problem

    def _fetch_files(self) -> None:
        cache = self.host.directory / "files"

        def fetch(connection: psycopg.Connection[Any]) -> None:
            for relative, file in self.job.files.items():
                if self.cancellation.is_set:
                    raise RunCancelledError("cancelled")
                target = self.directory / relative
                target.parent.mkdir(parents=True, exist_ok=True)
                source = blobs.fetch(connection, file, cache)
                _place(source, target, file)

        self._persistently(fetch)

    def _argv(self, tests: list[dict[str, str]]) -> tuple[str, ...]:
        """
        Raises:
            UsageError: the job asks for what the owner of this host does not allow.
        """
        job = self.job
        for name in job.options:
            if name not in ALLOWED_OPTIONS:
                raise UsageError(f"a job cannot set --{name} on another host")
        info = self._info(tests)
        own = {
            "benchmark_file": str(self._inside(BENCHMARK)),
            "platform": job.platform,
            "devices": job.device,
            "program": self._program(job.program),
            "shared_libs": ",".join(str(self._inside(one)) for one in job.shared_libs),
            "local_reporter": self._history(job.history),
            "info": json.dumps(info),
        }
        return (
            *(*self.host.harness, "--json_lines", *self.host.arguments),
            *(f"--{name}={text}" if text else f"--{name}" for name, text in job.options.items()),
            *(f"--{name}={text}" for name, text in own.items() if text),
        )

    def _history(self, relative: str | None) -> str:
        """The directory with the results of earlier commits, for the run's own results too.

        Raises:
            UsageError: they cannot be unpacked.
        """
        if relative is None:
            return ""
        try:
            archive.unpack(self._inside(relative), self.directory / "history")
        except ValueError as error:
            raise UsageError(f"the history of the job: {error}") from error
        return str(self.directory / "history")

    def _info(self, tests: list[dict[str, str]]) -> dict[str, Any]:
        info = dict(self.job.info)
        for name in ("treatment", "control"):
            version = info.get(name)
            if isinstance(version, dict) and version.get("python") is not None:
                raise UsageError("a job cannot name a Python of another host")
            if isinstance(version, dict) and version.get("program") is not None:
                info[name] = {**version, "program": self._program(str(version["program"]))}
        libraries = info.get("shared_libs")
        if isinstance(libraries, list):
            info["shared_libs"] = [str(self._inside(str(one))) for one in libraries]
        return {**info, "tests": tests} if tests else info

    def _program(self, relative: str | None) -> str:
        if relative is None:
            return ""
        path = self._inside(relative)
        allowed = self.host.programs
        if allowed is not None:
            wanted = self.job.files[relative]
            same = (one for one in allowed.iterdir() if one.is_file() and _is(one, wanted))
            if next(same, None) is None:
                raise UsageError(f"the owner of {self.host.name} allows only the programs in {allowed}")
        return str(path)

    def _inside(self, relative: str) -> Path:
        """Only files of the job: everything else is a path of this host."""
        if relative not in self.job.files:
            raise UsageError("the job names a file that it does not have")
        return self.directory / relative


def _is(path: Path, wanted: PackedFile) -> bool:
    return path.stat().st_size == wanted.size_bytes and blobs.described(path).sha256 == wanted.sha256


def _status(exit_code: int | None) -> ExitStatus | None:
    try:
        return ExitStatus(-1 if exit_code is None else exit_code)
    except ValueError:
        return None


def _place(source: Path, target: Path, file: PackedFile) -> None:
    """A copy where the mode differs: the file in the cache is nobody's program."""
    if not file.executable:
        with suppress(OSError):
            target.hardlink_to(source)
            return
    shutil.copyfile(source, target)
    target.chmod(0o500 if file.executable else 0o400)


class _Pump:
    """Sends the lines that the harness writes, and its log. The files wait where the database is away."""

    def __init__(self, run: JobRun, next_number: int) -> None:
        self._run = run
        self._next_number = next_number
        self._is_over = threading.Event()
        self._positions = {JobRun._results: 0, JobRun._log: 0}
        self._parts = 0
        self._characters = 0
        self._error: Exception | None = None
        self.problem = ""

    def finish(self) -> None:
        self._is_over.set()

    def check(self) -> None:
        if self._error is not None:
            raise self._error

    def run(self) -> None:
        try:
            self._run._persistently(self._pump)
        except Exception as error:
            self._error = error
            with suppress(OSError):
                self._run.cancellation.set()

    def _pump(self, connection: psycopg.Connection[Any]) -> None:
        while True:
            is_last = self._is_over.wait(LOOK_AGAIN_S)
            self._send_results(connection)
            self._send_log(connection, is_last=is_last)
            if is_last:
                return

    def _send_results(self, connection: psycopg.Connection[Any]) -> None:
        for line in self._lines(JobRun._results):
            value = parse_json(line)
            if "result" in value:
                self._send_result(connection, value["result"])
                self._next_number += 1
            elif problems := value.get("end", {}).get("problems"):
                self.problem = "; ".join(map(str, problems))
            self._positions[JobRun._results] += len(line)

    def _send_result(self, connection: psycopg.Connection[Any], value: dict[str, Any]) -> None:
        meta = value["meta"]
        test = json.dumps([meta["net_name"], meta["metric"], meta["identifier"]])
        document = ledger.packed(json.dumps(value).encode())
        with connection.transaction():
            self._run._check(connection)
            connection.execute(
                "INSERT INTO result (job, number, attempt, test, document) VALUES (%s, %s, %s, %s, %b)"
                " ON CONFLICT DO NOTHING",
                [self._run.id, self._next_number, self._run.attempt, test, document],
            )

    def _send_log(self, connection: psycopg.Connection[Any], *, is_last: bool) -> None:
        content = b"".join(self._lines(JobRun._log, whole=not is_last))
        text = plain_lines(content.decode("utf-8", "replace"))
        if text and self._characters < LARGEST_LOG_CHARACTERS:
            connection.execute(
                "INSERT INTO log VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
                [self._run.id, self._run.attempt, self._parts, text],
            )
        self._parts += 1
        self._characters += len(text)
        self._positions[JobRun._log] += len(content)

    def _lines(self, name: str, *, whole: bool = True) -> list[bytes]:
        """What was added since the last time; only whole lines, or everything."""
        path = self._run.directory / name
        if not path.exists():
            return []
        with path.open("rb") as stream:
            stream.seek(self._positions[name])
            content = stream.read(LARGEST_LINE_BYTES)
        lines = content.splitlines(keepends=True)
        if whole and lines and not lines[-1].endswith(b"\n"):
            if len(lines[-1]) == LARGEST_LINE_BYTES:
                raise LabError(f"a result is larger than {LARGEST_LINE_BYTES:,} bytes")
            del lines[-1]
        return lines
