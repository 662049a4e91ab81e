"""Two commits, branches, runs, devices, backends or frameworks: what both have, by significance."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Any, NamedTuple

from sqlalchemy import Text, and_, case, cast, func, literal, or_, select
from sqlalchemy.sql.elements import ColumnElement

from benchmarking.errors import UsageError
from benchmarking.records.comparison import Finding, Judgement, Scatter, Sides, common_scatter, judge
from benchmarking.records.evidence import NORMAL_RUN, Runs, SavedRun, are_relative, by_ratios, normal, paired
from benchmarking.records.series import Moment
from benchmarking.results.model import NET_DELAY, Verdict
from benchmarking.server import tables
from benchmarking.server.ingest import KNOWN
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
from benchmarking.server.pages.views import ComparedRow, CompareView, SideView, Varying

CONFIDENCE = 0.95
"""Of saved intervals, whose own is not saved."""
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
_controls = _commits.alias("control")


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
        return Varying.of_properties(
            {
                name: {getattr(one.head.series, column) for one in self._found}
                for name, column in PROPERTY_COLUMNS.items()
            }
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
        .order_by(_commits.c.position.desc(), _commits.c.time.desc())
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
    is_key = name.isdecimal() and len(name) < 18
    condition = _devices.c.id == int(name) if is_key else _devices.c.name == name
    row = reader.first(select(_devices.c.id, _devices.c.name).where(condition))
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
        runs = [_NO_RUN._replace(series=row.series_id, value=row.last_value, tainted=row.last_tainted)]
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
        confirmed = _confirmed(reader, of_side)
        for one in _saved_runs(reader, of_side):
            if one.series in series:
                is_confirmed = bool(confirmed) and (one.series, one.uid) in confirmed
                known = one._replace(is_confirmed=True) if is_confirmed else one
                runs.setdefault(one.series, []).append(known)
        measured = (_Measured(series[number], own, normal(own)) for number, own in runs.items())
        found.append({one.series.series_id: one for one in measured if one.normal})
    return found


def _runs_of(side: _Asked) -> ColumnElement[bool]:
    if side.view.kind != "run":
        return _points.c.commit_id == side.commit
    results = tables.results
    run = select(tables.runs.c.id).where(tables.runs.c.uid == side.view.key).scalar_subquery()
    return _points.c.result_id.in_(select(results.c.id).where(results.c.run_id == run))


_NO_RUN = SavedRun(
    *(0, "", 0, None, 0, NORMAL_RUN, "", "", "", 0.0, None, None, None, None, None, None, None),
    is_verification=False,
    is_confirmed=False,
    tainted=False,
    reference="",
)


_OF_A_POINT: Mapping[str, Any] = {
    **{name: _points.c[name] for name in ("commit_time", "position", "time", "run_type", "value", "tainted")},
    **{name: _points.c[name] for name in ("ratio", "ratio_low", "ratio_high")},
    "series": _points.c.series_id,
    "commit_name": _commits.c.sha,
    "ratio_confidence": literal(CONFIDENCE),
    "control_commit": _controls.c.sha,
    "control_commit_time": _controls.c.time,
    "verdict": case((_points.c.verdict == KNOWN, Verdict.REGRESSED), else_=_points.c.verdict),
    "is_verification": _points.c.run_type == "verify",
    # Which of several backends a ratio is relative to is not stored.
    **dict.fromkeys(("run_uid", "branch", "reference"), literal("")),
    "uid": cast(_points.c.result_id, Text),
    "is_confirmed": literal(False),
}
_RUN = [_OF_A_POINT[name].label(name) for name in SavedRun._fields]


def _saved_runs(reader: Reader, condition: ColumnElement[bool]) -> list[SavedRun]:
    """The latest last."""
    joined = _points.join(_commits, _points.c.commit_id == _commits.c.id).outerjoin(
        _controls, _points.c.control_commit_id == _controls.c.id
    )
    query = select(*_RUN).select_from(joined).where(condition).order_by(_points.c.time)
    return [SavedRun._make(row) for row in reader.rows(query)]


def _confirmed(reader: Reader, condition: ColumnElement[bool]) -> set[tuple[int, str]]:
    """The runs, by series and ``uid``, that confirm a regression: there are few."""
    results = tables.results
    query = (
        select(_points.c.series_id, _OF_A_POINT["uid"].label("uid"), results.c.regressed)
        .join(results, _points.c.result_id == results.c.id)
        .where(condition, _points.c.run_type != NORMAL_RUN, results.c.regressed != "{}")
    )
    return {(row.series_id, row.uid) for row in reader.rows(query) if NET_DELAY in json.loads(row.regressed)}


# --- the best evidence --------------------------------------------------------------------------------------


def _judged_sides(reader: Reader, both: Sequence[tuple[_Measured, _Measured]]) -> list[Sides]:
    verdicts = [paired(base.runs, head.runs) for base, head in both]
    relative = _relative(reader, [pair for pair, one in zip(both, verdicts, strict=True) if one is None])
    return [
        relative.get(head.series.series_id)
        or Sides(base.values, head.values, verdict, None if verdict else _scatter(base.series, head.series))
        for (base, head), verdict in zip(both, verdicts, strict=True)
    ]


def _relative(reader: Reader, both: Sequence[tuple[_Measured, _Measured]]) -> dict[int, Sides]:
    """By series: what the ratios to controls say.

    Runs of older and older controls are read only as far as needed: not below the older of two controls,
    unless they have nothing in common there.
    """
    found: dict[int, Sides] = {}
    apart: dict[int, tuple[Runs, Runs, Scatter]] = {}
    for base, head in both:
        scatter = _scatter_of(head.series.ratio_scatter, head.series.ratio_runs)
        if scatter is not None and are_relative(base.normal, head.normal):
            apart[head.series.series_id] = base.normal, head.normal, scatter
    ends = [runs[-1] for base, head, _ in apart.values() for runs in (base, head)]
    oldest = min((one.control_commit_time or 0 for one in ends), default=0)
    for floor in (None, oldest, 0):
        history = {} if floor is None else _followed(reader, apart, floor)
        related = {
            number: by_ratios(base, head, history.get(number, ()), scatter)
            for number, (base, head, scatter) in apart.items()
        }
        found |= {number: sides for number, sides in related.items() if sides is not None}
        apart = {number: one for number, one in apart.items() if number not in found}
    return found


def _scatter(base: Any, head: Any) -> Scatter | None:
    own = _scatter_of(head.scatter, head.scatter_runs)
    return own if head is base else common_scatter(_scatter_of(base.scatter, base.scatter_runs), own)


def _scatter_of(deviation: float | None, runs: int | None) -> Scatter | None:
    return None if deviation is None or runs is None else Scatter(deviation, runs)


def _followed(
    reader: Reader, pairs: Mapping[int, tuple[Runs, Runs, Scatter]], floor: int
) -> dict[int, list[SavedRun]]:
    """By series: the runs to which the controls of both sides lead, if these are not older than ``floor``."""
    found: dict[int, list[SavedRun]] = {number: [] for number in pairs}
    new = [runs[-1] for base, head, _ in pairs.values() for runs in (base, head)]
    seen: set[tuple[int, Moment]] = set()
    while new:
        wanted: dict[Moment, set[int]] = {}
        for one in new:
            control = one.control_commit or "", one.control_commit_time or 0
            if one.control_commit and control[1] >= floor and (one.series, control) not in seen:
                seen.add((one.series, control))
                wanted.setdefault(control, set()).add(one.series)
        new = [one for control, series in wanted.items() for one in _runs_at(reader, control, series)]
        for one in new:
            found[one.series].append(one)
    return found


def _runs_at(reader: Reader, control: Moment, series: set[int]) -> Iterator[SavedRun]:
    """Of each series the runs of a control, or of the newest older commit, with a ratio; the latest last."""
    sha, time = control
    usable = [_points.c.run_type == NORMAL_RUN, _points.c.ratio > 0]
    own = [one for one in _saved_runs(reader, and_(_commits.c.sha == sha, *usable)) if one.series in series]
    yield from own
    missing = series.difference(one.series for one in own)
    if missing:
        older = _points.alias("older")
        nearest = select(func.max(older.c.commit_time)).where(
            older.c.series_id == _points.c.series_id,
            older.c.commit_time <= time,
            older.c.run_type == NORMAL_RUN,
            older.c.ratio > 0,
        )
        of_series = _points.c.series_id.in_(missing)
        yield from _saved_runs(
            reader, and_(of_series, _points.c.commit_time == nearest.scalar_subquery(), *usable)
        )


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
