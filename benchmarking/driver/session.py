"""A device's cases one after the other; devices side by side."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from benchmarking.driver.backend_matrix import BackendMatrix, DeviceBackends, find_backends
from benchmarking.driver.benchmark_driver import BenchmarkDriver
from benchmarking.driver.canary import Canary, run_canary
from benchmarking.driver.device_lock import DeviceLocks
from benchmarking.driver.health import HealthCheck
from benchmarking.driver.plan import RunPlan
from benchmarking.driver.regression_check import Finish, RegressionCheck
from benchmarking.errors import CaseError, DeviceError, DeviceLostError, ExitStatus, RunCancelledError
from benchmarking.model_cache import ModelCache
from benchmarking.options import FailOn, Reboot
from benchmarking.platforms.platform_base import PlatformBase
from benchmarking.process import Cancellation
from benchmarking.results import FailureKind, Result, Verdict
from benchmarking.specs.expand import TestCase

logger = logging.getLogger(__name__)

RunTest = Callable[[], tuple[Result, ...]]
MissTest = Callable[[DeviceError], tuple[Result, ...]]
"""The results of a test that was run, or that could not be."""
Publish = Callable[[Result], None]
"""Takes every result as soon as it is there, from any thread."""

RECOVERIES = 3
"""A device that is lost more often in one run is given up."""


@dataclass(frozen=True)
class Session:
    """One device's cases."""

    platform: PlatformBase
    plan: RunPlan
    cache: ModelCache
    cancellation: Cancellation
    publish: Publish
    locks: DeviceLocks
    regression_check: RegressionCheck = field(default_factory=RegressionCheck)
    health_check: HealthCheck | None = None
    reboot: Reboot | None = None

    def run(self, cases: Sequence[TestCase]) -> tuple[Result, ...]:
        """Every result that there is; fewer than asked for only after a cancellation."""
        name = self.platform.device.name
        state = _DeviceState()
        results: list[Result] = []
        try:
            with self._held(state):
                if state.given_up is None:
                    state.canary = run_canary(self.platform, self.plan, cases, self.cache, self.cancellation)
                    self._find_backends(state)
                for number, case in enumerate(cases, start=1):
                    if state.given_up is None:
                        logger.info("[%d/%d] %s on %s", number, len(cases), case.label, name)
                    results.extend(self._run_case(case, state))
        except RunCancelledError:
            logger.warning("cancelled on %s: %d tests had results", name, len(results))
        finally:
            self.platform.close()
        return tuple(results)

    @contextmanager
    def _held(self, state: _DeviceState) -> Iterator[None]:
        """A device that cannot be had is given up: its cases are told as missing."""
        entered = False
        try:
            with self.locks.held(self.platform, self.cancellation), self.platform.hold():
                entered = True
                self._prepare(state)
                yield
        except DeviceError as error:
            state.give_up(error)
            if not entered:
                yield

    def _prepare(self, state: _DeviceState) -> None:
        try:
            if self.reboot == "commit":
                self.platform.reboot()
            if self.health_check is not None:
                self.health_check.run(self.platform)
        except DeviceError as error:
            state.give_up(error)

    def _find_backends(self, state: _DeviceState) -> None:
        if self.plan.backends is None:
            return
        try:
            state.backends = find_backends(self.platform, self.plan, self.cancellation)
        except CaseError as error:
            state.no_backends = error
            logger.error("%s", error)
        except DeviceError as error:
            state.give_up(error)
        else:
            name, found = self.platform.device.name, state.backends
            logger.info("backends on %s: %s", name, ", ".join(found.chosen))
            for backend, reason in {**found.missing, **found.unavailable}.items():
                logger.info("  not available: %s: %s", backend, reason)

    def _run_case(self, case: TestCase, state: _DeviceState) -> list[Result]:
        if self.plan.backends is not None:
            return self._run_on_backends(case, state)

        def run_with(plan: RunPlan, finish: Finish) -> Result:
            if self.cancellation.is_set:
                raise RunCancelledError("the run was cancelled")
            driver = BenchmarkDriver(self.platform, plan, self.cache, self.cancellation)
            (tried,) = self._run_once(
                lambda: (driver.run(case),), lambda error: (driver.missing(case, error),), state
            )
            result = finish(state.canary.applied_to(tried))
            self.publish(result)
            return result

        first = run_with(self.plan, lambda one: self.regression_check.marked(one, self.plan))
        if self.plan.run_type != "benchmark":
            return [first]
        return [first, *self.regression_check.follow_up(first, self.plan, run_with)]

    def _run_on_backends(self, case: TestCase, state: _DeviceState) -> list[Result]:
        """A result for each backend; a single one where they are not known."""
        if self.cancellation.is_set:
            raise RunCancelledError("the run was cancelled")
        if state.backends is None:
            why = state.given_up or state.no_backends or DeviceError("its backends are not known")
            driver = BenchmarkDriver(self.platform, self.plan, self.cache, self.cancellation)
            results: tuple[Result, ...] = (driver.missing(case, why),)
        else:
            matrix = BackendMatrix(self.platform, self.plan, self.cache, self.cancellation, state.backends)
            results = self._run_once(
                lambda: matrix.run(case), lambda error: matrix.missing(case, error), state
            )
        for one in results:
            self.publish(one)
        return list(results)

    def _run_once(self, run: RunTest, missing: MissTest, state: _DeviceState) -> tuple[Result, ...]:
        """Once more after the device was lost and came back; never again for what it measured."""
        if state.given_up is not None:
            return missing(state.given_up)
        if self.reboot == "run":
            try:
                self.platform.reboot()
            except DeviceError as error:
                state.give_up(error)
                return missing(error)
        results = run()
        failures = [one.failure for one in results if one.failure]
        lost = next((one.message for one in failures if one.kind is FailureKind.LOST), None)
        if lost is None or not self._recover(lost, state):
            return results
        text = f"run again, as the device was lost the first time: {lost}"
        return tuple(replace(again, warnings=(*again.warnings, text)) for again in run())

    def _recover(self, reason: str, state: _DeviceState) -> bool:
        name = self.platform.device.name
        if self.cancellation.is_set:
            raise RunCancelledError("the run was cancelled")
        if state.recoveries >= RECOVERIES:
            state.give_up(DeviceLostError(f"{name} was lost more than {RECOVERIES} times: {reason}"))
            return False
        state.recoveries += 1
        logger.warning("%s is lost: %s; trying to get it back", name, reason)
        try:
            self.platform.recover()
        except DeviceError as error:
            state.give_up(error)
            return False
        logger.warning("%s is back", name)
        return True


@dataclass
class _DeviceState:
    recoveries: int = 0
    given_up: DeviceError | None = None
    """Why no more cases are run."""
    backends: DeviceBackends | None = None
    """Where the tests run on several."""
    no_backends: CaseError | None = None
    """Why it is not known on which."""
    canary: Canary = field(default_factory=Canary)

    def give_up(self, error: DeviceError) -> None:
        self.given_up = error
        logger.error("%s", error)


def run_sessions(sessions: Sequence[Session], cases: Sequence[TestCase]) -> tuple[Result, ...]:
    """Runs every session in a thread of its own and waits for all of them.

    A bug in one session is raised only after the others have ended.
    """
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
    """The gravest that applies."""
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
    """Of each test on each device what its last run says: a suspicion was run again."""
    return list({result.key: result.verdict for result in results}.values())
