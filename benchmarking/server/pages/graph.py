"""The graph of a series: as numbers for the script, and as lines for pages without a script."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from benchmarking.reporters import numbers
from benchmarking.results import unix_time
from benchmarking.server.pages.rendering import amount, direction
from benchmarking.server.pages.views import LineView, PointView, SeriesView

STEPS_PER_MEDIAN = 10_000
"""The values are sent with a resolution of 0.01 % of their median."""
WIDTH, HEIGHT = 1000, 320
LEFT, RIGHT, TOP, BOTTOM = 84, 12, 10, 26
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
        "range": view.zoom,
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
        "controls": [
            after.commit.position
            for before, after in pairwise(view.line.points)
            if before.control != after.control and after.control
        ],
    }


def line_data(line: LineView, has_runs: bool = True) -> dict[str, Any]:
    """A series in few digits: the values as multiples of a quantum, the ends of the intervals and the
    controls as distances from the values.
    """
    points = line.points
    finite = [abs(one.value) for one in points if math.isfinite(one.value)]
    middle = median(finite) if finite else 0.0
    quantum = float(f"{(middle or max(finite, default=1.0) or 1.0) / STEPS_PER_MEDIAN:.3g}")
    found: dict[str, Any] = {
        "label": f"{line.name.model} {line.name.where}",
        "quantum": quantum,
        "steps": [
            after - before for before, after in pairwise([0, *(one.commit.position for one in points)])
        ],
        "values": [_steps(one.value, quantum) for one in points],
        "low": _distances([(one.value, one.low) for one in points], quantum),
        "high": _distances([(one.high, one.value) for one in points], quantum),
        "control": _distances([(one.value, _control(one)) for one in points], quantum),
        "tainted": [index for index, one in enumerate(points) if one.tainted],
        "verdicts": {
            index: one.verdict for index, one in enumerate(points) if one.verdict not in ("", "unchanged")
        },
    }
    if has_runs:
        found["runs"] = [one.run for one in points]
    return found


def _control(point: PointView) -> float | None:
    return point.value / point.ratio if point.ratio else None


def _steps(value: float | None, quantum: float) -> int | None:
    return None if value is None or not math.isfinite(value) else round(value / quantum)


def _distances(pairs: Iterable[tuple[float | None, float | None]], quantum: float) -> list[int | None] | None:
    """None if there are none."""
    found = [None if one is None or other is None else _steps(one - other, quantum) for one, other in pairs]
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
