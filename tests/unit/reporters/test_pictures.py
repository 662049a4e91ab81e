"""What is drawn and where, before matplotlib turns it into dots."""

from dataclasses import replace

import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FuncFormatter

from benchmarking.records.series import Point, Series, SeriesKey
from benchmarking.reporters import backend_plot, backend_table, history_plot
from benchmarking.results.model import TestKey
from tests.support import golden
from tests.support.histories import levels
from tests.support.sample_results import RUNS, on_backends, on_device


def rounded(values):
    return [round(float(one), 3) for one in values]


def described(figure):
    yield f"{rounded(figure.get_size_inches())} inches"
    for axes in figure.axes:
        yield f"axes {axes.get_title(loc='left')!r} {axes.get_ylabel()!r}"
        yield f"  from {rounded(axes.get_xlim())} to {rounded(axes.get_ylim())}"
        for name, axis in (("x", axes.xaxis), ("y", axes.yaxis)):
            labels = [one.get_text() for one in axis.get_ticklabels()]
            if any(labels) and isinstance(axis.get_major_formatter(), FixedFormatter | FuncFormatter):
                yield f"  {name} {list(zip(rounded(axis.get_ticklocs()), labels, strict=True))}"
        for one in axes.patches:
            place = rounded((one.get_x(), one.get_y(), one.get_width(), one.get_height()))
            colours = to_hex(one.get_facecolor()), to_hex(one.get_edgecolor())
            yield f"  patch {place} {' '.join(colours)} {one.get_hatch()} {one.get_linewidth()} {one.get_alpha()}"
        for one in axes.lines:
            ends = rounded(one.get_xdata()), rounded(one.get_ydata())
            yield f"  line {ends} {to_hex(one.get_color())} {one.get_linestyle()} {one.get_marker()}"
        for one in axes.texts:
            place = rounded(one.get_position())
            style = one.get_fontweight(), one.get_fontsize(), one.get_horizontalalignment()
            yield f"  text {place} {one.get_text()!r} {to_hex(one.get_color())} {style}"
        words = [*axes.texts, *axes.xaxis.get_ticklabels(), *axes.yaxis.get_ticklabels()]
        yield f"  parsed as mathematics: {any(one.get_parse_math() for one in words if one.get_text())}"
        yield f"  lines around it: {[name for name, one in axes.spines.items() if one.get_visible()]}"


@pytest.fixture
def figures(monkeypatch):
    """Those that were to be saved, as text, with how."""
    found = []

    def save(figure, target, **how):
        found.append("\n".join([str(how), *described(figure)]) + "\n")

    monkeypatch.setattr(Figure, "savefig", save)
    return found


def test_the_table_of_backends(figures):
    elsewhere = [on_device(one, "phone", "feed") for one in on_backends("delay-0", 2.0)]
    tables = backend_table.tables([*RUNS["backends"][0], *elsewhere])
    backend_plot.drawn(tables, "svg")
    golden.check(figures[0], "pictures/backends.txt")


def test_frameworks_and_precisions(figures):
    backend_plot.drawn(backend_table.tables(RUNS["frameworks"][0]), "png")
    golden.check(figures[0], "pictures/frameworks.txt")


@pytest.mark.parametrize(
    ("ratios", "spread"), [((), 2), ((1.5, 0.9), 2), ((1.5, 0.2), 5), ((3.0,), 3), ((9.0,), 8)]
)
def test_the_darkest_colour_belongs_to_the_largest_ratio_within_limits(ratios, spread):
    (table,) = backend_table.tables(RUNS["backends"][0])
    (entry,) = [one for one in table.rows[0].entries.values() if one.ratio and one.ratio.ratio == 1.24]
    entries = {str(one): replace(entry, cell=replaced(entry.cell, one)) for one in ratios}
    only = replace(table, rows=(replace(table.rows[0], entries=entries),))
    assert backend_plot._spread([only]) == pytest.approx(spread)


def replaced(cell, ratio):
    return replace(cell, comparison=replace(cell.comparison, ratio=ratio))


def test_the_history(figures, tmp_path):
    """A series with a change, one that creeps, one of ratios with tainted points, and one of a single commit."""

    def series(name, values, unit="us"):
        points = [Point(f"{n:040x}", 1_750_000_000 + 86_400 * n, value) for n, value in enumerate(values)]
        points[3:4] = [replace(one, tainted=("busy",)) for one in points[3:4]]
        key = SeriesKey(TestKey(name, "delay", "0", "caffe2", None, "device"), "NET_DELAY", "host")
        return Series(key, unit, tuple(points))

    creeping = [value * 1.002**n for n, value in enumerate(levels(1000.0, runs=60, scatter=0.001))]
    history_plot.draw(
        [
            series("step", levels(1000.0, 1100.0, 1000.0, runs=12)),
            series("creep", creeping),
            series("error", levels(0.5, runs=4), unit=""),
            series("one", [5.0], unit="mJ"),
        ],
        tmp_path / "history.svg",
    )
    golden.check(figures[0], "pictures/history.txt")
