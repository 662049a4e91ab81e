"""Collects the pairs of a test, and decides when there are enough for a verdict."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import replace

from benchmarking.driver import conditions
from benchmarking.driver.plan import Comparing
from benchmarking.driver.sampler import LogRatios, Sampler, Samples, Source, say_which_arm
from benchmarking.results.model import NET_DELAY, Sampling, SequentialDecision, Verdict
from benchmarking.statistics import sequential

TREATMENT, CONTROL = "treatment", "control"

NEWS_AFTER_S = 10.0
FORECAST_AFTER = 6
"""The number of pairs that show how many it will take."""
NEWS_FACTOR = 1.5
"""The factor between the times of successive log lines about a long wait."""

logger = logging.getLogger(__name__)


class PairedTest:
    def __init__(self, comparing: Comparing, suspects: tuple[str, ...] = (), what: str = "") -> None:
        """``suspects``: the types to judge; empty: all. ``what``: the name of the measurement, for people."""
        self._comparing = comparing
        self._suspects = suspects
        self._what = what
        self._next_news_s = NEWS_AFTER_S
        self._started = time.monotonic()
        self._log_ratios: dict[str, list[float]] = {name: [] for name in suspects}
        """By type; every suspect is in it: one without any ratio is inconclusive, and never passes."""
        self.pairs = 0

    @property
    def duration_s(self) -> float:
        return time.monotonic() - self._started

    def add(self, log_ratios: Mapping[str, float]) -> dict[str, SequentialDecision] | None:
        """Takes a pair's log(treatment / control) by type; returns the verdicts once there are
        enough pairs.
        """
        for name in log_ratios:
            if not self._suspects or name in self._suspects:
                self._log_ratios.setdefault(name, [math.nan] * self.pairs)
        self.pairs += 1
        for name, values in self._log_ratios.items():
            values.append(log_ratios.get(name, math.nan))
        decisions = self._decisions()
        if decisions is None:
            if self.pairs == FORECAST_AFTER:
                self._tell_forecast()
            self._tell_progress()
        return decisions

    def _decisions(self) -> dict[str, SequentialDecision] | None:
        plan, fixed = self._comparing.plan, self._comparing.fixed_pairs
        if fixed is not None and self.pairs < fixed:
            return None
        if not self._log_ratios:  # the two programs have no type in common
            return {}
        if fixed is not None:
            return sequential.decide_once(plan, self._log_ratios)
        limit_reached = self.duration_s >= self._comparing.max_seconds
        return sequential.decide_all(plan, self._log_ratios, limit_reached=limit_reached)

    def _tell_forecast(self) -> None:
        """How long the whole comparison will take, unless that is soon."""
        comparing, values = self._comparing, self._log_ratios.get(NET_DELAY)
        needed = sequential.forecast(comparing.plan, values) if values and not comparing.fixed_pairs else None
        if needed is None:
            return
        needed_s = self.duration_s / self.pairs * needed
        if needed_s < NEWS_AFTER_S:
            return
        target = f"{100 * comparing.plan.target_change:.3g} %"
        limit_s = comparing.max_seconds
        logger.info(
            "  %s: finding or ruling out %s will take about %.0f s (%d pairs)%s",
            self._what,
            target,
            needed_s,
            needed,
            f"; the limit of {limit_s:.0f} s comes before that" if needed_s > limit_s else "",
        )

    def _tell_progress(self) -> None:
        """Logs only long waits, at growing intervals."""
        elapsed_s = self.duration_s
        if elapsed_s < self._next_news_s:
            return
        self._next_news_s = elapsed_s * NEWS_FACTOR
        fixed = self._comparing.fixed_pairs
        pairs = fixed or self._comparing.plan.max_pairs
        left_s = elapsed_s / self.pairs * (pairs - self.pairs)
        if fixed is None:
            left_s = max(min(left_s, self._comparing.max_seconds - elapsed_s), 0.0)
        logger.info(
            "  %s: %d of %s%d pairs after %.0f s; %s%.0f s left",
            self._what,
            self.pairs,
            "" if fixed else "at most ",
            pairs,
            elapsed_s,
            "about " if fixed else "at most ",
            left_s,
        )


def sample_pairs(
    sampler: Sampler[Source], test: PairedTest, treatment: Source, control: Source, cores: int | None = None
) -> Samples:
    """Pairs until there is a verdict. A failed arm is part of the answer.

    Args:
        cores: of the device, where that is known.

    Raises:
        NoWorkersError, RunCancelledError: as ``Sampler.sample``.
    """
    decisions: dict[str, SequentialDecision] = {}

    def enough(log_ratios: LogRatios) -> bool:
        found = test.add(log_ratios[TREATMENT])
        decisions.update(found or {})
        return found is not None

    sampled = sampler.sample({TREATMENT: treatment, CONTROL: control}, CONTROL, enough)
    failures = [say_which_arm(error, arm) for arm, error in sampled.failures.items()]
    return Samples(
        treatment=sampled.arms[TREATMENT],
        control=sampled.arms[CONTROL],
        failure=failures[0] if failures else None,
        decisions=_trusted(decisions, sampled.sampling[TREATMENT], cores),
        sampling=sampled.sampling[TREATMENT],
    )


def _trusted(
    decisions: Mapping[str, SequentialDecision], sampling: Sampling, cores: int | None
) -> Mapping[str, SequentialDecision]:
    """On a busy machine, wall time hides changes: a test that then looks unchanged is inconclusive."""
    wall = {name for name in decisions if name != NET_DELAY or sampling.clock == "wall"}
    if sampling.level == "process" or not wall:
        return decisions
    reason = conditions.wall_time_is_doubtful(sampling.conditions, cores)
    if reason is None:
        return decisions
    return {
        name: replace(one, verdict=Verdict.INCONCLUSIVE, reason=f"{one.reason}, but {reason}")
        if name in wall and one.verdict is Verdict.UNCHANGED
        else one
        for name, one in decisions.items()
    }
