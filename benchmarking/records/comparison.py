"""Whether two saved runs differ, by the best evidence that there is (docs/compare.md, "Saved runs").

Pure functions. The intervals within the two runs are not evidence: processes of one program differ by more
than these intervals say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise
from statistics import median

from benchmarking.results.model import Interval, Verdict
from benchmarking.statistics.change_points import MINIMUM_EFFECT, MINIMUM_RUNS

FALSE_ALARMS = 0.01
"""The largest probability that any of the series of a comparison is falsely called slower or faster by the
scatter, shared among them by Bonferroni's inequality.
"""
RECENT_RUNS = 50
_MAD_TO_DEVIATION = 1.4826
_FREEDOM_PER_RUN = 0.3
"""The scatter is known as well as a standard deviation with this number of degrees of freedom per run: the
MAD of overlapping differences uses about a third of the information.
"""
_MOST_FREEDOM = 5.0
"""Extreme runs are more frequent than a normal distribution says, however many runs are known."""


class Finding(StrEnum):
    SLOWER = "slower"
    FASTER = "faster"
    NO_DIFFERENCE = "no difference seen"
    UNKNOWN = "cannot be told"


CHANGED = (Finding.SLOWER, Finding.FASTER)


class Evidence(StrEnum):
    """From the best to none."""

    AB = "A/B"
    """The two ran side by side."""
    SCATTER = "scatter"
    """The difference compared with that of neighbouring runs of the series."""
    NONE = "none"


_RANKS = {evidence: rank for rank, evidence in enumerate(Evidence)}


@dataclass(frozen=True)
class PairedVerdict:
    """The saved outcome of an A/B run of the two, HEAD relative to BASE."""

    verdict: Verdict
    ratio: float | None
    interval: Interval | None = None

    def reversed(self) -> PairedVerdict:
        """BASE relative to HEAD."""
        exchanged = {Verdict.REGRESSED: Verdict.IMPROVED, Verdict.IMPROVED: Verdict.REGRESSED}
        interval = None
        if self.interval is not None and self.interval.low > 0:
            interval = Interval(1 / self.interval.high, 1 / self.interval.low, self.interval.confidence)
        return PairedVerdict(
            exchanged.get(self.verdict, self.verdict), 1 / self.ratio if self.ratio else None, interval
        )


@dataclass(frozen=True)
class Scatter:
    """How much runs of the same series differ."""

    deviation: float
    """The standard deviation of log(one run / another), as 1.4826 MAD of neighbours' differences."""
    runs: int

    def half_width(self, level: float) -> float:
        """The largest |log(one run / another)| that is not surprising at this level (two-sided)."""
        freedom = min(_FREEDOM_PER_RUN * (self.runs - 1), _MOST_FREEDOM)
        return self.deviation * _quantile(freedom, 1 - level / 2)


@lru_cache(maxsize=256)
def _quantile(freedom: float, probability: float) -> float:
    """Of Student's t-distribution; the thousands of series of a comparison have few different ones."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, probability))


def run_to_run_scatter(values: Sequence[float], segments: Sequence[int] = ()) -> Scatter | None:
    """Of the newest 50 runs; None if there are fewer than eight.

    Args:
        values: positive, of the untainted runs of a series in their order.
        segments: for each value; only neighbours in the same segment are compared. By default it is all one.
    """
    logs = [math.log(one) for one in values[-RECENT_RUNS:]]
    parts = segments[-RECENT_RUNS:] or [0] * len(logs)
    steps = [
        after - before
        for (before, part), (after, next_part) in pairwise(zip(logs, parts, strict=True))
        if part == next_part
    ]
    runs = len(steps) + 1
    if runs < MINIMUM_RUNS:
        return None
    centre = median(steps)
    return Scatter(_MAD_TO_DEVIATION * median(abs(one - centre) for one in steps), runs)


def common_scatter(base: Scatter | None, head: Scatter | None) -> Scatter | None:
    """Of runs of two series, such as those of two devices."""
    if base is None or head is None:
        return None
    deviation = math.hypot(base.deviation, head.deviation) / math.sqrt(2)
    return Scatter(deviation, min(base.runs, head.runs))


@dataclass(frozen=True)
class Sides:
    """What is known about one series on the two sides."""

    base: Sequence[float]
    """The medians of its runs, in one unit; lower is better. Several count as a single run, their median:
    runs of the same hour do not show how much those of different days differ.
    """
    head: Sequence[float]
    paired: PairedVerdict | None = None
    """Of exactly these two, if there is one."""
    scatter: Scatter | None = None
    is_relative: bool = False
    """The values are ratios to controls."""


@dataclass(frozen=True)
class Judgement:
    finding: Finding
    evidence: Evidence
    ratio: float | None
    """HEAD divided by BASE."""
    interval: Interval | None
    """Of the ratio. From the scatter it is simultaneous for all series that were judged by it."""
    reason: str
    """In a few words."""

    @property
    def strength(self) -> float:
        """log(ratio) in half-widths of the interval: above 1, the interval excludes 1."""
        if self.ratio is None or self.interval is None or self.interval.low <= 0:
            return 0.0
        half_width = math.log(self.interval.high / self.interval.low) / 2
        distance = abs(math.log(self.ratio))
        return distance / half_width if half_width else math.inf if distance else 0.0

    @property
    def rank(self) -> tuple[int, int, float]:
        """Sorts by significance: what changed by the better evidence first."""
        groups = (CHANGED, (Finding.NO_DIFFERENCE,), (Finding.UNKNOWN,))
        group = next(place for place, findings in enumerate(groups) if self.finding in findings)
        return group, _RANKS[self.evidence], -self.strength


def judge(compared: Sequence[Sides]) -> list[Judgement]:
    """The judgements in the same order. The more series are judged by their scatter, the larger a difference
    has to be, so that the probability of any false alarm stays at ``FALSE_ALARMS``.
    """
    ratios = [_ratio(one) for one in compared]
    by_scatter = sum(
        one.scatter is not None and one.paired is None and ratio is not None
        for one, ratio in zip(compared, ratios, strict=True)
    )
    level = FALSE_ALARMS / max(by_scatter, 1)
    return [_judged(one, ratio, level) for one, ratio in zip(compared, ratios, strict=True)]


def _ratio(sides: Sides) -> float | None:
    base, head = _typical(sides.base), _typical(sides.head)
    return head / base if base and head else None


def _typical(values: Sequence[float]) -> float | None:
    usable = [one for one in values if 0 < one < math.inf]
    return (usable[0] if len(usable) == 1 else median(usable)) if usable else None


def _judged(sides: Sides, ratio: float | None, level: float) -> Judgement:
    paired = sides.paired
    if paired is not None:
        finding = {
            Verdict.REGRESSED: Finding.SLOWER,
            Verdict.IMPROVED: Finding.FASTER,
            Verdict.UNCHANGED: Finding.NO_DIFFERENCE,
        }.get(paired.verdict, Finding.UNKNOWN)
        shown = ratio if paired.ratio is None else paired.ratio
        return Judgement(finding, Evidence.AB, shown, paired.interval, f"{paired.verdict} side by side")
    if ratio is None:
        return Judgement(Finding.UNKNOWN, Evidence.NONE, None, None, "no times above 0")
    if sides.scatter is None:
        reason = f"no A/B run of the two, and fewer than {MINIMUM_RUNS} runs to learn the scatter from"
        return Judgement(Finding.UNKNOWN, Evidence.NONE, ratio, None, reason)
    factor = math.exp(sides.scatter.half_width(level))
    interval = Interval(ratio / factor, ratio * factor, 1 - level)
    reason = f"{sides.scatter.runs} runs scatter by {100 * sides.scatter.deviation:.1f} %"
    return Judgement(_by_scatter(ratio, interval), Evidence.SCATTER, ratio, interval, reason)


def _by_scatter(ratio: float, interval: Interval) -> Finding:
    if abs(math.log(ratio)) < math.log1p(MINIMUM_EFFECT) or interval.low <= 1 <= interval.high:
        return Finding.NO_DIFFERENCE
    return Finding.SLOWER if ratio > 1 else Finding.FASTER
