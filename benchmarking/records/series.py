"""The saved runs of many commits as series, which ``benchmarking.history`` shows and searches for changes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from benchmarking.results import comparability
from benchmarking.results.model import NORMAL_RUN, Interval, Result, TestKey, TypeResult, Verdict
from benchmarking.statistics.change_points import (
    ChangePoint,
    Creep,
    find_change_points,
    find_creep,
)

KNOWN = "known"
LARGEST_LEVEL = 1e100
"""Beyond this, squares and sums of squares are not finite."""
Moment = tuple[str, int]
"""A commit and its time; for a run without a known commit, the time of the run."""


@dataclass(frozen=True)
class SeriesKey:
    """The properties in which two runs must agree to be compared."""

    test: TestKey
    type: str
    platform: str
    """The device's name."""
    settings: str = ""
    """The settings of the program."""

    def described(self) -> dict[str, str]:
        """The names used in results; series are sorted by them."""
        test = self.test
        return {
            "net_name": test.net,
            "metric": test.metric,
            "identifier": test.identifier,
            "type": self.type,
            "platform": self.platform,
            "platform_hash": test.device,
            "framework": test.framework,
            "backend": test.backend or "",
            "settings": self.settings,
        }


@dataclass(frozen=True)
class Point:
    """One commit, with its latest normal run."""

    commit: str
    commit_time: int
    """Unix seconds."""
    value: float
    """The median delay in microseconds, or the largest absolute error of the output."""
    ratio: float | None = None
    """The treatment divided by the control."""
    ratio_interval: Interval | None = None
    control_commit: str | None = None
    control_commit_time: int | None = None
    verdict: str | None = None
    """The verdict of its last run and its verification: regressed if any of its runs confirmed this, known if
    it is not slower than earlier commits already were. None: nothing was judged.
    """
    tainted: tuple[str, ...] = ()
    position: int | None = None
    """The position in the repository, if known: higher than those of all commits that it contains."""

    @property
    def moment(self) -> Moment:
        return self.commit, self.commit_time


@dataclass(frozen=True)
class Series:
    key: SeriesKey
    unit: str
    points: tuple[Point, ...]
    """Oldest commit first."""

    @cached_property
    def levels(self) -> Levels:
        return levels(self.points)

    @cached_property
    def changes(self) -> tuple[ChangePoint, ...]:
        """The changes; their indexes are those of ``levels``."""
        return find_change_points(self.levels.values, self.levels.links)

    @cached_property
    def creeps(self) -> tuple[Creep, ...]:
        return find_creep(self.levels.values, self.changes, self.levels.links)


@dataclass(frozen=True)
class Levels:
    """The values that are searched for changes."""

    points: tuple[Point, ...]
    """The points that have a value to compare."""
    values: tuple[float, ...]
    """One value for each point; if ``is_ratio``, relative to the first control of all."""
    links: tuple[int, ...] = ()
    """The indexes at which the control changes."""
    is_ratio: bool = False


def series_of(results: Iterable[Result]) -> list[Series]:
    """The series in the order of their keys; of several normal runs of a commit, the last one
    given is used.
    """
    found: dict[SeriesKey, _Points] = {}
    for result in results:
        for key, one in keyed(result):
            found.setdefault(key, _Points(one.unit)).add(result, one)
    keys = sorted(found, key=lambda key: tuple(key.described().values()))
    return [Series(key, found[key].unit, found[key].sorted()) for key in keys if found[key].points]


def keyed(result: Result) -> Iterator[tuple[SeriesKey, TypeResult]]:
    """The series to which a result belongs."""
    settings = comparability.settings(result.program.facts)
    for one in result.types:
        yield SeriesKey(result.test, one.type, result.device.name, settings), one


@dataclass
class _Points:
    unit: str
    points: dict[Moment, Point] = field(default_factory=dict)
    verified: dict[Moment, str | None] = field(default_factory=dict)
    regressed: set[Moment] = field(default_factory=set)

    def add(self, result: Result, one: TypeResult) -> None:
        moment = result.provenance.commit, result.provenance.commit_time
        if one.regressed:
            self.regressed.add(moment)
        if result.provenance.run_type == NORMAL_RUN:
            self.points[moment] = point_of(result, one)
            self.verified.pop(moment, None)
        elif one.confirmation:
            self.verified[moment] = one.verdict

    def sorted(self) -> tuple[Point, ...]:
        judged = [replace(one, verdict=self._verdict(one)) for one in self.points.values()]
        return tuple(in_order(judged))

    def _verdict(self, one: Point) -> str | None:
        is_confirmed = one.moment in self.regressed
        return Verdict.REGRESSED if is_confirmed else self.verified.get(one.moment, one.verdict)


def point_of(result: Result, one: TypeResult) -> Point:
    return Point(
        commit=result.provenance.commit,
        commit_time=result.provenance.commit_time,
        value=one.error.max_absolute if one.error else one.summary.p50,
        ratio=one.comparison.ratio if one.comparison else None,
        ratio_interval=one.comparison.ratio_interval if one.comparison else None,
        control_commit=result.provenance.control_commit,
        control_commit_time=result.provenance.control_commit_time,
        verdict=KNOWN if one.known else one.verdict,
        tainted=result.device.tainted,
        position=result.provenance.position,
    )


def in_order(points: Sequence[Point]) -> list[Point]:
    """Oldest commit first: commits with a position in that order, regardless of their times; the others by
    their times, after the commits of the repository with the same time.
    """
    moments: dict[Moment, tuple[float, float]] = {}
    latest = -math.inf
    positioned = [(one.position, one.commit_time, one) for one in points if one.position is not None]
    for position, commit_time, one in sorted(positioned, key=lambda row: row[:2]):
        latest = max(latest, commit_time)
        moments[one.moment] = latest, position
    return sorted(points, key=lambda one: moments.get(one.moment, (one.commit_time, math.inf)))


def levels(points: Sequence[Point]) -> Levels:
    """The ratios to the controls if the newest point has one, otherwise the values.

    Args:
        points: oldest commit first.
    """
    if points and points[-1].ratio is not None:
        return _chained([one for one in points if one.ratio is not None and 0 < one.ratio < LARGEST_LEVEL])
    kept = tuple(one for one in points if 0 <= one.value < LARGEST_LEVEL)
    return Levels(kept, tuple(one.value for one in kept))


def _chained(points: Sequence[Point]) -> Levels:
    """Converts ratios to several controls into ratios to the first: each is multiplied by the level of its
    own control.

    The control changes every week, so a change would otherwise disappear on the next Monday. A control's
    level is that of its own run, or of the newest older run if it has none.
    """
    by_commit: dict[str | None, float] = {}
    values: list[float] = []
    links = []
    for index, one in enumerate(points):
        base = by_commit.get(one.control_commit)
        if base is None:
            older = (
                value
                for value, other in zip(reversed(values), reversed(points[:index]), strict=True)
                if other.commit_time <= (one.control_commit_time or 0)
            )
            base = next(older, 1.0)
            by_commit[one.control_commit] = base
        if index and one.control_commit != points[index - 1].control_commit:
            links.append(index)
        values.append(min(base * (one.ratio or math.nan), LARGEST_LEVEL))
        by_commit[one.commit] = values[-1]
    return Levels(tuple(points), tuple(values), tuple(links), is_ratio=True)
