"""Compares the control with its own copy: if they seem to differ, the machine cannot be trusted to compare
programs.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarking.driver.bench import Bench
from benchmarking.driver.benchmark_driver import BenchmarkDriver
from benchmarking.driver.plan import Arm
from benchmarking.files.held_directory import HeldDirectory
from benchmarking.platforms.platform_base import PlatformBase
from benchmarking.results.model import NET_DELAY, Confirmation, Result, SequentialDecision
from benchmarking.specs.expand import TestCase
from benchmarking.statistics import sequential

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Canary:
    verdict: SequentialDecision | Confirmation | None = None
    """None: there was no canary, or it could not be run."""
    text: str = ""

    def applied_to(self, result: Result) -> Result:
        """Adds the outcome to the run's results; after an alarm their verdicts are void."""
        sampling = result.sampling
        if sampling is None or not self.text:
            return result
        result = replace(result, sampling=replace(sampling, canary=self.text))
        verdict = self.verdict
        if verdict is None or not sequential.canary_alarms(verdict):
            return result
        types = [
            replace(one, decision=sequential.void(one.decision, verdict)) if one.decision else one
            for one in result.types
        ]
        return replace(result, types=tuple(types))


def run_canary(
    bench: Bench,
    cases: Sequence[TestCase],
) -> Canary:
    """Once per run and device, with the first test of delays. An alarm is verified on fresh pairs.

    Raises:
        RunCancelledError: the run was cancelled.
    """
    platform, plan = bench.platform, bench.plan
    case = next((one for one in cases if one.metric == "delay" and one.refusal is None), None)
    if case is None or plan.control is None or not plan.comparing.canary or plan.run_type != "benchmark":
        return Canary()
    with ExitStack() as stack:
        verdict: SequentialDecision | Confirmation | str
        try:
            directory = stack.enter_context(HeldDirectory("benchmark-run-"))
            own_plan = replace(
                plan,
                treatment=_copy(plan.control, directory.path),
                comparing=replace(plan.comparing, what="canary: comparing the control with its own copy"),
            )
        except OSError as error:
            return _not_run(platform, f"cannot copy {plan.control.program.path}: {error}")
        driver = BenchmarkDriver(bench.planned(own_plan))
        first = _judged(driver.run(case))
        verdict = first
        if isinstance(first, SequentialDecision) and sequential.canary_alarms(first):
            verification = replace(own_plan, run_type="verify", regressed_types=(NET_DELAY,))
            second = _judged(BenchmarkDriver(bench.planned(verification)).run(case))
            if isinstance(second, SequentialDecision):
                verdict = sequential.confirm(first, second)
            else:
                verdict = f"{second}; it was to verify an alarm: {first.verdict}, {first.reason}"
    if isinstance(verdict, str):
        return _not_run(platform, verdict)
    text = f"the control compared with its own copy: {verdict.verdict}, {verdict.reason}"
    log = logger.error if sequential.canary_alarms(verdict) else logger.info
    log("canary on %s: %s", platform.device.name, text)
    return Canary(verdict, text)


def _not_run(platform: PlatformBase, reason: str) -> Canary:
    text = f"the canary could not be run: {reason}"
    logger.warning("%s: %s", platform.device.name, text)
    return Canary(text=text)


def _copy(control: Arm, directory: Path) -> Arm:
    """A copy in another directory and under another name, because devices store files by content and name."""
    path = directory / f"copy-of-{control.program.path.name}"
    shutil.copy2(control.program.path, path)
    return replace(control, program=replace(control.program, path=path))


def _judged(result: Result) -> SequentialDecision | str:
    """The decision about the net, or the reason why there is none."""
    if result.failure is not None:
        return result.failure.message
    decisions = [one.decision for one in result.types if one.type == NET_DELAY and one.decision]
    return decisions[0] if decisions else "it has no delays of the net"
