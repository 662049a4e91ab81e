"""The graph of a series: as numbers for the script, and as lines for pages without a script."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from statistics import median
from typing import Any, TypeVar

from benchmarking.records.series import KNOWN
from benchmarking.reporters import numbers
from benchmarking.results import unix_time
from benchmarking.results.model import Verdict
from benchmarking.server.pages.rendering import amount, direction
from benchmarking.server.pages.views import LineView, PointView, SeriesView

RESOLUTION = 2000
"""The values are sent with this number of steps for their median, each 0.05 %."""
VERDICTS = {
    Verdict.REGRESSED: "r",
    Verdict.IMPROVED: "i",
    Verdict.UNCHANGED: "u",
    Verdict.INCONCLUSIVE: "?",
    Verdict.NOT_COMPARABLE: "n",
    KNOWN: "k",
}
"""A letter for each, which ``pages.js`` reads."""
WIDTH, HEIGHT = 1000, 320
LEFT, RIGHT, TOP, BOTTOM = 84, 12, 10, 26
MOST_CONTROLS = 5
"""Changes of the control are marked if there is at most one in this number of commits."""
TIMES = "\N{MULTIPLICATION SIGN}"
_TICKS = 5


# --- for the script -----------------------------------------------------------------------------------------


def graph_data(view: SeriesView, run: str, remembers: bool = True) -> dict[str, Any]:
    """What ``pages.js`` draws.

    Args:
        run: the address of a result's page, without the result's uid.
        remembers: whether the zoom becomes a part of the page's address.
    """
    commits = {one.commit.position: one.commit for line in (view.line, *view.overlays) for one in line.points}
    positions = sorted(commits)
    return {
        "unit": view.line.name.unit,
        "relative": view.relative,
        "range": _range_of(view.zoom, positions),
        "remembers": remembers,
        "run": run,
        "commits": {
            "positions": positions,
            "shas": [numbers.short_commit(commits[one].sha) for one in positions],
            "times": [commits[one].time for one in positions],
            "subjects": [commits[one].subject for one in positions],
        },
        "series": [line_data(one) for one in (view.line, *view.overlays)],
        **marks_data(view),
    }


def _range_of(zoom: tuple[int | None, int | None] | None, positions: Sequence[int]) -> tuple[int, int] | None:
    """What is asked for, as far as there are points: an open end is that of the points."""
    if zoom is None or not positions:
        return None
    first, last = zoom
    return positions[0] if first is None else first, positions[-1] if last is None else last


def marks_data(view: SeriesView) -> dict[str, Any]:
    """What is drawn besides the lines."""
    lower_is_better = view.line.name.lower_is_better
    return {
        "changes": [
            {
                "x": one.first_bad.position,
                "ratio": round(one.ratio, 4),
                "way": direction(one.ratio, lower_is_better),
            }
            for one in view.changes
        ],
        "breaks": [{"x": one.commit.position, "text": one.what} for one in view.breaks],
        "controls": _control_changes(view.line.points),
    }


def _control_changes(points: Sequence[PointView]) -> list[int]:
    """The positions from which on the control is another one; none if it follows the commits."""
    found = [
        after.commit.position
        for before, after in pairwise(points)
        if before.control != after.control and after.control
    ]
    return found if len(found) * MOST_CONTROLS <= len(points) else []


_Value = TypeVar("_Value", int, str)


def line_data(line: LineView, has_links: bool = True) -> dict[str, Any]:
    """A series in few digits, because a report has a hundred thousand points: positions and values as steps
    from the point before, the values in multiples of a quantum, the ends of the intervals and the controls
    as distances from the values.

    Args:
        has_links: with the names of the line and of its runs, which a report has elsewhere or not at all.
    """
    points = [one for one in line.points if math.isfinite(one.value)]
    middle = abs(median(one.value for one in points)) if points else 0.0
    largest = max((abs(one.value) for one in points), default=0.0)
    # In so many steps every program counts exactly; a value next to 0 has none of its own.
    smallest = largest / 2**53 or sys.float_info.min
    quantum = float(f"{max((middle or largest or 1) / RESOLUTION, smallest):.3g}")
    values = [round(one.value / quantum) for one in points]
    found: dict[str, Any] = {
        "quantum": quantum,
        "steps": _repeated(_steps([one.commit.position for one in points])),
        "values": _steps(values),
        "low": _distances([(one.value, one.low) for one in points], quantum),
        "high": _distances([(one.high, one.value) for one in points], quantum),
        "control": _distances([(one.value, _control(one)) for one in points], quantum),
        "tainted": [index for index, one in enumerate(points) if one.tainted],
        "verdicts": "".join(
            f"{times}{one}" for one, times in _repeated(VERDICTS.get(one.verdict, " ") for one in points)
        ),
    }
    if has_links:
        found["key"] = line.name.key
        found["label"] = f"{line.name.model} {line.name.where}"
        found["runs"] = [one.run for one in points]
    return found


def _control(point: PointView) -> float | None:
    return point.value / point.ratio if point.ratio else None


def _steps(values: Sequence[int]) -> list[int]:
    return [after - before for before, after in pairwise([0, *values])]


def _repeated(values: Iterable[_Value]) -> list[tuple[_Value, int]]:
    """Each value with the number of times that it follows itself."""
    return [(value, sum(1 for _ in same)) for value, same in groupby(values)]


def _distances(pairs: Iterable[tuple[float | None, float | None]], quantum: float) -> list[int | None] | None:
    """None if there are none."""
    found = [
        None
        if one is None or other is None or not math.isfinite(one - other)
        else round((one - other) / quantum)
        for one, other in pairs
    ]
    return found if any(one is not None for one in found) else None


# --- without a script ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tick:
    at: float
    label: str


@dataclass(frozen=True)
class Mark:
    x: float
    label: str
    style: str


@dataclass(frozen=True)
class Drawing:
    """The graph in the coordinates of an SVG of ``WIDTH`` x ``HEIGHT``."""

    band: str
    lines: tuple[str, ...]
    """The points of each line, its own first."""
    control: str
    tainted: tuple[tuple[float, float], ...]
    changes: tuple[Mark, ...]
    breaks: tuple[Mark, ...]
    horizontal: tuple[Tick, ...]
    vertical: tuple[Tick, ...]


def drawing(view: SeriesView) -> Drawing | None:
    """None if there are no points."""
    lines = (view.line, *view.overlays)
    scales = [_middle(one.points) if view.relative else 1.0 for one in lines]
    points = view.line.points
    shown = [
        (one.commit.position, one.value / scale)
        for line, scale in zip(lines, scales, strict=True)
        for one in line.points
        if math.isfinite(one.value)
    ]
    if not shown:
        return None
    own = scales[0]
    ends = [
        end / own for one in points for end in (one.low, one.high) if end is not None and math.isfinite(end)
    ]
    ys = [*(y for _, y in shown), *ends]
    axes = _Axes(_range([x for x, _ in shown]), _range(ys))
    band = [one for one in points if one.low is not None and one.high is not None]
    outline = [
        *((one.commit.position, (one.high or 0) / own) for one in band),
        *((one.commit.position, (one.low or 0) / own) for one in reversed(band)),
    ]
    controls = [(one.commit.position, value / own) for one in points if (value := _control(one)) is not None]
    unit = TIMES if view.relative else view.line.name.unit
    lower_is_better = view.line.name.lower_is_better
    return Drawing(
        band=axes.path(outline),
        lines=tuple(
            axes.path([(one.commit.position, one.value / scale) for one in line.points])
            for line, scale in zip(lines, scales, strict=True)
        ),
        control=axes.path(controls),
        tainted=tuple(
            (axes.x(one.commit.position), axes.y(one.value / own))
            for one in points
            if one.tainted and math.isfinite(one.value)
        ),
        changes=tuple(
            Mark(
                axes.x(one.first_bad.position),
                f"{'▲' if one.ratio > 1 else '▼'} {numbers.percent(one.ratio)}",
                direction(one.ratio, lower_is_better),
            )
            for one in view.changes
            if axes.contains(one.first_bad.position)
        ),
        breaks=tuple(
            Mark(axes.x(one.commit.position), one.what, "break")
            for one in view.breaks
            if axes.contains(one.commit.position)
        ),
        horizontal=tuple(Tick(axes.y(one), amount(one, unit)) for one in _round_values(axes.ys)),
        vertical=_days(axes, lines),
    )


@dataclass(frozen=True)
class _Axes:
    xs: tuple[float, float]
    ys: tuple[float, float]

    def x(self, value: float) -> float:
        low, high = self.xs
        return round(LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        low, high = self.ys
        return round(HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM), 1)

    def contains(self, x: float) -> bool:
        return self.xs[0] <= x <= self.xs[1]

    def path(self, points: Sequence[tuple[float, float]]) -> str:
        return " ".join(f"{self.x(x)},{self.y(y)}" for x, y in points if math.isfinite(y))


def _middle(points: Sequence[PointView]) -> float:
    return median(one.value for one in points) or 1.0 if points else 1.0


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    margin = (high - low) * 0.03 or abs(high) * 0.05 or 1.0
    return low - margin, high + margin


def _round_values(ends: tuple[float, float]) -> list[float]:
    low, high = ends
    size = 10.0 ** math.floor(math.log10((high - low) / _TICKS))
    step = next(size * one for one in (1, 2, 5, 10) if size * one * _TICKS >= high - low)
    return [step * one for one in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _days(axes: _Axes, lines: Sequence[LineView]) -> tuple[Tick, ...]:
    """The dates of some commits, where there is room for them."""
    found: list[Tick] = []
    commits = {one.commit.position: one.commit.time for line in lines for one in line.points}
    for position in sorted(commits):
        x = axes.x(position)
        if not found or x - found[-1].at > 110:
            found.append(Tick(x, unix_time.day(commits[position])))
    return tuple(found)


# --- in a table ---------------------------------------------------------------------------------------------

SPARK_WIDTH, SPARK_HEIGHT = 160, 24
SPARK_POINTS = 60
SMALLEST_SPAN = 0.08
"""Of its axis, relative to the values: what is noise looks like noise."""


@dataclass(frozen=True)
class Spark:
    """A small drawing of ``SPARK_WIDTH`` x ``SPARK_HEIGHT``."""

    path: str


def spark(values: Sequence[float]) -> Spark | None:
    """Each of its points is the median of neighbours; None if there is nothing to draw."""
    finite = [one for one in values if math.isfinite(one)]
    if not finite:
        return None
    count = min(len(finite), SPARK_POINTS)
    edges = [len(finite) * one // count for one in range(count + 1)]
    medians = [median(finite[first:end]) for first, end in pairwise(edges)]
    low, high = min(medians), max(medians)
    margin = max(0.0, (abs(median(medians)) * SMALLEST_SPAN - (high - low)) / 2)
    low, high = _range((low - margin, high + margin))
    step = SPARK_WIDTH / max(count - 1, 1)
    return Spark(
        " ".join(
            f"{x * step:.0f},{SPARK_HEIGHT - (one - low) / (high - low) * SPARK_HEIGHT:.1f}"
            for x, one in enumerate(medians)
        )
    )
