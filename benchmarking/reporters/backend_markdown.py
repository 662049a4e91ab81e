"""The table of backends in Markdown."""

from __future__ import annotations

from collections.abc import Callable

from benchmarking.reporters import backend_table, numbers
from benchmarking.reporters.backend_table import BackendTable, Entry, Row

Escape = Callable[[str], str]


def parts(table: BackendTable, escape: Escape) -> list[str]:
    """The paragraphs: a title, the table of models and backends, and the unavailable backends."""
    from tabulate import tabulate

    title = (
        f"**Backends on {escape(table.device)}**, {numbers.counted(table.blocks, 'block')}: median, ratio to "
    )
    title += f"{escape(table.reference)} (below 1 is faster) with its interval, precision, load time, first "
    title += "inference, peak memory, largest error (relative), operators on the backend"
    rows = [[_test(row, escape), *_cells(table, row, escape)] for row in table.rows]
    means = [table.mean_ratio(name) for name in table.backends]
    if any(one is not None for one in means):
        rows.append(
            ["geometric mean", *(backend_table.factor(one) if one is not None else "" for one in means)]
        )
    columns = ["test", *map(escape, table.backends)]
    grid = tabulate(rows, columns, tablefmt="pipe", disable_numparse=True)
    gone = [
        f"- {escape(name)} is not available: {escape(reason)}" for name, reason in table.unavailable.items()
    ]
    return [title, grid, *(["\n".join(gone)] if gone else [])]


def _test(row: Row, escape: Escape) -> str:
    return f"{escape(row.test.name)}<br>{escape(row.shapes)}"


def _cells(table: BackendTable, row: Row, escape: Escape) -> list[str]:
    return [_cell(row.entries[name], escape) if name in row.entries else "" for name in table.backends]


def _cell(entry: Entry, escape: Escape) -> str:
    cell = entry.cell
    lines = [f"**{entry.state}**"] if entry.state != "measured" else []
    if entry.summary is not None:
        lines.append(numbers.duration(entry.summary.p50))
        lines.append(f"p90 {numbers.duration(entry.summary.p90)}")
    if entry.ratio is not None:
        lines.append(escape(backend_table.ratio(entry.ratio)))
    if cell.less_precise_than:
        lines.append(f"**{escape(entry.precision)}**")
    elif entry.precision:
        lines.append(escape(entry.precision))
    for what, time_us in (("load", entry.load_us), ("first", entry.first_us)):
        if time_us is not None:
            lines.append(f"{what} {numbers.duration(time_us)}")
    if entry.peak_bytes is not None:
        lines.append(f"peak {numbers.memory(entry.peak_bytes)}")
    if cell.max_absolute_error is not None and cell.max_relative_error is not None:
        absolute, relative = numbers.error(cell.max_absolute_error), numbers.error(cell.max_relative_error)
        lines.append(f"error {absolute} ({relative})")
    if cell.not_compared:
        lines.append("output not checked")
    if share := backend_table.share(entry.result):
        lines.append(share)
    return "<br>".join(lines)
