"""To which regression an indicator belongs: one regression for each commit. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarking.server.triage.findings import Located
from benchmarking.server.triage.life import IndicatorKey, Regression, Source


@dataclass(frozen=True)
class Placed:
    """A regression of the store."""

    row: int
    commit: int
    regression: Regression


@dataclass(frozen=True)
class Place:
    """Where an indicator goes."""

    row: int | None
    """The regression; None: a new one."""
    is_moved: bool = False
    """The regression was advice, and fresh measurements have shown that it belongs to the commit of the
    indicator.
    """


def place(located: Located, known: Sequence[Placed]) -> Place:
    """The regression of the same commit; for a change point, whose commit is uncertain, also of a commit near
    it.

    Args:
        known: the regressions of ``located.commit``, of the commits near it, and those with the same series.
    """
    indicator = located.indicator
    if indicator.source is Source.CREEP:  # it moves as it grows
        creep = next((one for one in known if _is_creep(one, indicator.key)), None)
        if creep is not None:
            return Place(creep.row)
    same = next((one for one in known if one.commit == located.commit), None)
    if same is not None:
        return Place(same.row)
    near = sorted(
        (one for one in known if one.commit in located.near),
        key=lambda one: (indicator.key not in one.regression.indicators, located.near.index(one.commit)),
    )
    if not near:
        return Place(None)
    if indicator.source.is_advice:
        return Place(near[0].row)
    suggested = near[0].regression
    is_the_same = suggested.is_advice and indicator.key in suggested.indicators
    return Place(near[0].row, is_moved=True) if is_the_same else Place(None)


def _is_creep(one: Placed, key: IndicatorKey) -> bool:
    indicator = one.regression.indicators.get(key)
    return indicator is not None and indicator.source is Source.CREEP


def worst(regression: Regression) -> float | None:
    """The largest change, as the level after divided by the level before, whatever is better."""
    ratios = [one.ratio for one in regression.indicators.values() if one.ratio]
    return max(ratios, key=lambda one: max(one, 1 / one), default=None)


def commits_of(located: Iterable[Located]) -> set[int]:
    """The commits whose regressions ``place`` has to know."""
    return {commit for one in located for commit in (one.commit, *one.near)}
