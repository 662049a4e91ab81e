"""Two sides of saved runs, series by series: what both have, and what the evidence says of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from statistics import median

from benchmarking.records.comparison import (
    Evidence,
    Finding,
    Judgement,
    Scatter,
    Sides,
    common_scatter,
    judge,
)
from benchmarking.records.evidence import (
    Runs,
    SavedRun,
    are_relative,
    by_ratios,
    normal,
    paired,
    ratio_scatter,
    value_scatter,
)
from benchmarking.records.index import Index
from benchmarking.records.series import SeriesKey
from benchmarking.results.model import NORMAL_RUN

ERRORS = "error"
"""The metric whose values are not compared: an answer is right or wrong."""
OF_A_BACKEND = ("backend ", "engine ", "optimize ")
"""Settings that belong to a backend, in the text of a series' settings."""
MOST_RUNS = 400
"""The number of newest runs of a series that are read."""

RATIO = "ratio"

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


def newest(runs: Iterable[SavedRun], rank: Callable[[SavedRun], tuple[int, ...]] | None = None) -> Side:
    """For each series the runs of the commit that ranks highest, by default the newest."""
    key = rank or (lambda one: (one.commit_time, -1 if one.position is None else one.position))
    side: dict[int, Runs] = {}
    for series, group in groupby(sorted(runs, key=lambda one: one.series), key=lambda one: one.series):
        of_series = sorted(group, key=lambda one: one.time)
        best = max(of_series, key=key).moment
        side[series] = [one for one in of_series if one.moment == best]
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
        moments = [[one.moment for one in of_side] for of_side in runs]
        common = next((one for one in moments[0] if one in moments[1]), None)
        for side, of_side in zip(sides, runs, strict=True):
            if common is not None and of_side:
                side[of_side[0].series] = [one for one in reversed(of_side) if one.moment == common]
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
        {identity(series[number][0]): number for number in side if number in series and normal(side[number])}
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
            tainted=any(run.tainted for run in (*normal(base[1][one]), *normal(head[1][other]))),
        )
        for (one, other), one_sides, judgement in zip(pairs, sides, judge(sides), strict=True)
    ]
    rows.sort(key=lambda row: (row.judgement.rank, tuple(row.key.described().values())))
    only_base, only_head = (len(numbers) - len(common) for numbers in by_identity)
    return SavedComparison(base[0], head[0], tuple(rows), only_base, only_head, of_versions)


def _sides(index: Index, base: Runs, head: Runs) -> Sides:
    verdict = paired(base, head)
    usual = normal(base), normal(head)
    if verdict is None and are_relative(*usual) and (found := _by_ratios(index, *usual)):
        return found
    base_values, head_values = ([one.value for one in runs] for runs in usual)
    return Sides(base_values, head_values, verdict, None if verdict else _scatter(index, base, head))


def _by_ratios(index: Index, base: Runs, head: Runs) -> Sides | None:
    number = base[0].series
    scatter = ratio_scatter(index.untainted(number, MOST_RUNS))
    if scatter is None:
        return None
    history = [one for one in index.of_series(number, MOST_RUNS) if one.run_type == NORMAL_RUN]
    return by_ratios(base, head, reversed(history), scatter)


def _scatter(index: Index, base: Runs, head: Runs) -> Scatter | None:
    found = {
        number: value_scatter(index.untainted(number, MOST_RUNS))
        for number in {base[0].series, head[0].series}
    }
    return common_scatter(found[base[0].series], found[head[0].series])
