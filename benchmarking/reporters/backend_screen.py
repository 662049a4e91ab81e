"""The table of backends on a screen."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from benchmarking.plain_text import plain
from benchmarking.reporters import backend_table, numbers
from benchmarking.reporters.backend_table import BackendTable, Entry, Row
from benchmarking.results import BackendCell, Comparison, Result

LONG_NAME = 16
_COLUMNS = {"p50": 7, "ratio": 18, "max error": 9, "relative": 8, "on backend": 10}
"""With the widths of what is usual."""
_FASTER, _SLOWER, _WRONG = "green", "yellow", "bold red"


def result_lines(result: Result) -> Iterator[Text]:
    """What is to be said below one test on one backend."""
    cell = result.meta.cell
    if cell is None:
        return
    if cell.comparison is not None:
        text = f"{backend_table.ratio(cell.comparison)} the delay of {cell.reference}"
        interval = cell.comparison.ratio_interval
        text += f", {numbers.blocks(cell.blocks)}"
        text += f" ({numbers.confidence(interval)} interval)" if interval else ""
        yield Text(plain(text))
    if cell.errors and cell.answer_of == cell.reference:
        text = f"its answer is {_distance(cell)} {cell.reference}'s"
        yield Text(plain(text), _WRONG if cell.wrong else "dim")
    if cell.not_compared:
        yield Text(plain(f"answer not checked: {cell.not_compared}"), "yellow")


def _distance(cell: BackendCell) -> str:
    """``at most 1e-05 (1.1e-05 relative) from``."""
    if cell.max_absolute_error == 0:
        return "exactly"
    return f"at most {_errors(cell.max_absolute_error)} ({_errors(cell.max_relative_error)} relative) from"


def _errors(value: float | None) -> str:
    return "" if value is None else numbers.error(value)


def blocks_of(table: BackendTable) -> Iterator[Table | Text]:
    """What is printed one below the other."""
    title = f"backends on {table.device}: ratio to {table.reference}, below 1 is faster"
    yield Text(plain(title), "bold")
    if sum(row.meta.metric == "delay" for row in table.rows) > 1:
        yield _ratios(table)
    for row in table.rows:
        yield Text()
        name = _test_name(row.name, row.shapes)
        yield name.append("  against golden outputs", "dim") if row.meta.metric == "error" else name
        yield _details(table, row)
    if table.unavailable:
        yield Text()
        yield Text("not available here", "bold")
        yield _reasons(table)


def _ratios(table: BackendTable) -> Table:
    """Models x backends: of the reference the delay, of the others how much longer they take."""
    grid = _grid()
    grid.add_column("test", overflow="fold")
    for name in table.backends:
        grid.add_column(plain(name), justify="right", no_wrap=True)
    for row in table.rows:
        if row.meta.metric == "delay":
            cells = [_ratio_cell(row.entries.get(name)) for name in table.backends]
            grid.add_row(_test_name(f"{row.meta.net_name} {row.meta.identifier}", row.shapes), *cells)
    means = [table.mean_ratio(name) for name in table.backends]
    if any(one is not None for one in means):
        cells = [Text(backend_table.factor(one) if one is not None else "") for one in means]
        grid.add_row(Text("geometric mean", "bold"), *cells)
    return grid


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
        return Text(backend_table.factor(entry.ratio.ratio), _style(entry.ratio))
    return Text(numbers.duration(entry.summary.p50) if entry.summary else "")


def _style(comparison: Comparison) -> str:
    """Of what is clear only: the interval lies on one side of 1."""
    interval = comparison.ratio_interval
    if interval is None:
        return ""
    return _FASTER if interval.high < 1 else _SLOWER if interval.low > 1 else ""


def _details(table: BackendTable, row: Row) -> Table:
    """The columns of all tests lie below each other."""
    grid = _grid()
    names = [f"  {plain(name)}" for name in table.backends]
    grid.add_column("  backend", overflow="fold", min_width=min(max(map(len, names)), LONG_NAME))
    for column, width in _COLUMNS.items():
        grid.add_column(column, justify="right", no_wrap=True, min_width=width)
    for name, shown in zip(table.backends, names, strict=True):
        if name in row.entries:
            grid.add_row(shown, *_detail_cells(row.entries[name]))
    return grid


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
        ratio,
        Text(_errors(cell.max_absolute_error), bad),
        Text(_errors(cell.max_relative_error), bad),
        Text(backend_table.share(entry.result.meta)),
    ]


def _reasons(table: BackendTable) -> Table:
    grid = _grid(show_header=False)
    for _ in range(2):
        grid.add_column("", overflow="fold")
    for name, reason in table.unavailable.items():
        grid.add_row(f"  {plain(name)}", Text(plain(reason), "dim"))
    return grid


def _grid(*, show_header: bool = True) -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=show_header, header_style="dim")
