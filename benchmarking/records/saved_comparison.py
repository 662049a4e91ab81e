"""Two sides of saved runs, series by series: what both have, and what the evidence says of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from statistics import median

from benchmarking.records.comparison import (
    Evidence,
    Finding,
    Judgement,
    PairedVerdict,
    Scatter,
    Sides,
    common_scatter,
    judge,
    run_to_run_scatter,
)
from benchmarking.records.index import Index, IndexedRun
from benchmarking.records.series import Moment, Point, SeriesKey, in_order, levels
from benchmarking.results.model import Interval, Verdict
from benchmarking.statistics.change_points import MINIMUM_EFFECT, MINIMUM_RUNS
from benchmarking.statistics.sequential import SequentialPlan

ERRORS = "error"
"""The metric whose values are not compared: an answer is right or wrong."""
OF_A_BACKEND = ("backend ", "engine ", "optimize ")
"""Settings that belong to a backend, in the text of a series' settings."""
MOST_RUNS = 400
"""The number of newest runs of a series that are read."""

RULED_OUT = SequentialPlan.target_change

RATIO = "ratio"

Runs = Sequence[IndexedRun]
Side = Mapping[int, Runs]
"""By series: the runs of one commit, oldest first."""


@dataclass(frozen=True)
class Row:
    """One series that both sides have."""

    base_key: SeriesKey
    key: SeriesKey
    """Of HEAD. They differ only if devices, backends or frameworks are compared."""
    unit: str
    """``RATIO`` if both are relative to their controls."""
    base: float
    head: float
    """Medians of the runs."""
    judgement: Judgement
    tainted: bool
    """The conditions of a run of either side were unsuitable for measuring."""


@dataclass(frozen=True)
class SavedComparison:
    base: str
    head: str
    rows: tuple[Row, ...]
    """By significance."""
    only_base: int
    only_head: int
    """The number of series that the other side lacks."""
    of_versions: bool = True
    """Whether two versions of the program are compared, and not two devices, backends or frameworks."""

    @cached_property
    def geometric_mean(self) -> float | None:
        """Of the ratios of all rows; None if there are none."""
        ratios = [row.judgement.ratio for row in self.rows if row.judgement.ratio]
        return math.exp(math.fsum(map(math.log, ratios)) / len(ratios)) if ratios else None

    @property
    def has_regression(self) -> bool:
        return any(self.fails(row) for row in self.rows)

    def fails(self, row: Row) -> bool:
        """Whether an A/B run of the two versions showed that it is slower."""
        judgement = row.judgement
        return self.of_versions and (judgement.finding, judgement.evidence) == (Finding.SLOWER, Evidence.AB)

    def count(self, finding: Finding) -> int:
        return sum(row.judgement.finding is finding for row in self.rows)


def newest(runs: Iterable[IndexedRun], rank: Callable[[IndexedRun], tuple[int, ...]] | None = None) -> Side:
    """For each series the runs of the commit that ranks highest, by default the newest."""
    key = rank or (lambda one: (one.commit_time, -1 if one.position is None else one.position))
    side: dict[int, Runs] = {}
    for series, group in groupby(sorted(runs, key=lambda one: one.series), key=lambda one: one.series):
        of_series = sorted(group, key=lambda one: one.time)
        best = _moment(max(of_series, key=key))
        side[series] = [one for one in of_series if _moment(one) == best]
    return side


def compare_versions(index: Index, base: tuple[str, Side], head: tuple[str, Side]) -> SavedComparison:
    return _compared(index, base, head, lambda key: key, of_versions=True)


def compare_series(
    index: Index, base: tuple[str, Collection[int]], head: tuple[str, Collection[int]], attribute: str
) -> SavedComparison:
    """Two devices, backends or frameworks, at the newest commit that a test has on both.

    Args:
        base, head: the name of a value, and the numbers of the series that have it.
        attribute: ``device``, ``backend`` or ``framework``.
    """
    series = index.series()
    sides: list[dict[int, Runs]] = [{}, {}]
    identity = _identities[attribute]
    by_identity = [
        {identity(series[number][0]): number for number in sorted(numbers)} for _, numbers in (base, head)
    ]
    for same in by_identity[0].keys() & by_identity[1].keys():
        runs = [index.of_series(numbers[same], MOST_RUNS) for numbers in by_identity]
        moments = [[_moment(one) for one in of_side] for of_side in runs]
        common = next((one for one in moments[0] if one in moments[1]), None)
        for side, of_side in zip(sides, runs, strict=True):
            if common is not None and of_side:
                side[of_side[0].series] = [one for one in reversed(of_side) if _moment(one) == common]
    found = _compared(index, (base[0], sides[0]), (head[0], sides[1]), identity, of_versions=False)
    only_base, only_head = (len(numbers) - len(found.rows) for numbers in by_identity)
    return replace(found, only_base=only_base, only_head=only_head)


def _without_backend(key: SeriesKey) -> str:
    return ", ".join(one for one in key.settings.split(", ") if not one.startswith(OF_A_BACKEND))


_identities: Mapping[str, Callable[[SeriesKey], Hashable]] = {
    "device": lambda key: (key.test.name, key.test.framework, key.test.backend, key.type, key.settings),
    "backend": lambda key: (
        *(key.test.name, key.test.framework, key.test.device, key.type),
        _without_backend(key),
    ),
    "framework": lambda key: (
        *(key.test.name, key.test.backend, key.test.device, key.type),
        _without_backend(key),
    ),
}
"""What two series have in common that differ in the attribute."""


def _compared(
    index: Index,
    base: tuple[str, Side],
    head: tuple[str, Side],
    identity: Callable[[SeriesKey], Hashable],
    *,
    of_versions: bool,
) -> SavedComparison:
    series = {number: one for number, one in index.series().items() if one[0].test.metric != ERRORS}
    by_identity = [
        {identity(series[number][0]): number for number in side if number in series and _normal(side[number])}
        for _, side in (base, head)
    ]
    common = [one for one in by_identity[0] if one in by_identity[1]]
    pairs = [(by_identity[0][one], by_identity[1][one]) for one in common]
    sides = [_sides(index, base[1][one], head[1][other]) for one, other in pairs]
    rows = [
        Row(
            base_key=series[one][0],
            key=series[other][0],
            unit=RATIO if one_sides.is_relative else series[other][1],
            base=median(one_sides.base),
            head=median(one_sides.head),
            judgement=judgement,
            tainted=any(run.tainted for run in (*_normal(base[1][one]), *_normal(head[1][other]))),
        )
        for (one, other), one_sides, judgement in zip(pairs, sides, judge(sides), strict=True)
    ]
    rows.sort(key=lambda row: (row.judgement.rank, tuple(row.key.described().values())))
    only_base, only_head = (len(numbers) - len(common) for numbers in by_identity)
    return SavedComparison(base[0], head[0], tuple(rows), only_base, only_head, of_versions)


def _sides(index: Index, base: Runs, head: Runs) -> Sides:
    if paired := _paired(base, head):
        return Sides(*_values(base, head), paired=paired)
    return _by_ratios(index, base, head) or Sides(*_values(base, head), scatter=_scatter(index, base, head))


def _values(base: Runs, head: Runs) -> tuple[list[float], list[float]]:
    return [one.value for one in _normal(base)], [one.value for one in _normal(head)]


def _by_ratios(index: Index, base: Runs, head: Runs) -> Sides | None:
    """The ratios of two versions to their controls, which do not depend on how busy the machine was.

    None if there are none. Each control between the two adds the error of its own run (``series.levels``).
    """
    moments = _moment(base[-1]), _moment(head[-1])
    if base[0].series != head[0].series or not all(one.ratio for one in (*_normal(base), *_normal(head))):
        return None
    runs = [one for one in index.of_series(base[0].series, MOST_RUNS) if one.run_type == "benchmark"]
    latest = {_moment(one): one for one in reversed(runs)}
    found = levels(in_order([_point(one) for one in latest.values()]))
    places = {point.moment: place for place, point in enumerate(found.points)}
    if not found.is_ratio or not places.keys() >= {*moments}:
        return None
    segments = [sum(link <= place for link in found.links) for place in range(len(found.points))]
    kept = [place for place, point in enumerate(found.points) if not point.tainted]
    scatter = run_to_run_scatter([found.values[one] for one in kept], [segments[one] for one in kept])
    first, last = (places[moment] for moment in moments)
    if scatter is not None:
        links = abs(segments[last] - segments[first])
        scatter = replace(scatter, deviation=scatter.deviation * math.sqrt(1 + links / 2))
    return Sides([found.values[first]], [found.values[last]], scatter=scatter, is_relative=True)


def _point(one: IndexedRun) -> Point:
    return Point(
        one.commit_name,
        one.commit_time,
        one.value,
        one.ratio,
        control_commit=one.control_commit,
        control_commit_time=one.control_commit_time,
        tainted=("tainted",) * one.tainted,
        position=one.position,
    )


def _scatter(index: Index, base: Runs, head: Runs) -> Scatter | None:
    found = {
        number: run_to_run_scatter(_neighbours(index.untainted(number, MOST_RUNS)))
        for number in {base[0].series, head[0].series}
    }
    return common_scatter(found[base[0].series], found[head[0].series])


def _neighbours(runs: Iterable[tuple[Moment, float]]) -> list[float]:
    """The last run of each commit, oldest first. Every run if there are too few commits, although runs that
    were made one after another scatter less.
    """
    ordered = [*runs][::-1]
    of_commits = dict(ordered)
    return [*of_commits.values()] if len(of_commits) >= MINIMUM_RUNS else [value for _, value in ordered]


def _paired(base: Runs, head: Runs) -> PairedVerdict | None:
    """What an A/B run of the two, or a run on both backends, said."""
    direct = [one for one in head if one.control_commit == base[0].commit_name and one.verdict]
    if direct:
        return _verdict(direct)
    reverse = [one for one in base if one.control_commit == head[0].commit_name and one.verdict]
    if reverse:
        return _verdict(reverse).reversed()
    return _beside(base, head) or ((found := _beside(head, base)) and found.reversed())


def _verdict(runs: Runs) -> PairedVerdict:
    """Of the newest of several, and of its verification; a regression that was once confirmed stays."""
    normal = [index for index, one in enumerate(runs) if one.run_type == "benchmark"]
    latest = runs[normal[-1] if normal else 0 :]
    one = next((run for run in reversed(latest) if run.is_verification), latest[0])
    verdict = Verdict.REGRESSED if any(run.is_confirmed for run in runs) else Verdict(one.verdict or "")
    return PairedVerdict(verdict, one.ratio, _interval(one))


def _beside(base: Runs, head: Runs) -> PairedVerdict | None:
    """HEAD relative to BASE, if BASE was the reference of the same run on several backends."""
    run_uids = {one.run_uid for one in base if one.run_uid and not one.reference}
    for one in reversed(head):
        interval = _interval(one)
        if one.reference and one.run_uid in run_uids and one.ratio and interval:
            return PairedVerdict(_verdict_of(one.ratio, interval), one.ratio, interval)
    return None


def _verdict_of(ratio: float, interval: Interval) -> Verdict:
    if (
        1 / (1 + RULED_OUT) < interval.low <= interval.high < 1 + RULED_OUT
        and abs(ratio - 1) < MINIMUM_EFFECT
    ):
        return Verdict.UNCHANGED
    if interval.low <= 1 <= interval.high:
        return Verdict.INCONCLUSIVE
    return Verdict.REGRESSED if ratio > 1 else Verdict.IMPROVED


def _interval(one: IndexedRun) -> Interval | None:
    if one.ratio_low is None or one.ratio_high is None or one.ratio_confidence is None:
        return None
    return Interval(one.ratio_low, one.ratio_high, one.ratio_confidence)


def _normal(runs: Runs) -> Runs:
    """Without verifications; without tainted runs, if there are others."""
    normal = [one for one in runs if one.run_type == "benchmark"]
    return [one for one in normal if not one.tainted] or normal


def _moment(one: IndexedRun) -> Moment:
    return one.commit_name, one.commit_time
