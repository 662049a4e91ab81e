"""Two commits, branches, runs, devices, backends or frameworks: what both have, by significance."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from benchmarking.errors import UsageError
from benchmarking.records.comparison import (
    RECENT_RUNS,
    Judgement,
    PairedVerdict,
    Scatter,
    Sides,
    common_scatter,
    judge,
)
from benchmarking.results.model import Interval, Verdict
from benchmarking.server import tables
from benchmarking.server.ingest import NORMAL_RUN
from benchmarking.server.pages.overview import commit_of
from benchmarking.server.pages.reading import (
    SERIES_COLUMNS,
    Reader,
    commit_columns,
    commit_view,
    is_shown,
    series_name,
)
from benchmarking.server.pages.views import CommitView, ComparedRow, CompareView, SideView

CONFIDENCE = 0.95
"""Of saved intervals, whose own is not saved."""
KINDS = ("commit", "branch", "run", "device", "backend", "framework")
_DIMENSIONS = ("device", "backend", "framework")
_COORDINATES = ("net", "metric", "identifier", "type", "unit", "framework", "backend", "device")

_commits, _series, _devices, _points = tables.commits, tables.series, tables.devices, tables.points
_VALUES = [
    _series.c.id.label("series_id"),
    _series.c.device_id,
    _series.c.scatter,
    _series.c.points.label("runs"),
]
_PAIRED = [_points.c[one] for one in ("ratio", "ratio_low", "ratio_high", "verdict")]


@dataclass(frozen=True)
class _Side:
    """What one side measured, by what the two sides have to have in common."""

    view: SideView
    rows: Mapping[tuple[Any, ...], list[Any]]
    """The latest last."""


def compare_view(reader: Reader, base: str, head: str, device: str = "") -> CompareView:
    """The comparison of HEAD with BASE.

    Args:
        base, head: ``KIND:NAME`` or a name alone, of which the kind is found out.
        device: only the series of the device with this key.

    Raises:
        UsageError: there is no such thing, or the two cannot be compared.
    """
    sides = [_resolved(reader, one) for one in (base, head)]
    kinds = {one.kind if one.kind in _DIMENSIONS else "commit" for one in sides}
    if len(kinds) > 1:
        raise UsageError(f"a {sides[0].kind} cannot be compared with a {sides[1].kind}")
    one, other = (_read(reader, side, device) for side in sides)
    both = [key for key in other.rows if key in one.rows]
    compared = [_sides(one.rows[key], other.rows[key], sides) for key in both]
    judged = zip(both, judge(compared), strict=True)
    ranked = sorted(judged, key=lambda pair: pair[1].rank)
    rows = tuple(_row(one.rows[key], other.rows[key], judgement) for key, judgement in ranked)
    logs = [math.log(row.ratio) for row in rows if row.ratio]
    return CompareView(
        sides[0],
        sides[1],
        rows,
        len(one.rows) - len(both),
        len(other.rows) - len(both),
        math.exp(sum(logs) / len(logs)) if logs else None,
    )


# --- what is compared ---------------------------------------------------------------------------------------


def _resolved(reader: Reader, asked: str) -> SideView:
    kind, found, name = asked.partition(":")
    if not found or kind not in KINDS:
        kind, name = "", asked
    for one in (kind,) if kind else KINDS:
        side = _FINDERS[one](reader, asked, name)
        if side is not None:
            return side
    what = kind or "commit, branch, run, device, backend or framework with results"
    raise UsageError(f"there is no {what} {name!r}")


def _commit(reader: Reader, asked: str, name: str) -> SideView | None:
    row = commit_of(reader, name)
    return row and SideView(asked, "commit", row.commit_sha, "", commit_view(row))


def _branch(reader: Reader, asked: str, name: str) -> SideView | None:
    """Its newest commit with results."""
    query = (
        select(*commit_columns())
        .join(tables.commit_summaries, tables.commit_summaries.c.commit_id == _commits.c.id)
        .where(_commits.c.project_id == reader.project, _commits.c.branch == name)
        .order_by(_commits.c.position.desc(), _commits.c.time.desc())
    )
    row = reader.first(query) if name else None
    return row and SideView(asked, "commit", row.commit_sha, f"branch {name}", commit_view(row))


def _run(reader: Reader, asked: str, name: str) -> SideView | None:
    query = (
        select(tables.runs.c.uid, tables.runs.c.commit_id, *commit_columns())
        .outerjoin(_commits, tables.runs.c.commit_id == _commits.c.id)
        .where(tables.runs.c.project_id == reader.project, tables.runs.c.uid == name)
    )
    row = reader.first(query)
    return row and SideView(
        asked, "run", row.uid, f"run {row.uid[:12]}", commit_view(row) if row.commit_id else None
    )


def _device(reader: Reader, asked: str, name: str) -> SideView | None:
    is_key = name.isdecimal() and len(name) < 18
    condition = _devices.c.id == int(name) if is_key else _devices.c.name == name
    row = reader.first(select(_devices.c.id, _devices.c.name).where(condition))
    return row and SideView(asked, "device", str(row.id), row.name)


def _dimension(kind: str) -> Callable[[Reader, str, str], SideView | None]:
    def find(reader: Reader, asked: str, name: str) -> SideView | None:
        query = select(_series.c.id).where(_series.c.project_id == reader.project, _series.c[kind] == name)
        return SideView(asked, kind, name, f"{kind} {name}") if name and reader.first(query) else None

    return find


_FINDERS: Mapping[str, Callable[[Reader, str, str], SideView | None]] = {
    "commit": _commit,
    "branch": _branch,
    "run": _run,
    "device": _device,
    "backend": _dimension("backend"),
    "framework": _dimension("framework"),
}


# --- what was measured --------------------------------------------------------------------------------------


def _read(reader: Reader, side: SideView, device: str) -> _Side:
    conditions = [_series.c.project_id == reader.project, is_shown()]
    if device.isdecimal():
        conditions.append(_series.c.device_id == int(device))
    if side.kind in _DIMENSIONS:
        rows = _newest(reader, side, conditions)
        missing = {side.kind}
    else:
        rows = _at(reader, side, conditions)
        missing = set()
    names = ["device_id" if one == "device" else one for one in _COORDINATES if one not in missing]
    if not missing:
        names.append("settings")
    found: dict[tuple[Any, ...], list[Any]] = {}
    for row in rows:
        found.setdefault(tuple(getattr(row, one) for one in names), []).append(row)
    return _Side(side, found)


def _newest(reader: Reader, side: SideView, conditions: list[Any]) -> Iterable[Any]:
    """The newest value of each series of a device, a backend or a framework."""
    is_device = side.kind == "device"
    of_side = _series.c.device_id == int(side.key) if is_device else _series.c[side.kind] == side.key
    query = (
        select(
            *_VALUES,
            *SERIES_COLUMNS,
            _series.c.last_value.label("value"),
            _series.c.last_tainted.label("is_tainted"),
        )
        .join(_devices)
        .where(*conditions, of_side, _series.c.last_value.is_not(None))
        .order_by(_series.c.last_time)
    )
    latest = {}
    for row in reader.rows(query):
        coordinates = tuple(getattr(row, one, row.device_id) for one in _COORDINATES)
        latest[coordinates] = row
    return latest.values()


def _at(reader: Reader, side: SideView, conditions: list[Any]) -> Iterable[Any]:
    """The normal runs of a commit, or of one call of the harness."""
    controls = _commits.alias("control")
    query = (
        select(
            *_VALUES,
            *SERIES_COLUMNS,
            *_PAIRED,
            _points.c.value,
            _points.c.tainted.label("is_tainted"),
            controls.c.sha.label("control_sha"),
        )
        .select_from(
            _points.join(_series, _points.c.series_id == _series.c.id)
            .join(_devices, _series.c.device_id == _devices.c.id)
            .join(_commits, _points.c.commit_id == _commits.c.id)
            .outerjoin(controls, _points.c.control_commit_id == controls.c.id)
        )
        .where(*conditions, _points.c.run_type == NORMAL_RUN)
        .order_by(_points.c.time)
    )
    if side.kind == "run":
        results = tables.results
        uids = select(tables.runs.c.id).where(tables.runs.c.uid == side.key).scalar_subquery()
        of_run = select(results.c.id).where(results.c.run_id == uids)
        return reader.rows(query.where(_points.c.result_id.in_(of_run)))
    return reader.rows(query.where(_commits.c.project_id == reader.project, _commits.c.sha == side.key))


def _sides(base: list[Any], head: list[Any], sides: list[SideView]) -> Sides:
    return Sides(
        tuple(one.value for one in base),
        tuple(one.value for one in head),
        _paired(base, head, sides[0].commit, sides[1].commit),
        common_scatter(_scatter(base[-1]), _scatter(head[-1])),
    )


def _scatter(row: Any) -> Scatter | None:
    return Scatter(row.scatter, min(row.runs, RECENT_RUNS)) if row.scatter is not None else None


def _paired(
    base: list[Any], head: list[Any], base_commit: CommitView | None, head_commit: CommitView | None
) -> PairedVerdict | None:
    """The A/B verdict of exactly these two commits."""
    if base_commit is None or head_commit is None:
        return None
    found = _verdict(head, base_commit.sha)
    if found is not None:
        return found
    reverse = _verdict(base, head_commit.sha)
    return reverse and reverse.reversed()


def _verdict(rows: list[Any], control: str) -> PairedVerdict | None:
    """The latest, if there is one with this control."""
    for row in reversed(rows):
        if row.control_sha == control and row.verdict in (*Verdict,):
            ends = row.ratio_low, row.ratio_high
            interval = None if None in ends else Interval(ends[0], ends[1], CONFIDENCE)
            return PairedVerdict(Verdict(row.verdict), row.ratio, interval)
    return None


def _row(base: list[Any], head: list[Any], judgement: Judgement) -> ComparedRow:
    interval = judgement.interval
    return ComparedRow(
        series_name(head[-1]),
        base[-1].value,
        head[-1].value,
        base[-1].is_tainted,
        head[-1].is_tainted,
        judgement.finding,
        judgement.evidence,
        judgement.ratio,
        interval.low if interval else None,
        interval.high if interval else None,
        judgement.reason,
    )
