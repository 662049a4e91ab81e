"""A run of the harness for a job: its results go to the lab as they come."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarking.bounds import parse_json
from benchmarking.dispatch import LAB_VARIABLE, blobs, ledger
from benchmarking.dispatch.blobs import PackedFileError
from benchmarking.dispatch.job_run import JobOutcome, JobRun, Pump, SupersededError
from benchmarking.dispatch.request import BENCHMARK, MeasureJob, PackedFile
from benchmarking.errors import BenchmarkError, ExitStatus, RunCancelledError, UsageError
from benchmarking.files import archive
from benchmarking.programs import leftovers, process
from benchmarking.programs.command import Command, Outcome
from benchmarking.programs.process import Streams

if TYPE_CHECKING:
    import psycopg

TERMINATION_GRACE_S = 30.0
"""For the harness, which ends its programs at once and then reports."""
LEAST_FREE_BYTES = 2**16
"""With less, a disk is full."""
RESULTS = "results.jsonl"
LONGEST_ARGUMENT = 100_000
"""Characters; Linux takes 131,072 bytes, and macOS more."""

# fmt: off
ALLOWED_OPTIONS = frozenset((
    "framework", "backend", "timeout", "affinity", "set_frequency", "cooldown", "reboot", "health_check",
    "recovery_limit", "reference_backend", "blocks", "backend_tolerance", "ab_mode", "ab_pairs", "max_pairs",
    "max_seconds", "minimum_effect", "target_change", "alpha", "beta", "clock", "canary", "comparisons",
    "fail_on", "seed", "detector", "run_type", "regressed_types", "log_level",
))
# fmt: on
"""The options of the harness that a job may set: none of them names a file or a command of a host."""


@dataclass(frozen=True)
class _Begun:
    done: frozenset[tuple[str, ...]]
    """Net, metric and identifier of the tests that have results."""
    next_number: int


class MeasureRun(JobRun[MeasureJob]):
    def _perform(self) -> JobOutcome:
        begun: _Begun = self.persistently(self._begun)
        remaining = [one for one in self.job.tests if (one.net, one.metric, one.identifier) not in begun.done]
        if not remaining:
            return JobOutcome(ExitStatus.OK)
        try:
            self._fetch_files()
            argv = self._argv([one.model_dump() for one in remaining] if begun.done else [])
        except (UsageError, PackedFileError) as error:
            return JobOutcome(None, str(error))
        return self._measure(argv, _ResultPump(self, begun.next_number))

    def _begun(self, connection: psycopg.Connection[Any]) -> _Begun:
        """Keeps what an earlier attempt finished. Its last test may lack a stage, and is run again."""
        with connection.transaction():
            self.check(connection)
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

    def _measure(self, argv: tuple[str, ...], pump: _ResultPump) -> JobOutcome:
        """The exit status of the harness, and what went wrong otherwise."""
        try:
            with (
                pump.working(),
                (self.directory / RESULTS).open("wb") as stdout,
                (self.directory / self.log_name).open("wb") as stderr,
            ):
                outcome = self._run_harness(argv, Streams(stdout=stdout, stderr=stderr))
        except RunCancelledError:
            return JobOutcome(ExitStatus.INTERRUPTED)
        except SupersededError:
            raise
        except BenchmarkError as error:
            return JobOutcome(None, str(error))
        if outcome.timed_out:
            limit = f"{self.job.run_limit_s:g} s"
            return JobOutcome(
                ExitStatus.INTERRUPTED, f"it ran longer than its limit of {limit} and was ended"
            )
        return JobOutcome(_status(outcome.exit_code), pump.problem or self._why(outcome.exit_code or 0))

    def _run_harness(self, argv: tuple[str, ...], streams: Streams) -> Outcome:
        """Nothing that it started is left, also if it was killed."""
        outcome = None
        try:
            outcome = process.run(
                Command(argv, timeout_s=self.job.run_limit_s),
                self.cancellation,
                directory=self.directory,
                streams=streams,
                termination_grace_s=TERMINATION_GRACE_S,
                tether=self.tether,
                hidden_environment=(LAB_VARIABLE,),
            )
            return outcome
        finally:
            if outcome is None or outcome.exit_code is None or outcome.exit_code < 0:
                leftovers.end_marked(self.tether.variable, self.tether.mark.__eq__, f"job {self.id}")

    def _why(self, exit_code: int) -> str:
        """What the harness could not say itself."""
        if exit_code < 0:
            return f"{self.host.name}: the harness was ended by {_signal_name(-exit_code)}"
        if exit_code and shutil.disk_usage(self.directory).free < LEAST_FREE_BYTES:
            return f"{self.host.name}: {self.directory}: {os.strerror(errno.ENOSPC)}"
        return ""

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
            "info": self._short(json.dumps(info)),
        }
        return (
            *(*self.host.harness, "--json_lines", *self.host.arguments),
            *(f"--{name}={text}" if text else f"--{name}" for name, text in job.options.items()),
            *(f"--{name}={text}" for name, text in own.items() if text),
        )

    def _history(self, relative: str | None) -> str:
        """The directory with the results of earlier commits, for the run's own results too.

        Raises:
            RunCancelledError: the run was cancelled meanwhile.
            UsageError: they cannot be unpacked.
        """
        if relative is None:
            return ""
        try:
            archive.unpack(self._inside(relative), self.directory / "history", self.cancellation)
        except ValueError as error:
            raise UsageError(f"the history of the job: {error}") from error
        return str(self.directory / "history")

    def _short(self, info: str) -> str:
        """``info``, or the file with it: a system takes no argument that is longer."""
        if len(info) <= LONGEST_ARGUMENT:
            return info
        path = self.directory / "info.json"
        path.write_text(info, encoding="utf-8")
        return f"@{path}"

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


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # one of those that have no name of their own
        return f"signal {number}"


def _is(path: Path, wanted: PackedFile) -> bool:
    return path.stat().st_size == wanted.size_bytes and blobs.described(path).sha256 == wanted.sha256


def _status(exit_code: int | None) -> ExitStatus | None:
    try:
        return ExitStatus(-1 if exit_code is None else exit_code)
    except ValueError:
        return None


class _ResultPump(Pump):
    """Also sends the lines that the harness writes."""

    def __init__(self, run: MeasureRun, next_number: int) -> None:
        super().__init__(run)
        self._next_number = next_number
        self.problem = ""

    def _send(self, connection: psycopg.Connection[Any], *, is_last: bool) -> None:
        self._send_results(connection)
        super()._send(connection, is_last=is_last)

    def _send_results(self, connection: psycopg.Connection[Any]) -> None:
        # Not all of them are read at once, and after a long wait for the database there may be many.
        while lines := self._lines(RESULTS):
            for line in lines:
                self._send_line(connection, line)

    def _send_line(self, connection: psycopg.Connection[Any], line: bytes) -> None:
        value = parse_json(line)
        if "result" in value:
            self._send_result(connection, value["result"])
            self._next_number += 1
        elif problems := value.get("end", {}).get("problems"):
            self.problem = "; ".join(map(str, problems))
        self._advance(RESULTS, len(line))

    def _send_result(self, connection: psycopg.Connection[Any], value: dict[str, Any]) -> None:
        meta = value["meta"]
        test = json.dumps([meta["net_name"], meta["metric"], meta["identifier"]])
        document = ledger.packed(json.dumps(value).encode())
        with connection.transaction():
            self._run.check(connection)
            connection.execute(
                "INSERT INTO result (job, number, attempt, test, document) VALUES (%s, %s, %s, %s, %b)"
                " ON CONFLICT DO NOTHING",
                [self._run.id, self._next_number, self._run.attempt, test, document],
            )
