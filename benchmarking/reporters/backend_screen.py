"""The table of backends on a screen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from benchmarking.reporters import backend_table, numbers
from benchmarking.reporters.backend_table import BackendTable, Entry, Row
from benchmarking.reporters.screen_table import ALWAYS, GAP, Column, fitted, texts
from benchmarking.results.model import BackendCell, Comparison, Result
from benchmarking.results.plain_text import plain
from benchmarking.results.precision import PRECISION

LONG_NAME = 16
WIDEST_TEST = 32
"""The width of a test's name next to the ratios; a longer name is folded."""
_COLUMNS = {
    "p50": (7, ALWAYS),
    "p90": (7, 4),
    "ratio": (18, ALWAYS),
    "load": (7, 6),
    "first": (7, 5),
    "memory": (8, 3),
    "max error": (9, 8),
    "relative": (8, 1),
    "precision": (9, 9),
    "on backend": (10, 7),
}
"""The columns with their usual widths and importance."""
_USUAL = ("p50", "ratio", "max error", "relative", "on backend")
"""These columns keep their places even where a test has nothing in them; each of the others is shown for all
tests or for none."""
_FASTER, _SLOWER, _WRONG = "green", "yellow", "bold red"
_COARSE = "yellow"
"""The colour of a program that computes in less precision than another one."""


def result_lines(result: Result) -> Iterator[Text]:
    """The lines below one test on one backend."""
    cell = result.cell
    if cell is None:
        return
    if cell.comparison is not None:
        text = f"{backend_table.ratio(cell.comparison)} the delay of {cell.reference}"
        interval = cell.comparison.ratio_interval
        text += f", {numbers.counted(cell.blocks, 'block')}"
        text += f" ({numbers.confidence(interval)} interval)" if interval else ""
        yield Text(plain(text))
    if cell.errors and cell.answer_of == cell.reference:
        text = f"its output is {_distance(cell)} {cell.reference}'s"
        yield Text(plain(text), _WRONG if cell.wrong else "dim")
    if cell.less_precise_than:
        computes_in = result.program.facts.get(PRECISION)
        yield Text(plain(f"computes in {computes_in}, less precise than {cell.less_precise_than}"), _COARSE)
    if cell.not_compared:
        yield Text(plain(f"output not checked: {cell.not_compared}"), "yellow")


def _distance(cell: BackendCell) -> str:
    """``at most 1e-05 (1.1e-05 relative) from``."""
    if cell.max_absolute_error == 0:
        return "exactly"
    return f"at most {_errors(cell.max_absolute_error)} ({_errors(cell.max_relative_error)} relative) from"


def _errors(value: float | None) -> str:
    return "" if value is None else numbers.error(value)


def blocks_of(table: BackendTable, width: int) -> Iterator[Table | Text]:
    """The blocks that are printed one below another."""
    title = f"backends on {table.device}: ratio to {table.reference}, below 1 is faster"
    yield Text(plain(title), "bold")
    if sum(row.test.metric == "delay" for row in table.rows) > 1:
        yield from _ratios(table, width)
    for row in table.rows:
        yield Text()
        name = _test_name(row.test.name, row.shapes)
        yield name.append("  against golden outputs", "dim") if row.test.metric == "error" else name
        yield _details(table, row, width)
        for line in row.how:
            yield Text(plain(f"  {line}"), "dim")
    if table.unavailable:
        yield Text()
        yield Text("not available here", "bold")
        yield _reasons(table, width)


def _ratios(table: BackendTable, width: int) -> Iterator[Table]:
    """Models and backends: the delay of the reference, and the ratios of the others.

    Backends without enough room continue in another table below.
    """
    rows = [row for row in table.rows if row.test.metric == "delay"]
    tests = [_test_name(f"{row.test.net} {row.test.identifier}", row.shapes) for row in rows]
    columns = []
    for name in table.backends:
        mean = table.mean_ratio(name)
        cells = [_ratio_cell(row.entries.get(name)) for row in rows]
        cells.append(Text(backend_table.factor(mean) if mean is not None else ""))
        columns.append(Column(plain(name), tuple(cells), is_name=True, right=True))
    names = Column("test", (*tests, Text("geometric mean", "bold")), is_name=True, folds=True)
    for some in _beside_each_other(columns, width - min(names.width, WIDEST_TEST)):
        shown = [names, *some]
        if not any(one.cells[-1].plain for one in some):  # there are no means
            shown = [replace(one, cells=one.cells[:-1]) for one in shown]
        yield fitted(shown, width)


def _beside_each_other(columns: Sequence[Column], room: int) -> Iterator[list[Column]]:
    """As many columns at a time as fit, and at least one."""
    some: list[Column] = []
    for column in columns:
        if some and sum(one.width + GAP for one in (*some, column)) > room:
            yield some
            some = []
        some.append(column)
    if some:
        yield some


def _test_name(name: str, shapes: str) -> Text:
    text = Text(plain(name))
    text.append(f"  {plain(shapes)}", "dim")
    return text


def _ratio_cell(entry: Entry | None) -> Text:
    if entry is None:
        return Text()
    if entry.state != "measured":
        return Text(entry.state, _WRONG)
    if entry.ratio is not None:
        text = Text(backend_table.factor(entry.ratio.ratio), _style(entry.ratio))
        return text.append(f" {entry.precision}", _COARSE) if entry.cell.less_precise_than else text
    return Text(numbers.duration(entry.summary.p50) if entry.summary else "")


def _style(comparison: Comparison) -> str:
    """Only for clear differences: the interval is entirely on one side of 1."""
    interval = comparison.ratio_interval
    if interval is None:
        return ""
    return _FASTER if interval.high < 1 else _SLOWER if interval.low > 1 else ""


def _details(table: BackendTable, row: Row, width: int) -> Table:
    """The columns of all tests are aligned."""
    shown = [name for name in table.backends if name in row.entries]
    cells = [_detail_cells(row.entries[name]) for name in shown]
    filled = _filled(table)
    least = max(cell_len(f"  {plain(name)}"[:LONG_NAME]) for name in table.backends)
    names = texts([f"  {plain(name)}" for name in shown])
    columns = [Column("  backend".ljust(least), names, is_name=True)]
    for index, (title, (usual_width, matters)) in enumerate(_COLUMNS.items()):
        own = tuple(line[index] for line in cells)
        keeps_place = title in _USUAL or title in filled
        columns.append(Column(title.rjust(usual_width), own, matters, keeps_place=keeps_place))
    return fitted(columns, width)


def _filled(table: BackendTable) -> set[str]:
    """The columns in which any test has something."""
    lines = [_detail_cells(entry) for row in table.rows for entry in row.entries.values()]
    return {title for index, title in enumerate(_COLUMNS) if any(line[index].plain for line in lines)}


def _detail_cells(entry: Entry) -> list[Text]:
    cell, failure = entry.cell, entry.result.failure
    bad = _WRONG if entry.state == "wrong" else ""
    is_reference = entry.is_reference and entry.summary is not None
    ratio = Text("reference" if is_reference else "", "dim")
    if failure is not None:
        ratio = Text(entry.state, _WRONG)
    elif cell.comparison is not None:
        ratio = Text(backend_table.ratio(cell.comparison), _style(cell.comparison))
    return [
        Text(numbers.duration(entry.summary.p50) if entry.summary else "", bad),
        Text(numbers.duration(entry.summary.p90) if entry.summary else "", bad),
        ratio,
        Text(numbers.duration(entry.load_us) if entry.load_us is not None else ""),
        Text(numbers.duration(entry.first_us) if entry.first_us is not None else ""),
        Text(numbers.memory(entry.peak_bytes) if entry.peak_bytes is not None else ""),
        Text(_errors(cell.max_absolute_error), bad),
        Text(_errors(cell.max_relative_error), bad),
        Text(entry.precision, _COARSE if cell.less_precise_than else ""),
        Text(backend_table.share(entry.result)),
    ]


def _reasons(table: BackendTable, width: int) -> Table:
    names = texts([f"  {plain(name)}" for name in table.unavailable])
    reasons = texts([plain(reason) for reason in table.unavailable.values()], "dim")
    return fitted(
        [
            Column("", names, is_name=True),
            Column("", reasons, is_name=True, folds=True),
        ],
        width,
        show_header=False,
    )
