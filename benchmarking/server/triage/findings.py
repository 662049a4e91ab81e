"""What the points of one series say about its regressions. Pure."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from benchmarking.records.series import Levels, Point, levels
from benchmarking.server.triage.life import Indicator, IndicatorKey, Source
from benchmarking.statistics.change_points import (
    LINK_REACH,
    MINIMUM_RUNS,
    find_change_points,
    find_creep,
)

SETTLED = 3
"""The number of newest untainted values that have to be back: a single one may be by chance."""
NEWEST = 100
"""Change points that are older, in runs, do not open a regression: nobody triages last year's."""

Order = tuple[float, int]
"""Where a commit is in its repository: its position, or infinity, and its time."""


@dataclass(frozen=True)
class Observation:
    """A point of the series, and the row of its commit."""

    commit: int
    order: Order
    point: Point


@dataclass(frozen=True)
class Verdict:
    """A result with confirmed regressions."""

    result: int
    commit: int
    order: Order
    control: int | None
    control_order: Order | None
    time: int
    levels: Mapping[str, tuple[float, float]]
    """Of each type that regressed: the level of the control and of the treatment."""


@dataclass(frozen=True)
class Change:
    """A step or a creep of the series."""

    is_creep: bool
    last_good: int
    first_bad: int
    before: float
    after: float


@dataclass(frozen=True)
class Located:
    """An indicator and the commit at which it was found."""

    commit: int
    indicator: Indicator
    near: tuple[int, ...] = ()
    """The commits that may also be meant, the nearest first."""


@dataclass(frozen=True)
class SeriesHistory:
    """The points of a series in the order of the commits, without tainted ones."""

    series: int
    type: str
    observations: Sequence[Observation]
    is_lower_better: bool = True
    is_error: bool = False

    @property
    def key(self) -> IndicatorKey:
        return IndicatorKey(self.series, self.type)

    @cached_property
    def levels(self) -> Levels:
        """Errors are compared as they are, because the control's may be 0."""
        points = [one.point for one in self.observations]
        return levels([replace(one, ratio=None) for one in points] if self.is_error else points)

    @cached_property
    def observed(self) -> Sequence[Observation]:
        """The observation of each level."""
        known = {one.point.moment: one for one in self.observations}
        return [known[one.moment] for one in self.levels.points]

    def index(self, order: Order) -> int:
        """The index of the commit, or of the next commit that was measured."""
        return bisect_left([one.order for one in self.observed], order)

    def good(self, indicator: Indicator) -> slice:
        """The last good commit and those before it, as far as they show its level."""
        commits = [one.commit for one in self.observed]
        end = commits.index(indicator.last_good) + 1 if indicator.last_good in commits else 0
        return slice(max(0, end - MINIMUM_RUNS), end)

    def near(self, index: int) -> tuple[int, ...]:
        """The commits that are so near that a step there may be the same, the nearest first."""
        distances = sorted(range(-LINK_REACH, LINK_REACH + 1), key=abs)
        numbers = (index + one for one in distances if one)
        return tuple(self.observed[one].commit for one in numbers if 0 <= one < len(self.observed))


def changes(history: SeriesHistory) -> list[Change]:
    """All steps and creeps, faster and slower, in the order of the commits. A creep that consists of known
    steps is left out.
    """
    seen, commits = history.levels, [one.commit for one in history.observed]
    steps = find_change_points(seen.values, seen.links)
    creeps = (
        one
        for one in find_creep(seen.values, steps, seen.links)
        if not any(one.last_good < step.index <= one.first_bad for step in steps)
    )
    found = [
        *(Change(False, commits[one.index - 1], commits[one.index], one.before, one.after) for one in steps),
        *(
            Change(True, commits[one.last_good], commits[one.first_bad], one.before, one.after)
            for one in creeps
        ),
    ]
    return sorted(found, key=lambda one: commits.index(one.first_bad))


def advice(history: SeriesHistory, found: Iterable[Change]) -> Iterator[Located]:
    """The newest changes for the worse that still last, as indicators."""
    commits = [one.commit for one in history.observed]
    for change in found:
        index = commits.index(change.first_bad)
        indicator = Indicator(
            key=history.key,
            source=Source.CREEP if change.is_creep else Source.STEP,
            before=change.before,
            after=change.after,
            last_good=change.last_good,
        )
        is_worse = (change.after > change.before) == history.is_lower_better
        is_old = index < len(commits) - NEWEST
        if is_worse and not is_old and not is_back(history, history.observed[index].order, indicator):
            yield Located(change.first_bad, indicator, () if change.is_creep else history.near(index))


def confirmed(history: SeriesHistory, verdicts: Sequence[Verdict]) -> tuple[list[Located], dict[int, int]]:
    """The confirmed regressions of a type, and where those belong that the loop has traced to an earlier
    commit.

    The loop confirms a regression at one commit, compared with the control of the week, and afterwards
    reports the commit in between that caused it, compared with the last good commit.
    """
    key = history.key
    own = [one for one in verdicts if key.type in one.levels]
    causes = {one.commit: cause.commit for one in own if (cause := _cause(one, own))}
    traced = set(causes.values())
    located = {}
    for one in sorted(own, key=lambda one: one.time):
        if one.commit in causes:
            continue
        source = Source.BISECTION if one.commit in traced else Source.VERDICT
        located[one.commit] = Located(
            one.commit,
            Indicator(key, source, *one.levels[key.type], result=one.result, last_good=one.control),
            history.near(history.index(one.order)),
        )
    return list(located.values()), causes


def _cause(later: Verdict, verdicts: Iterable[Verdict]) -> Verdict | None:
    """The earliest commit to which the loop traced it."""
    between = (
        one
        for one in verdicts
        if later.control_order is not None
        and later.control_order < one.order < later.order
        and one.control_order is not None
        and one.control_order >= later.control_order
        and one.time > later.time
    )
    return min(between, key=lambda one: one.order, default=None)


def is_back(history: SeriesHistory, order: Order, indicator: Indicator) -> bool:
    """Whether the newest values are closer to the level before the commit than to that after it.

    The level before is measured again on the same scale as the newest values, because the scale of ratios
    depends on the oldest control that is known.

    Args:
        order: of the commit.
    """
    values = history.levels.values
    index = history.index(order)
    newest = values[index + 1 :][-SETTLED:]
    if len(newest) < SETTLED:
        return False
    limit = _limit(history, index, indicator)
    return max(newest) < limit if history.is_lower_better else min(newest) > limit


def _limit(history: SeriesHistory, index: int, indicator: Indicator) -> float:
    """Half way, on a logarithmic scale, between the levels.

    The level before is that of the last good commit, not of the commit before: the commits in between may
    have had the regression without being judged.
    """
    ratio, values = indicator.ratio, history.levels.values
    if ratio is None or ratio <= 0:
        return (indicator.before + indicator.after) / 2
    older = values[history.good(indicator)]
    return (statistics.median(older) if older else values[index] / ratio) * math.sqrt(ratio)
