"""All cases of a run: devices in parallel, the cases of one device in sequence."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from benchmarking.driver.benchmark_driver import BenchmarkDriver
from benchmarking.driver.plan import RunPlan
from benchmarking.driver.regression_check import RegressionCheck
from benchmarking.errors import ExitStatus, RunCancelledError
from benchmarking.model_cache import ModelCache
from benchmarking.platforms.platform_base import PlatformBase
from benchmarking.process import Cancellation
from benchmarking.results import FailureKind, Result
from benchmarking.specs.expand import TestCase

logger = logging.getLogger(__name__)

Publish = Callable[[Result], None]
"""Takes every result as soon as it is there, from any thread."""


@dataclass(frozen=True)
class Session:
    """One device's cases."""

    platform: PlatformBase
    plan: RunPlan
    cache: ModelCache
    cancellation: Cancellation
    publish: Publish
    regression_check: RegressionCheck | None = None

    def run(self, cases: Sequence[TestCase]) -> tuple[Result, ...]:
        """Every result that there is; fewer than asked for only after a cancellation."""
        results: list[Result] = []
        try:
            for number, case in enumerate(cases, start=1):
                name = self.platform.device.name
                logger.info("[%d/%d] %s on %s", number, len(cases), case.label, name)
                results.extend(self._run_case(case))
        except RunCancelledError:
            logger.warning("cancelled on %s: %d tests had results", name, len(results))
        return tuple(results)

    def _run_case(self, case: TestCase) -> list[Result]:
        def run_with(plan: RunPlan) -> Result:
            if self.cancellation.is_set:
                raise RunCancelledError("the run was cancelled")
            result = BenchmarkDriver(self.platform, plan, self.cache, self.cancellation).run(case)
            self.publish(result)
            return result

        first = run_with(self.plan)
        if self.regression_check is None or self.plan.run_type != "benchmark":
            return [first]
        return [first, *self.regression_check.follow_up(first, self.plan, run_with)]


def run_sessions(sessions: Sequence[Session], cases: Sequence[TestCase]) -> tuple[Result, ...]:
    """Runs every session in a thread of its own and waits for all of them.

    A bug in one session is raised only after the others have ended.
    """
    with ThreadPoolExecutor(max_workers=len(sessions), thread_name_prefix="device") as executor:
        futures = [executor.submit(session.run, cases) for session in sessions]
    return tuple(result for future in futures for result in future.result())


def exit_status(results: Sequence[Result], *, cancelled: bool) -> ExitStatus:
    """The gravest that applies."""
    kinds = {result.failure.kind for result in results if result.failure}
    if cancelled:
        return ExitStatus.INTERRUPTED
    if FailureKind.BUG in kinds:
        return ExitStatus.INTERNAL_ERROR
    if any(result.regressed_types for result in results):
        return ExitStatus.REGRESSION_CONFIRMED
    if FailureKind.DEVICE in kinds:
        return ExitStatus.DEVICE_FAILED
    if FailureKind.CASE in kinds:
        return ExitStatus.BENCHMARK_FAILED
    return ExitStatus.OK
