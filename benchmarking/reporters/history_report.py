"""The history for people, as tables and sparklines, and for programs, as JSON."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from benchmarking.records.series import Point, Series
from benchmarking.reporters import numbers
from benchmarking.reporters.screen_reporter import VERDICT_STYLES
from benchmarking.results import documents, unix_time
from benchmarking.results.model import Comparison
from benchmarking.results.plain_text import plain
from benchmarking.statistics.change_points import (
    MINIMUM_RUNS,
    NEIGHBOURHOOD,
    ChangePoint,
    Creep,
)
from benchmarking.terminal.console import PlainConsole, borderless_table, rendered

SPARKS = "▁▂▃▄▅▆▇█"
SPARKLINE_WIDTH = 80
_STYLES = {str(verdict): style for verdict, style in VERDICT_STYLES.items()}
_TEXT_COLUMNS = ("commit", "date", "against", "verdict", "last good..first bad", "", "confidence")


def show(series: Sequence[Series], width: int | None) -> str:
    return _render([_shown(one) for one in series], width)


def show_changes(series: Sequence[Series], width: int | None) -> str:
    changed = [one for one in series if one.changes or one.creeps]
    short = sum(len(one.levels.values) < 2 * MINIMUM_RUNS for one in series)
    counted = f"{len(changed)} of {len(series)} series changed"
    if short:
        counted += f"; too short to judge, with fewer than {2 * MINIMUM_RUNS} commits: {short}"
    return _render([*(_changes_shown(one) for one in changed), Text(counted)], width)


def document(series: Sequence[Series]) -> str:
    return documents.dumps({"series": [series_json(one) for one in series]})


# --- for people ---------------------------------------------------------------------------------------------


def _render(parts: Sequence[RenderableType], width: int | None) -> str:
    """With colours only on a terminal, and with an empty line between the parts."""
    lines = [one for part in parts for one in (Text(), part)][1:]
    return rendered(PlainConsole(width=width), *lines)


def _shown(series: Series) -> RenderableType:
    compared = any(one.ratio is not None for one in series.points)
    judged = any(one.verdict for one in series.points)
    table = _table(
        *("commit", "date", _quantity(series)),
        *(["change", "against"] if compared else []),
        *(["verdict"] if judged else []),
        "",
    )
    count = Counter(one.commit for one in series.points)
    for one in series.points:
        table.add_row(
            _commit(one),
            _day(one) if count[one.commit] == 1 else unix_time.second(one.commit_time),
            _value(series, one.value),
            *([_change(one), _short(one.control_commit or "")] if compared else []),
            *([Text(one.verdict or "", _STYLES.get(one.verdict or "", "yellow"))] if judged else []),
            Text("tainted" if one.tainted else "", "yellow"),
        )
    return Group(_heading(series), Padding(Group(_sparkline(series), table), (0, 0, 0, 2)))


def _changes_shown(series: Series) -> RenderableType:
    table = _table("last good..first bad", "date", "change", _of_what(series), "", "", "confidence")
    points = series.levels.points
    for one in _found(series):
        last_good, first_bad = _range(one)
        is_worse = one.after > one.before
        table.add_row(
            f"{_commit(points[last_good])}..{_commit(points[first_bad])}",
            _day(points[first_bad]),
            Text(_percent(one.before, one.after), "bold red" if is_worse else "green"),
            _level(series, one.before),
            _level(series, one.after),
            _kind(one),
            f"p {one.p_value:.0e}, {one.deviations:.1f} sd",
        )
    lines: list[RenderableType] = [_sparkline(series), table, Text(_against_the_base(series), "dim")]
    return Group(_heading(series), Padding(Group(*lines), (0, 0, 0, 2)))


def _heading(series: Series) -> Text:
    key = series.key
    text = Text(plain(key.test.name), "bold")
    text.append(f" {plain(key.type)}", "bold")
    backend = f"backend {key.test.backend}" if key.test.backend else ""
    settings = key.settings if backend in key.settings.split(", ") else f"{backend}  {key.settings}".strip()
    facts = (f"on {key.platform}", settings, numbers.counted(len(series.points), "commit"))
    details = "".join(f"  {plain(one)}" for one in facts if one)
    return text.append(details, "dim")


def _table(*columns: str) -> Table:
    table = borderless_table()
    for column in columns:
        is_text = column in _TEXT_COLUMNS
        table.add_column(column, justify="left" if is_text else "right", no_wrap=True)
    return table


def _sparkline(series: Series) -> Text:
    """Oldest first, each character the median of neighbours; below it a mark at each change."""
    values = series.levels.values
    if not values:
        return Text()
    signs = min(len(values), SPARKLINE_WIDTH)
    edges = [len(values) * one // signs for one in range(signs + 1)]
    medians = [median(values[first:end]) for first, end in itertools.pairwise(edges)]
    low, high = min(medians), max(medians)
    scale = (len(SPARKS) - 1) / (high - low) if high > low else 0.0
    text = Text("".join(SPARKS[round((one - low) * scale)] for one in medians))
    text.append(f"  {_level(series, low)} to {_level(series, high)}", "dim")
    changed = {one.index for one in series.changes}
    if changed:
        marks = (bool(changed & set(range(*pair))) for pair in itertools.pairwise(edges))
        text.append("\n" + "".join("^" if one else " " for one in marks).rstrip(), "bold red")
    return text


def _against_the_base(series: Series) -> str:
    """Compares the newest commits with the oldest: the sum of many small steps."""
    change = _since_base(series)
    if change is None:
        return ""
    side, before, after = change
    return f"the newest {side} commits compared with the oldest {side}: {_percent(before, after)}"


def _since_base(series: Series) -> tuple[int, float, float] | None:
    """The number of commits at either end, and their medians; None if there are too few."""
    values = series.levels.values
    side = min(NEIGHBOURHOOD, len(values) // 2)
    return (side, median(values[:side]), median(values[-side:])) if side >= MINIMUM_RUNS else None


def _found(series: Series) -> list[ChangePoint | Creep]:
    """Changes, oldest first."""
    found: list[ChangePoint | Creep] = [*series.changes, *series.creeps]
    return sorted(found, key=_range)


def _range(one: ChangePoint | Creep) -> tuple[int, int]:
    """The indexes of the last good commit and of the first bad commit, among those of the levels."""
    return (one.last_good, one.first_bad) if isinstance(one, Creep) else (one.index - 1, one.index)


def _kind(one: ChangePoint | Creep) -> str:
    return "creep" if isinstance(one, Creep) else "step"


def _quantity(series: Series) -> str:
    return "p50" if series.key.test.metric == "delay" else "max error"


def _of_what(series: Series) -> str:
    return "treatment/control" if series.levels.is_ratio else _quantity(series)


def _value(series: Series, value: float) -> str:
    return numbers.duration(value) if series.unit == "us" else numbers.error(value)


def _level(series: Series, value: float) -> str:
    return f"{value:.3f}" if series.levels.is_ratio else _value(series, value)


def _change(one: Point) -> str:
    return "" if one.ratio is None else numbers.change(Comparison(0, one.ratio, one.ratio_interval))


def _percent(before: float, after: float) -> str:
    return numbers.percent(after / before) if before else "new"


def _commit(one: Point) -> str:
    return _short(one.commit)


def _short(commit: str) -> str:
    return plain(numbers.short_commit(commit))


def _day(one: Point) -> str:
    return unix_time.day(one.commit_time)


# --- for programs -------------------------------------------------------------------------------------------


def series_json(series: Series) -> dict[str, Any]:
    points = series.levels.points
    base = _since_base(series)
    return {
        **series.key.described(),
        "unit": series.unit,
        "points": [asdict(one) for one in series.points],
        "changes_of": "ratio" if series.levels.is_ratio else "value",
        "levels": [
            {"commit": one.commit, "level": level}
            for one, level in zip(points, series.levels.values, strict=True)
        ],
        "changes": [_change_json(points, one) for one in _found(series)],
        "newest_against_oldest": base and dict(zip(("commits", "before", "after"), base, strict=True)),
    }


def _change_json(points: Sequence[Point], one: ChangePoint | Creep) -> dict[str, Any]:
    last_good, first_bad = _range(one)
    return {
        "kind": _kind(one),
        "last_good": points[last_good].commit,
        "first_bad": points[first_bad].commit,
        "first_bad_time": points[first_bad].commit_time,
        "before": one.before,
        "after": one.after,
        "ratio": one.after / one.before if one.before else math.inf,
        "p_value": one.p_value,
        "deviations": one.deviations,
    }
