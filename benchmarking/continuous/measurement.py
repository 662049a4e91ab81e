"""Calls the harness for one commit and reads what it found."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import benchmarking
from benchmarking import process, result_json
from benchmarking.command import Command
from benchmarking.continuous.builder import Built
from benchmarking.errors import StorageError
from benchmarking.process import Cancellation, Streams
from benchmarking.repos.repo_base import Revision
from benchmarking.results import NET_DELAY, Interval, RunType, TypeResult, Verdict

TERMINATION_GRACE_S = 15.0
"""The harness needs it to end its own programs and to report what is finished."""
TAIL_LINES = 20
KEPT_LOGS = 500


@dataclass(frozen=True)
class MeasuredType:
    name: str
    ratio: float | None
    """Treatment over control, of the delays or of the largest errors; None without a control."""
    interval: Interval | None
    regressed: bool


@dataclass(frozen=True)
class MeasuredTest:
    """One result of the harness."""

    label: str
    """Net, identifier and device."""
    metric: str
    run_type: str
    failure: str | None
    types: tuple[MeasuredType, ...]
    is_inconclusive: bool
    """Whether the net became slower stayed open."""


@dataclass(frozen=True)
class HarnessReport:
    exit_status: int | None
    """As the process gave it: negative for a signal, None for one that had to be killed."""
    tests: tuple[MeasuredTest, ...]
    run_s: float
    log: Path
    """All that the harness said."""
    screen: str
    """What it printed for people."""
    document: str
    """What it printed for programs: JSON."""

    def tail(self) -> str:
        return "\n".join([f"--- end of {self.log} ---", *self.screen.rstrip().splitlines()[-TAIL_LINES:]])


@dataclass(frozen=True)
class HarnessRequest:
    platform: str
    treatment: Built
    control: Built | None = None
    history: Sequence[Revision] = ()
    """Of earlier commits, newest first; with any, the harness looks for regressions."""
    run_type: RunType | None = None
    regressed_types: tuple[str, ...] = ()


@dataclass(frozen=True)
class Harness:
    arguments: tuple[str, ...]
    """What the user gave for it."""
    framework: str
    log_directory: Path
    cancellation: Cancellation
    timeout_s: float | None = None
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    def validate(self) -> HarnessReport:
        """Checks the arguments and the benchmark files, and runs nothing."""
        return self._run("validate", ("--validate",))

    def measure(self, request: HarnessRequest) -> HarnessReport:
        """
        Raises:
            StorageError, RunCancelledError
        """
        name = f"{request.treatment.revision.commit}-{request.platform.replace('/', '+')}"
        info = json.dumps(_info(request))
        return self._run(name, ("--platform", request.platform, "--info", info, "--json"))

    def _run(self, name: str, own_arguments: Sequence[str]) -> HarnessReport:
        argv = (*_harness(), *self.arguments, "--framework", self.framework, *own_arguments)
        log = self.log_directory / f"{name}.log"
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("w+b") as stream:
                outcome = process.run(
                    Command(argv, self.environment, self.timeout_s),
                    self.cancellation,
                    streams=Streams(stderr=stream),
                    termination_grace_s=TERMINATION_GRACE_S,
                )
                stream.seek(0)
                screen = stream.read().decode("utf-8", errors="replace")
        except OSError as error:
            raise StorageError(f"{log}: {error.strerror or error}") from error
        remove_old_logs(self.log_directory, KEPT_LOGS)
        return HarnessReport(
            exit_status=outcome.exit_code,
            tests=_tests(outcome.stdout),
            run_s=outcome.duration_s,
            log=log,
            screen=screen,
            document=outcome.stdout,
        )


def _harness() -> tuple[str, ...]:
    """Of this very installation, whatever the current directory."""
    script = Path(benchmarking.__file__).parents[1] / "harness.py"
    return (
        (sys.executable, str(script))
        if script.is_file()
        else (sys.executable, "-m", "benchmarking.cli.harness")
    )


def _info(request: HarnessRequest) -> dict[str, Any]:
    """Contracts, section 2."""
    info: dict[str, Any] = {"treatment": _version(request.treatment)}
    if request.control is not None:
        info["control"] = _version(request.control)
    if request.history:
        info["regression_commits"] = [_commit(one) for one in request.history]
    if request.run_type is not None:
        info["run_type"] = request.run_type
    if request.regressed_types:
        info["regressed_types"] = list(request.regressed_types)
    return info


def _version(built: Built) -> dict[str, Any]:
    return {**_commit(built.revision), "program": str(built.program.resolve())}


def _commit(revision: Revision) -> dict[str, Any]:
    return {"commit": revision.commit, "commit_time": revision.commit_time}


def _tests(document: str) -> tuple[MeasuredTest, ...]:
    """Nothing where the harness ended before it could write its document."""
    try:
        results = json.loads(document)["results"]
    except (ValueError, KeyError, TypeError):
        return ()
    return tuple(_test(one) for one in results)


def _test(value: Mapping[str, Any]) -> MeasuredTest:
    meta = value["meta"]
    types = [result_json.read_type(one) for one in value["types"]]
    return MeasuredTest(
        label=f"{meta['net_name']} {meta['identifier']} on {meta['platform']}",
        metric=meta["metric"],
        run_type=meta["run_type"],
        failure=value["failure"]["message"] if value["failure"] else None,
        types=tuple(map(_type, types)),
        is_inconclusive=any(one.type == NET_DELAY and one.verdict is Verdict.INCONCLUSIVE for one in types),
    )


def _type(one: TypeResult) -> MeasuredType:
    comparison = one.comparison
    return MeasuredType(
        name=one.type,
        ratio=comparison.ratio if comparison else _error_ratio(one),
        interval=comparison.ratio_interval if comparison else None,
        regressed=one.regressed,
    )


def _error_ratio(one: TypeResult) -> float | None:
    if one.error is None or one.control_error is None:
        return None
    treatment, control = one.error.max_absolute, one.control_error.max_absolute
    if treatment == control:
        return 1.0
    return math.inf if math.isnan(treatment) or control == 0 else treatment / control


def remove_old_logs(directory: Path, keep: int) -> None:
    """All but the ``keep`` newest."""
    logs = sorted(directory.glob("*.log"), key=lambda path: path.stat().st_mtime)
    for path in logs[:-keep]:
        path.unlink(missing_ok=True)
