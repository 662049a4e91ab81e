"""Two commits, branches, runs, devices, backends or frameworks: what both have, by significance."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from statistics import median
from typing import Any, NamedTuple

from sqlalchemy import or_, select
from sqlalchemy.sql.elements import ColumnElement

from benchmarking.errors import UsageError
from benchmarking.records.comparison import Finding, Judgement, Scatter, Sides, common_scatter, judge
from benchmarking.records.evidence import Runs, SavedRun, are_relative, normal, paired
from benchmarking.server import tables
from benchmarking.server.pages.overview import commit_of
from benchmarking.server.pages.reading import (
    PROPERTY_COLUMNS,
    SERIES_COLUMNS,
    Reader,
    commit_columns,
    commit_view,
    is_shown,
    series_name,
)
from benchmarking.server.pages.saved_runs import NO_RUN, Pair, related, saved_runs
from benchmarking.server.pages.views import ComparedRow, CompareView, SideView, Varying

SORTS = ("significance", "change", "model")
KINDS = ("commit", "branch", "run", "device", "backend", "framework")
_DIMENSIONS = ("device", "backend", "framework")
_NAMES = ("net", "identifier", "type", "framework", "backend", "device_name", "settings")
_COORDINATES = ("net", "metric", "identifier", "type", "unit", "framework", "backend", "device")

_commits, _series, _devices, _points = tables.commits, tables.series, tables.devices, tables.points
_SERIES = [
    *SERIES_COLUMNS,
    _series.c.id.label("series_id"),
    _series.c.device_id,
    *(_series.c[one] for one in ("scatter", "scatter_runs", "ratio_scatter", "ratio_runs")),
]


class _Measured(NamedTuple):
    """A series on one side."""

    series: Any
    """The row of ``_SERIES``."""
    runs: Runs
    """The latest last."""
    normal: Runs
    """Of them, those whose values count."""

    @property
    def values(self) -> list[float]:
        return [one.value for one in self.normal]


class _Pair(NamedTuple):
    base: _Measured
    head: _Measured
    sides: Sides
    judgement: Judgement


_Side = Mapping[Any, _Measured]
"""What one side measured, by what the two sides have to have in common."""


@dataclass(frozen=True)
class _Asked:
    """One of the two, and the row of its commit."""

    view: SideView
    commit: int | None = None


@dataclass(frozen=True)
class Comparison:
    """What both sides have. Only the rows that are asked for are made: there may be thousands."""

    base: SideView
    head: SideView
    only_base: int
    """The number of series that only A has."""
    only_head: int
    _found: Sequence[_Pair]
    """The most significant first."""

    @property
    def size(self) -> int:
        return len(self._found)

    @cached_property
    def counts(self) -> Counter[Finding]:
        return Counter(one.judgement.finding for one in self._found)

    @property
    def varying(self) -> Varying:
        rows = [one.head.series for one in self._found]
        return Varying.of_properties(
            {name: set(map(attrgetter(column), rows)) for name, column in PROPERTY_COLUMNS.items()}
        )

    @cached_property
    def span(self) -> float:
        """How far nine of ten intervals reach from 1."""
        sizes = []
        for judgement in (one.judgement for one in self._found):
            if judgement.interval is not None:
                sizes.append(max(abs(judgement.interval.low - 1), abs(judgement.interval.high - 1)))
            elif judgement.ratio is not None:
                sizes.append(abs(judgement.ratio - 1))
        sizes.sort()
        return sizes[len(sizes) * 9 // 10] if sizes else 0.0

    def view(self, sort: str = SORTS[0], first: int = 0, count: int | None = None) -> CompareView:
        """Its rows in this order, from the one with the number ``first`` on; by default all."""
        found = self._found
        if sort == "change":
            found = sorted(found, key=lambda one: -abs((one.judgement.ratio or 1) - 1))
        elif sort == "model":
            found = sorted(found, key=lambda one: [getattr(one.head.series, name) for name in _NAMES])
        logs = [math.log(one.judgement.ratio) for one in found if one.judgement.ratio]
        return CompareView(
            self.base,
            self.head,
            tuple(map(_row, found[first : None if count is None else first + count])),
            self.only_base,
            self.only_head,
            math.exp(sum(logs) / len(logs)) if logs else None,
        )


def compared(reader: Reader, base: str, head: str, device: str = "") -> Comparison:
    """The comparison of HEAD with BASE.

    Args:
        base, head: ``KIND:NAME`` or a name alone, of which the kind is found out.
        device: only the series of the device with this key.

    Raises:
        UsageError: there is no such thing, or the two cannot be compared.
    """
    asked = [_resolved(reader, one) for one in (base, head)]
    one, other = (found.view for found in asked)
    if (one.kind in _DIMENSIONS or other.kind in _DIMENSIONS) and one.kind != other.kind:
        raise UsageError(f"a {one.kind} cannot be compared with a {other.kind}")
    conditions = [_series.c.project_id == reader.project, is_shown()]
    if device.isdecimal():
        conditions.append(_series.c.device_id == int(device))
    if one.kind in _DIMENSIONS:
        sides = [_newest(reader, found.view, conditions) for found in asked]
    else:
        sides = _at(reader, asked, conditions)
    both = [(sides[0][key], measured) for key, measured in sides[1].items() if key in sides[0]]
    judged = _judged_sides(reader, both)
    pairs = [_Pair(*found) for found in zip(*zip(*both, strict=True), judged, judge(judged), strict=True)]
    pairs.sort(key=lambda pair: pair.judgement.rank)
    only = [len(side) - len(pairs) for side in sides]
    return Comparison(one, other, only[0], only[1], pairs)


# --- what is compared ---------------------------------------------------------------------------------------


def _resolved(reader: Reader, asked: str) -> _Asked:
    kind, found, name = asked.partition(":")
    if not found or kind not in KINDS:
        kind, name = "", asked
    for one in (kind,) if kind else KINDS:
        side = _FINDERS[one](reader, asked, name)
        if side is not None:
            return side
    what = kind or "commit, branch, run, device, backend or framework with results"
    raise UsageError(f"there is no {what} {name!r}")


def _commit(reader: Reader, asked: str, name: str) -> _Asked | None:
    row = commit_of(reader, name)
    return row and _Asked(SideView(asked, "commit", row.commit_sha, "", commit_view(row)), row.id)


def _branch(reader: Reader, asked: str, name: str) -> _Asked | None:
    """Its newest commit with results."""
    query = (
        select(_commits.c.id, *commit_columns())
        .join(tables.commit_summaries, tables.commit_summaries.c.commit_id == _commits.c.id)
        .where(_commits.c.project_id == reader.project, _commits.c.branch == name)
        .order_by(_commits.c.position.desc().nulls_last(), _commits.c.time.desc())
    )
    row = reader.first(query) if name else None
    return row and _Asked(
        SideView(asked, "commit", row.commit_sha, f"branch {name}", commit_view(row)), row.id
    )


def _run(reader: Reader, asked: str, name: str) -> _Asked | None:
    query = (
        select(tables.runs.c.uid, tables.runs.c.commit_id, *commit_columns())
        .outerjoin(_commits, tables.runs.c.commit_id == _commits.c.id)
        .where(tables.runs.c.project_id == reader.project, tables.runs.c.uid == name)
    )
    row = reader.first(query)
    commit = commit_view(row) if row and row.commit_id else None
    return row and _Asked(SideView(asked, "run", row.uid, f"run {row.uid[:12]}", commit), row.commit_id)


def _device(reader: Reader, asked: str, name: str) -> _Asked | None:
    """By its key, or by its name: of several with this name, the one that was measured last."""
    of_project = select(_series.c.device_id).where(_series.c.project_id == reader.project)
    query = (
        select(_devices.c.id, _devices.c.name)
        .where(_devices.c.id.in_(of_project))
        .order_by(_devices.c.last_seen.desc(), _devices.c.id.desc())
    )
    row = None
    if name.isdecimal() and len(name) < 18:
        row = reader.first(query.where(_devices.c.id == int(name)))
    row = row or reader.first(query.where(_devices.c.name == name))
    return row and _Asked(SideView(asked, "device", str(row.id), row.name))


def _dimension(kind: str) -> Callable[[Reader, str, str], _Asked | None]:
    def find(reader: Reader, asked: str, name: str) -> _Asked | None:
        query = select(_series.c.id).where(_series.c.project_id == reader.project, _series.c[kind] == name)
        found = name and reader.first(query)
        return _Asked(SideView(asked, kind, name, f"{kind} {name}")) if found else None

    return find


_FINDERS: Mapping[str, Callable[[Reader, str, str], _Asked | None]] = {
    "commit": _commit,
    "branch": _branch,
    "run": _run,
    "device": _device,
    "backend": _dimension("backend"),
    "framework": _dimension("framework"),
}


# --- what was measured --------------------------------------------------------------------------------------


def _newest(reader: Reader, side: SideView, conditions: list[Any]) -> _Side:
    """The newest value of each series of a device, a backend or a framework."""
    is_device = side.kind == "device"
    of_side = _series.c.device_id == int(side.key) if is_device else _series.c[side.kind] == side.key
    last = (_series.c[f"last_{one}"] for one in ("value", "tainted", "time"))
    query = (
        select(*_SERIES, *last)
        .join(_devices)
        .where(*conditions, of_side, _series.c.last_value.is_not(None))
        .order_by(_series.c.last_time)
    )
    names = [one for one in _COORDINATES if one != side.kind]
    found = {}
    for row in reader.rows(query):
        runs = [NO_RUN._replace(series=row.series_id, value=row.last_value, tainted=row.last_tainted)]
        key = tuple(row.device_id if one == "device" else getattr(row, one) for one in names)
        found[key] = _Measured(row, runs, runs)
    return found


def _at(reader: Reader, sides: Sequence[_Asked], conditions: list[Any]) -> list[_Side]:
    """The runs of commits, or of calls of the harness; a page may have thousands of them."""
    of_sides = [_runs_of(one) for one in sides]
    has_run = select(_points.c.series_id).where(or_(*of_sides))
    shown = select(*_SERIES).join(_devices).where(*conditions, _series.c.id.in_(has_run))
    series = {row.series_id: row for row in reader.rows(shown)}
    found: list[_Side] = []
    for of_side in of_sides:
        runs: dict[int, list[SavedRun]] = {}
        for one in saved_runs(reader, of_side):
            if one.series in series:
                runs.setdefault(one.series, []).append(one)
        measured = (_Measured(series[number], own, normal(own)) for number, own in runs.items())
        found.append({one.series.series_id: one for one in measured if one.normal})
    return found


def _runs_of(side: _Asked) -> ColumnElement[bool]:
    if side.view.kind != "run":
        return _points.c.commit_id == side.commit
    results = tables.results
    run = select(tables.runs.c.id).where(tables.runs.c.uid == side.view.key).scalar_subquery()
    return _points.c.result_id.in_(select(results.c.id).where(results.c.run_id == run))


# --- the best evidence --------------------------------------------------------------------------------------


def _judged_sides(reader: Reader, both: Sequence[tuple[_Measured, _Measured]]) -> list[Sides]:
    verdicts = [paired(base.runs, head.runs) for base, head in both]
    pairs = {}
    for (base, head), verdict in zip(both, verdicts, strict=True):
        scatter = _scatter_of(head.series.ratio_scatter, head.series.ratio_runs)
        if verdict is None and scatter is not None and are_relative(base.normal, head.normal):
            pairs[head.series.series_id] = Pair(base.normal, head.normal, scatter)
    relative = related(reader, pairs)
    return [
        relative.get(head.series.series_id)
        or Sides(base.values, head.values, verdict, None if verdict else _scatter(base.series, head.series))
        for (base, head), verdict in zip(both, verdicts, strict=True)
    ]


def _scatter(base: Any, head: Any) -> Scatter | None:
    own = _scatter_of(head.scatter, head.scatter_runs)
    return own if head is base else common_scatter(_scatter_of(base.scatter, base.scatter_runs), own)


def _scatter_of(deviation: float | None, runs: int | None) -> Scatter | None:
    return None if deviation is None or runs is None else Scatter(deviation, runs)


def _row(pair: _Pair) -> ComparedRow:
    base, head, sides, judgement = pair
    interval = judgement.interval
    return ComparedRow(
        series_name(head.series),
        median(base.values),
        median(head.values),
        sides.base[0] if sides.is_relative else None,
        sides.head[0] if sides.is_relative else None,
        any(one.tainted for one in base.normal),
        any(one.tainted for one in head.normal),
        judgement.finding,
        judgement.evidence,
        judgement.ratio,
        interval.low if interval else None,
        interval.high if interval else None,
        judgement.reason,
    )
