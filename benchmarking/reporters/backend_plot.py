"""The table of backends as a heat map."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

from benchmarking.errors import ReporterError
from benchmarking.reporters import backend_table, numbers
from benchmarking.reporters.backend_table import BackendTable, Entry, Row
from benchmarking.reporters.file_reporter import FileReporter
from benchmarking.reporters.reporter_base import RunSummary
from benchmarking.results.plain_text import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ColourOf = Callable[[float], tuple[float, float, float]]
"""The colours for ratios, as red, green and blue."""

MAXIMUM_ROWS = 150
"""The limit on rows of one picture: 150 inches."""
CELL_WIDTH_INCHES, CELL_HEIGHT_INCHES = 1.5, 1.05
CHARACTER_INCHES = 0.085
MARGIN_INCHES = 1.3
"""The rows of each table for its title and the names of the backends."""
COLOURS = "RdBu_r"
"""Blue is faster than the reference, white is equally fast, red is slower; also distinguishable for
colour-blind people.
"""
LEAST_SPREAD, GREATEST_SPREAD = 2.0, 8.0
"""The darkest colour belongs to the largest ratio, within these limits."""
_GREY, _WRONG = "0.88", "#b2182b"


class BackendPlotReporter(FileReporter):
    name: ClassVar[str] = "plot"
    content_name: ClassVar[str] = "heat map"

    def _content(self, summary: RunSummary | None) -> bytes | None:
        tables = backend_table.tables(self._results)
        rows = sum(len(table.rows) for table in tables)
        if not tables and summary is None:
            return None
        if not tables:
            raise ReporterError("there is nothing to draw: no test ran on several backends")
        if rows > MAXIMUM_ROWS:
            raise ReporterError(f"{rows} tests are too many for a picture; the limit is {MAXIMUM_ROWS}")
        return drawn(tables, self._file.suffix.lower().removeprefix("."))


def drawn(tables: Sequence[BackendTable], kind: str) -> bytes:
    """The tables, one below another, as ``svg`` or ``png``."""
    # Not pyplot, which would search for a display and keep the figure.
    from matplotlib import rc_context
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    columns = max(len(_columns(table)) for table in tables)
    labels = max(len(line) for table in tables for row in table.rows for line in _label(row).split("\n"))
    heights = [len(table.rows) * CELL_HEIGHT_INCHES + MARGIN_INCHES for table in tables]
    width = columns * CELL_WIDTH_INCHES + labels * CHARACTER_INCHES + MARGIN_INCHES
    figure = Figure(figsize=(width, sum(heights)), layout="constrained")
    limit = math.log2(_spread(tables))
    scale, colour_of = ScalarMappable(Normalize(-limit, limit), COLOURS), colours(limit)
    grid = figure.subplots(len(tables), squeeze=False, gridspec_kw={"height_ratios": heights})
    for axes, table in zip(grid.flat, tables, strict=True):
        _draw_table(axes, table, colour_of)
        ticks = [-limit, -limit / 2, 0, limit / 2, limit]
        bar = figure.colorbar(scale, ax=axes, ticks=ticks, shrink=0.8, pad=0.02, aspect=30)
        bar.ax.set_yticklabels([backend_table.factor(2**one) for one in ticks], fontsize="small")
    content = io.BytesIO()
    # No date and no random identifiers: the same results give the same file.
    with (
        rc_context({"svg.hashsalt": "backends", "svg.fonttype": "none"}),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings(
            "ignore", "Glyph"
        )  # about names with characters that the font lacks: it draws boxes for them
        figure.savefig(content, format=kind, metadata={"Date": None} if kind == "svg" else None)
    return content.getvalue()


def colours(limit: float) -> ColourOf:
    """Colours from 2 ** -limit to 2 ** limit; values beyond get the last colour."""
    from matplotlib import colormaps

    def colour_of(ratio: float) -> tuple[float, float, float]:
        red, green, blue, _ = colormaps[COLOURS]((math.log2(ratio) / limit + 1) / 2)
        return red, green, blue

    return colour_of


def _spread(tables: Sequence[BackendTable]) -> float:
    entries = [entry for table in tables for row in table.rows for entry in row.entries.values()]
    ratios = [entry.ratio.ratio for entry in entries if entry.ratio]
    greatest = max((max(one, 1 / one) for one in ratios), default=LEAST_SPREAD)
    return min(max(greatest, LEAST_SPREAD), GREATEST_SPREAD)


def _columns(table: BackendTable) -> list[str]:
    return [*table.backends, *(name for name in table.unavailable if name not in table.backends)]


def _label(row: Row) -> str:
    return plain(row.test.name) + "\n" + plain(row.shapes)


def _draw_table(axes: Axes, table: BackendTable, colour_of: ColourOf) -> None:
    columns = _columns(table)
    axes.set_xlim(0, len(columns))
    axes.set_ylim(len(table.rows), 0)
    # Two lines, because above two columns a single line would be wider than the picture.
    title = (f"delay on {table.device}", f"ratio to {table.reference}, below 1 is faster")
    axes.set_title("\n".join(map(plain, title)), fontsize="medium", loc="left", parse_math=False)
    axes.xaxis.tick_top()
    axes.set_xticks(
        [index + 0.5 for index in range(len(columns))],
        [plain(name) for name in columns],
        parse_math=False,
    )
    axes.set_yticks(
        [index + 0.5 for index in range(len(table.rows))],
        [_label(row) for row in table.rows],
        fontsize="small",
        parse_math=False,
    )
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for index, row in enumerate(table.rows):
        for column, name in enumerate(columns):
            entry = row.entries.get(name)
            if entry is None:
                _fill(axes, column, index, _GREY, "////")
                _write(axes, column, index, ["not available"], "0.35")
            else:
                _draw_entry(axes, column, index, entry, colour_of)


def _draw_entry(axes: Axes, column: int, row: int, entry: Entry, colour_of: ColourOf) -> None:
    if entry.state == "wrong":
        _fill(axes, column, row, "white", "", edge=_WRONG)
        _write(axes, column, row, ["WRONG", *_details(entry)], _WRONG)
        return
    if entry.state != "measured":
        _fill(axes, column, row, _GREY, "xxxx")
        _write(axes, column, row, [entry.state], _WRONG)
        return
    colour: tuple[float, ...] = (1.0, 1.0, 1.0)
    text = "black"
    first = ["reference"] if entry.is_reference and entry.summary else []
    if entry.ratio is not None:
        red, green, blue = colour_of(entry.ratio.ratio)
        colour, first = (red, green, blue), [backend_table.factor(entry.ratio.ratio)]
        text = "white" if 0.3 * red + 0.59 * green + 0.11 * blue < 0.5 else "black"
    _fill(axes, column, row, colour, "")
    _write(axes, column, row, [*first, *_details(entry)], text)


def _details(entry: Entry) -> list[str]:
    interval = entry.ratio.ratio_interval if entry.ratio else None
    error, share = entry.cell.max_absolute_error, backend_table.share(entry.result)
    return [
        *([backend_table.interval(interval)] if interval else []),
        *([numbers.duration(entry.summary.p50)] if entry.summary else []),
        *([entry.precision] if entry.cell.less_precise_than else []),
        *([f"error {numbers.error(error)}"] if error is not None else []),
        *([f"{share} operators"] if share else []),
    ]


def _fill(
    axes: Axes, column: int, row: int, colour: tuple[float, ...] | str, hatch: str, edge: str = ""
) -> None:
    from matplotlib.patches import Rectangle

    inset = 0.03
    axes.add_patch(
        Rectangle(
            (column + inset, row + inset),
            1 - 2 * inset,
            1 - 2 * inset,
            facecolor=colour,
            edgecolor=edge or ("0.75" if hatch else "0.6"),
            hatch=hatch,
            linewidth=2.5 if edge else 0.6,
        )
    )


def _write(axes: Axes, column: int, row: int, lines: Sequence[str], colour: str) -> None:
    """The first line is the important one."""
    step = 0.18
    top = 0.5 - step * (len(lines) - 1) / 2
    for number, line in enumerate(lines):
        axes.text(
            column + 0.5,
            row + top + number * step,
            plain(line),
            ha="center",
            va="center",
            fontsize="medium" if number == 0 else "x-small",
            fontweight="bold" if number == 0 else "normal",
            color=colour,
            parse_math=False,
        )
