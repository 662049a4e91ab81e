"""Runs the cases of a device one after another, and devices side by side."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

from benchmarking.driver import record
from benchmarking.driver.backend_matrix import BackendMatrix
from benchmarking.driver.bench import Bench
from benchmarking.driver.benchmark_driver import BenchmarkDriver
from benchmarking.driver.canary import Canary, run_canary
from benchmarking.driver.device_lock import DeviceLocks
from benchmarking.driver.health import HealthCheck
from benchmarking.driver.lineup import FoundBackends, find_backends
from benchmarking.driver.plan import RunPlan
from benchmarking.driver.regression_check import RegressionCheck
from benchmarking.driver.settings import FailOn, Reboot
from benchmarking.driver.stages import Stage, next_stage
from benchmarking.errors import (
    BenchmarkError,
    CaseError,
    DeviceError,
    DeviceLostError,
    ExitStatus,
    RunCancelledError,
)
from benchmarking.files.model_cache import ModelCache
from benchmarking.platforms.platform_base import PlatformBase
from benchmarking.programs.process import Cancellation
from benchmarking.results.model import FailureKind, Result, Verdict, by_test
from benchmarking.specs.expand import TestCase

logger = logging.getLogger(__name__)


class Runner(Protocol):
    """Runs a test once, on one backend or on several."""

    def results(self, case: TestCase) -> tuple[Result, ...]:
        """Never raises for a failed test: the failure is part of its result.

        Raises:
            RunCancelledError: the run was cancelled.
        """

    def missing(self, case: TestCase, error: Exception) -> tuple[Result, ...]:
        """The results of a test that could not be run."""


class Publisher(Protocol):
    """Takes the reports of a session as soon as they are available, from any thread. Never raises."""

    def report(self, *results: Result) -> None:
        """The results of one test, on one backend or on several."""

    def report_bug(self, where: str, error: Exception) -> None:
        """Reports a bug that affected no test's result."""


LEASE_LOOK_AGAIN_S = 5.0
RECOVERIES = 3
"""A device that is lost more often than this in one run is given up."""


@dataclass(frozen=True)
class Session:
    """One device's cases."""

    platform: PlatformBase
    plan: RunPlan
    cache: ModelCache
    cancellation: Cancellation
    publisher: Publisher
    locks: DeviceLocks
    regression_check: RegressionCheck = field(default_factory=RegressionCheck)
    health_check: HealthCheck | None = None
    reboot: Reboot | None = None

    @property
    def bench(self) -> Bench:
        return Bench(self.platform, self.plan, self.cache, self.cancellation)

    def run(self, cases: Sequence[TestCase]) -> tuple[Result, ...]:
        """Returns every result; fewer than the number of tests only after a cancellation.

        Never raises for a device that fails or for a bug: these only affect their own tests.
        """
        name = self.platform.device.name
        state = _DeviceState()
        results: list[Result] = []
        try:
            with ExitStack() as stack:
                stack.callback(self._end, "closing the connection", self.platform.close)
                held = ExitStack()
                stack.callback(self._end, "releasing the device", held.close)
                with state.giving_up():
                    held.enter_context(self.locks.held(self.platform, self.cancellation))
                    self.locks.until_free(
                        lambda: held.enter_context(self.platform.hold()),
                        name,
                        self.cancellation,
                        LEASE_LOOK_AGAIN_S,
                    )
                    self._prepare(cases, state)
                for number, case in enumerate(cases, start=1):
                    if state.given_up is None:
                        logger.info("[%d/%d] %s on %s", number, len(cases), case.label, name)
                    self._run_case(case, state, results)
        except RunCancelledError:
            logger.warning("cancelled on %s: %d tests had results", name, len(by_test(results)))
        except Exception as error:
            self.publisher.report_bug(f"the session on {name} ended early", error)
        return tuple(results)

    def _end(self, what: str, end: Callable[[], None]) -> None:
        try:
            end()
        except BenchmarkError as error:
            logger.error("%s: %s: %s", self.platform.device.name, what, error)
        except Exception as error:
            self.publisher.report_bug(f"{what} ({self.platform.device.name})", error)

    def _prepare(self, cases: Sequence[TestCase], state: _DeviceState) -> None:
        if self.reboot == "commit":
            self.platform.reboot()
        if self.health_check is not None:
            self.health_check.run(self.platform)
        try:
            state.canary = run_canary(self.bench, cases)
        except RunCancelledError:
            raise
        except Exception as error:
            self.publisher.report_bug(f"the canary on {self.platform.device.name}", error)
            state.canary = Canary(text=f"the canary could not be run: a bug: {error!r}")
        if self.plan.backends is not None:
            state.backends = find_backends(self.bench)
            self._log_backends(state.backends, cases)

    def _log_backends(self, found: FoundBackends, cases: Sequence[TestCase]) -> None:
        """Logged once for all tests with the same backends."""
        lines: dict[str, None] = {}
        for case in cases:
            with suppress(CaseError):  # each of its tests reports this
                lineup = found.lineup(self.bench, case)
                names = [arm.name for arm in lineup.arms if not arm.missing]
                lines[f"backends on {self.platform.device.name}: {', '.join(names)}"] = None
                absent = {arm.name: arm.missing for arm in lineup.arms if arm.missing}
                for name, reason in {**absent, **lineup.unavailable}.items():
                    lines[f"  not available: {name}: {reason}"] = None
        for line in lines:
            logger.info("%s", line)

    def _run_case(self, case: TestCase, state: _DeviceState, results: list[Result]) -> None:
        """Runs all stages of a case. Each result is added and published as soon as it is available."""
        if self.plan.backends is not None:
            self._publish(self._run_on_backends(case, state), results)
            return
        stage: Stage | None = self.plan.stage
        first: Result | None = None
        while stage is not None:
            result = self._run_stage(case, stage, first, state)
            self._publish([result], results)
            first = first or result
            stage = self._stage_after(stage, result)

    def _run_stage(self, case: TestCase, stage: Stage, first: Result | None, state: _DeviceState) -> Result:
        bench = self.bench.planned(self.plan.for_stage(stage))
        (measured,) = self._run_once(BenchmarkDriver(bench), case, state)
        try:
            return self.regression_check.finished(state.canary.applied_to(measured), bench.plan, first)
        except Exception as error:  # measurements made so far are kept
            return replace(measured, failure=measured.failure or record.describe_failure(error))

    def _stage_after(self, stage: Stage, result: Result) -> Stage | None:
        """A run of type verify or regress has no other stages."""
        if self.plan.run_type != "benchmark" or stage.is_last:
            return None
        try:
            return next_stage(stage, self.regression_check.suspects(result))
        except Exception as error:
            self.publisher.report_bug(f"whether {result.label} has regressed is unknown", error)
            return None

    def _check_cancellation(self) -> None:
        if self.cancellation.is_set:
            raise RunCancelledError("the run was cancelled")

    def _publish(self, new: Sequence[Result], results: list[Result]) -> None:
        results.extend(new)
        self.publisher.report(*new)

    def _run_on_backends(self, case: TestCase, state: _DeviceState) -> tuple[Result, ...]:
        """A result for each backend; a single result if they are unknown."""
        self._check_cancellation()
        if state.backends is None:
            error = state.given_up or DeviceError("its backends are unknown")
            return (record.missing(self.bench, case, error),)
        try:
            lineup = state.backends.lineup(self.bench, case)
        except CaseError as error:
            return (record.missing(self.bench, case, error),)
        return self._run_once(BackendMatrix(self.bench, lineup), case, state)

    def _run_once(self, runner: Runner, case: TestCase, state: _DeviceState) -> tuple[Result, ...]:
        """Runs it once more after the device was lost and restored; never because of the measured numbers."""
        self._check_cancellation()
        if self.reboot == "run" and state.given_up is None:
            with state.giving_up():
                self.platform.reboot()
        if state.given_up is not None:
            return runner.missing(case, state.given_up)
        results = _attempt(runner, case)
        failures = [result.failure for result in results if result.failure]
        lost = next((one.message for one in failures if one.kind is FailureKind.LOST), None)
        if lost is None or not self._recover(lost, state):
            return results
        text = f"run again, because the device was lost the first time: {lost}"
        return tuple(replace(again, warnings=(*again.warnings, text)) for again in _attempt(runner, case))

    def _recover(self, reason: str, state: _DeviceState) -> bool:
        name = self.platform.device.name
        self._check_cancellation()
        if state.recoveries >= RECOVERIES:
            state.give_up(DeviceLostError(f"{name} was lost more than {RECOVERIES} times: {reason}"))
            return False
        state.recoveries += 1
        logger.warning("%s is lost: %s; trying to reconnect", name, reason)
        with state.giving_up():
            self.platform.recover()
            logger.warning("%s is connected again", name)
        return state.given_up is None


def _attempt(runner: Runner, case: TestCase) -> tuple[Result, ...]:
    try:
        return runner.results(case)
    except RunCancelledError:
        raise
    except Exception as error:  # a bug around the test, such as in reading the device's conditions
        return runner.missing(case, error)


@dataclass
class _DeviceState:
    recoveries: int = 0
    given_up: Exception | None = None
    """The reason why no more cases are run, which is the result of each of them."""
    backends: FoundBackends | None = None
    """The backends, if the tests run on several."""
    canary: Canary = field(default_factory=Canary)

    def give_up(self, error: Exception) -> None:
        self.given_up = error
        if isinstance(error, BenchmarkError):
            logger.error("%s", error)
        else:
            logger.error("a bug ends the tests on this device", exc_info=error)

    @contextmanager
    def giving_up(self) -> Iterator[None]:
        """A failure inside ends the tests on the device, but neither the run nor its reports."""
        try:
            yield
        except RunCancelledError:
            raise
        except Exception as error:
            self.give_up(error)


def run_sessions(sessions: Sequence[Session], cases: Sequence[TestCase]) -> tuple[Result, ...]:
    """Runs every session in its own thread and waits for all of them."""
    with ThreadPoolExecutor(max_workers=len(sessions), thread_name_prefix="device") as executor:
        futures = [executor.submit(session.run, cases) for session in sessions]
    return tuple(result for future in futures for result in future.result())


def exit_status(
    results: Sequence[Result],
    *,
    cancelled: bool,
    devices_missing: bool = False,
    fail_on: FailOn = "regressed",
) -> ExitStatus:
    """The most severe status that applies."""
    failures = [result.failure for result in results if result.failure]
    if cancelled:
        return ExitStatus.INTERRUPTED
    if any(one.kind is FailureKind.BUG for one in failures):
        return ExitStatus.INTERNAL_ERROR
    if fail_on != "never" and any(result.regressed_types for result in results):
        return ExitStatus.REGRESSION_CONFIRMED
    if devices_missing or any(one.is_of_the_device for one in failures):
        return ExitStatus.DEVICE_FAILED
    if failures:
        return ExitStatus.BENCHMARK_FAILED
    if fail_on == "inconclusive" and any(one in UNDECIDED for one in _final_verdicts(results)):
        return ExitStatus.INCONCLUSIVE
    return ExitStatus.OK


UNDECIDED = (Verdict.INCONCLUSIVE, Verdict.NOT_COMPARABLE)


def _final_verdicts(results: Sequence[Result]) -> list[Verdict | None]:
    """For each test on each device, the verdict of its last run, because a suspected regression is measured
    again.
    """
    return [stages[-1].verdict for stages in by_test(results)]
