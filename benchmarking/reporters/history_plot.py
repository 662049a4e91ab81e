"""The history as a picture."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarking.errors import UsageError
from benchmarking.files import atomic_file
from benchmarking.records.series import Series
from benchmarking.reporters import numbers
from benchmarking.reporters.screen_table import shortened
from benchmarking.results import unix_time
from benchmarking.results.plain_text import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAXIMUM_SERIES = 50
"""The limit on series in one picture: 125 inches."""
COMMIT_WIDTH = 16
"""In characters: the name of a build is shortened to its beginning and its end, which distinguish builds."""
WIDTH_INCHES, HEIGHT_INCHES = 10.0, 2.5


def draw(series: Sequence[Series], path: Path) -> None:
    """Draws the series one below another: a dot per commit, a line per level, a vertical line at each change.

    Args:
        path: ends in ``.svg`` or ``.png``.

    Raises:
        UsageError: they are too many for a picture.
        OSError: it cannot be written.
    """
    # Not pyplot, which would search for a display and keep the figure.
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    if len(series) > MAXIMUM_SERIES:
        raise UsageError(
            f"--plot: {len(series)} series are too many for a picture; the limit is {MAXIMUM_SERIES}: "
            "choose some with --net, --identifier or --type"
        )
    figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES * len(series)), layout="constrained")
    for axes, one in zip(figure.subplots(len(series), squeeze=False).flat, series, strict=True):
        _draw_series(axes, one)
    kind = path.suffix.lower().removeprefix(".")
    # No date and no random identifiers: the same results give the same file.
    with (
        rc_context({"svg.hashsalt": "history", "svg.fonttype": "none"}),
        atomic_file.writing(path) as stream,
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings(
            "ignore", "Glyph"
        )  # about names with characters that the font lacks: it draws boxes for them
        figure.savefig(stream, format=kind, metadata={"Date": None} if kind == "svg" else None)


def _draw_series(axes: Axes, series: Series) -> None:
    key, levels = series.key, series.levels
    title = plain(f"{key.test.name} {key.type} on {key.platform}")
    axes.set_title(title, fontsize="medium", loc="left", parse_math=False)
    scale, unit = (1.0, "treatment/control") if levels.is_ratio else (1.0, plain(series.unit) or "max error")
    if unit == "us":
        scale, unit = 1e-3, "ms"
    axes.set_ylabel(unit)
    values = [value * scale for value in levels.values]
    tainted = [bool(one.tainted) for one in levels.points]
    for is_tainted, colour in ((False, "tab:blue"), (True, "lightgrey")):
        chosen = [index for index, one in enumerate(tainted) if one is is_tainted]
        axes.plot(chosen, [values[index] for index in chosen], ".", color=colour, markersize=4)
    edges = [0, *(one.index for one in series.changes), len(values)]
    for first, end in itertools.pairwise(edges):
        _draw_level(axes, values, first, end)
    for one in series.changes:
        axes.axvline(one.index - 0.5, color="tab:red" if one.after > one.before else "tab:green")
    for creep in series.creeps:
        axes.axvspan(creep.last_good, creep.first_bad, color="tab:orange", alpha=0.2)
    ticks = sorted({round(one * (len(values) - 1) / 5) for one in range(6)}) if values else []
    axes.set_xticks(ticks, [_tick(series, one) for one in ticks], fontsize="small")


def _draw_level(axes: Axes, values: Sequence[float], first: int, end: int) -> None:
    from statistics import median

    if end > first:
        level = median(values[first:end])
        axes.plot([first - 0.5, end - 0.5], [level, level], color="black", linewidth=1)


def _tick(series: Series, index: int) -> str:
    point = series.levels.points[index]
    commit = shortened(plain(numbers.short_commit(point.commit)), COMMIT_WIDTH)
    return f"{unix_time.day(point.commit_time)}\n{commit}"
