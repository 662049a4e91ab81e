"""A comparison of saved runs: for people as a table or Markdown, for programs as JSON or JUnit XML."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from benchmarking.errors import ExitStatus
from benchmarking.records.comparison import Evidence, Finding
from benchmarking.records.saved_comparison import RATIO, Row, SavedComparison
from benchmarking.reporters import numbers
from benchmarking.reporters.markdown_reporter import escape
from benchmarking.results import documents
from benchmarking.results.model import NET_DELAY
from benchmarking.results.plain_text import plain
from benchmarking.terminal.console import PlainConsole, borderless_table, rendered

_STYLES = {Finding.SLOWER: "bold red", Finding.FASTER: "green", Finding.UNKNOWN: "yellow"}
ADVICE = (
    "By scatter: the change is larger than runs of the series usually differ. Whatever else changed between "
    "the two runs, such as the machine, has the same effect; an A/B run of the two decides."
)


def show(comparison: SavedComparison, width: int | None) -> str:
    return rendered(PlainConsole(width=width), *_parts(comparison))


def _parts(comparison: SavedComparison) -> list[RenderableType]:
    parts: list[RenderableType] = [
        Text(_heading(comparison), "bold"),
        Text(_common(comparison), "dim"),
        Text(),
    ]
    for finding in Finding:
        rows = [row for row in comparison.rows if row.judgement.finding is finding]
        if rows:
            parts += [
                Text(f"{finding}: {len(rows)}", _STYLES.get(finding, "")),
                _table(comparison, rows),
                Text(),
            ]
    return [*parts, *(Text(line) for line in _closing(comparison))]


def _table(comparison: SavedComparison, rows: Sequence[Row]) -> Table:
    table = borderless_table()
    table.add_column("  test", overflow="fold")
    for column in ("base", "head", "change"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("interval", no_wrap=True)
    table.add_column("evidence", no_wrap=True)
    for row in rows:
        table.add_row(f"  {plain(_name(comparison, row))}", *_cells(row))
    return table


def _cells(row: Row) -> list[str]:
    judgement = row.judgement
    return [
        _value(row, row.base),
        _value(row, row.head),
        numbers.percent(judgement.ratio) if judgement.ratio else "",
        numbers.percent_interval(judgement.interval) if judgement.interval else "",
        f"{judgement.evidence}{', tainted' if row.tainted else ''}",
    ]


def _value(row: Row, value: float) -> str:
    if row.unit == RATIO:
        return f"{value:.3f}"
    return numbers.duration(value) if row.unit == "us" else f"{value:.4g} {plain(row.unit)}".rstrip()


def _heading(comparison: SavedComparison) -> str:
    base, head = (plain(numbers.short_commit(name)) for name in (comparison.base, comparison.head))
    return f"{head} compared with {base}: {len(comparison.rows)} series that both have"


_SHOWN_PARTS = ("platform", "framework", "backend", "settings")


def _common(comparison: SavedComparison) -> str:
    """What all rows have in common, which their names leave out."""
    values = (_distinct(comparison, part) for part in _SHOWN_PARTS)
    return plain(", ".join(one for found in values if len(found) == 1 for one in found if one))


def _distinct(comparison: SavedComparison, part: str) -> set[str]:
    return {key.described()[part] for row in comparison.rows for key in (row.base_key, row.key)}


def _name(comparison: SavedComparison, row: Row) -> str:
    key = row.key.described()
    same = row.base_key.described()
    more = [
        key[part]
        for part in _SHOWN_PARTS
        if key[part] == same[part] and key[part] and len(_distinct(comparison, part)) > 1
    ]
    kind = "" if key["type"] == NET_DELAY else f" {key['type']}"
    metric = "" if key["metric"] == "delay" else f" {key['metric']}"
    name = f"{key['net_name']}{metric} {key['identifier']}{kind}"
    return f"{name} on {', '.join(more)}" if more else name


def _closing(comparison: SavedComparison) -> list[str]:
    lines = []
    if comparison.geometric_mean is not None:
        lines.append(
            f"geometric mean of {len(comparison.rows)}: {numbers.percent(comparison.geometric_mean)}"
        )
    for name, count in ((comparison.base, comparison.only_base), (comparison.head, comparison.only_head)):
        if count:
            lines.append(f"left out, because only {plain(numbers.short_commit(name))} has them: {count}")
    if any(row.unit == RATIO for row in comparison.rows):
        lines.append(RATIOS)
    if any(_is_changed_by_scatter(row) for row in comparison.rows):
        lines.append(ADVICE)
    return lines


RATIOS = "Without a unit: treatment/control, as in mlbench history; the change is that of this ratio."


def _is_changed_by_scatter(row: Row) -> bool:
    judgement = row.judgement
    return judgement.evidence is Evidence.SCATTER and judgement.finding is not Finding.NO_DIFFERENCE


# --- Markdown -----------------------------------------------------------------------------------------------


def markdown(comparison: SavedComparison) -> bytes:
    from tabulate import tabulate

    columns = ["test", "base", "head", "change", "interval", "evidence", "finding"]
    rows = [
        [escape(one) for one in (_name(comparison, row), *_cells(row), str(row.judgement.finding))]
        for row in comparison.rows
    ]
    grid = tabulate(rows, columns, tablefmt="pipe", disable_numparse=True)
    facts = [escape(one) for one in (_common(comparison), *_closing(comparison)) if one]
    text = "\n\n".join([f"## {escape(_heading(comparison))}", grid, *facts]) + "\n"
    return text.encode("utf-8", "replace")


# --- for programs -------------------------------------------------------------------------------------------


def document(comparison: SavedComparison, exit_status: ExitStatus) -> str:
    return documents.dumps(
        {
            "base": comparison.base,
            "head": comparison.head,
            "series": [_row_json(row) for row in comparison.rows],
            "geometric_mean": comparison.geometric_mean,
            "only_base": comparison.only_base,
            "only_head": comparison.only_head,
            "exit_status": exit_status,
        }
    )


def _row_json(row: Row) -> dict[str, Any]:
    judgement, interval = row.judgement, row.judgement.interval
    base, head = row.base_key.described(), row.key.described()
    return {
        **head,
        **{f"base_{name}": value for name, value in base.items() if value != head[name]},
        "unit": row.unit,
        "base": row.base,
        "head": row.head,
        "ratio": judgement.ratio,
        "interval": interval and [interval.low, interval.high],
        "confidence": interval and interval.confidence,
        "finding": judgement.finding,
        "evidence": judgement.evidence,
        "reason": judgement.reason,
        "tainted": row.tainted,
    }


def junit(comparison: SavedComparison) -> bytes:
    """A failure for what an A/B run showed to be slower; what cannot be told is skipped."""
    from junitparser import Failure, JUnitXml, Skipped, TestCase, TestSuite

    suite = TestSuite(_heading(comparison))
    for row in comparison.rows:
        judgement = row.judgement
        case = TestCase(plain(_name(comparison, row)), plain(row.key.test.net), 0.0)
        text = f"{judgement.finding}: {' '.join(filter(None, _cells(row)))}: {judgement.reason}"
        if comparison.fails(row):
            case.result = [Failure(plain(text), "slower")]
        elif judgement.finding is Finding.UNKNOWN:
            case.result = [Skipped(plain(text))]
        else:
            case.system_out = plain(text)
        suite.add_testcase(case)
    xml = JUnitXml("saved runs")
    xml.add_testsuite(suite)
    content = io.BytesIO()
    xml.write(content, pretty=True)
    return content.getvalue()
