"""One series: its history, what changed, and what is drawn with it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import orjson
from sqlalchemy import Row, Select, and_, or_, select

from benchmarking.results import comparability
from benchmarking.results.model import NORMAL_RUN
from benchmarking.server import tables
from benchmarking.server.pages.reading import (
    POINT_COLUMNS,
    ROWS_PER_PAGE,
    SERIES_COLUMNS,
    Reader,
    commit_columns,
    commit_view,
    latest_runs,
    one_series,
    point_joins,
    point_view,
    series_name,
)
from benchmarking.server.pages.views import (
    BreakView,
    ChangeView,
    CommitView,
    LineView,
    PointView,
    SeriesName,
    SeriesView,
)

DRAWN_POINTS = 500
MOST_POINTS = 5000
"""Of a zoom."""
MOST_OVERLAYS = 4
"""The number of lines that can be told apart."""
MOST_NEIGHBOURS = 100
MOST_BRANCHES = 200

_points, _series = tables.points, tables.series
Zoom = tuple[int | None, int | None]
"""The first and the last position; None: open."""


@dataclass(frozen=True)
class SeriesQuery:
    """What an address of the page asks for."""

    key: str
    overlays: tuple[str, ...] = ()
    relative: bool = False
    zoom: Zoom | None = None
    branch: str = ""
    """Only its commits; empty: those of all branches."""


def series_view(reader: Reader, asked: SeriesQuery) -> SeriesView | None:
    """None if there is no such series."""
    found = one_series(reader, asked.key)
    if found is None:
        return None
    others = [one_series(reader, key) for key in asked.overlays[:MOST_OVERLAYS] if key != asked.key]
    shown = [_line(reader, one, asked) for one in (found, *others) if one is not None]
    lines, changes = [line for line, _ in shown], _changes(reader, found, asked.branch)
    if not all(has_positions for _, has_positions in shown):
        lines, changes = _numbered_by_time(lines, changes)
    own, *overlays = lines
    return SeriesView(
        own,
        changes,
        _breaks(reader, own),
        tuple(overlays),
        asked.relative,
        asked.zoom,
        asked.branch,
    )


def branches(reader: Reader, key: str) -> tuple[str, ...]:
    """The names of the branches whose commits are in the series."""
    query = (
        select(tables.commits.c.branch)
        .distinct()
        .join(_points, _points.c.commit_id == tables.commits.c.id)
        .join(_series, _points.c.series_id == _series.c.id)
        .where(_series.c.project_id == reader.project, _series.c.key == key, tables.commits.c.branch != "")
        .order_by(tables.commits.c.branch)
        .limit(MOST_BRANCHES)
    )
    return tuple(row.branch for row in reader.rows(query))


def _line(reader: Reader, found: Row[Any], asked: SeriesQuery) -> tuple[LineView, bool]:
    """The line, and whether the positions of all its commits are known."""
    query = (
        select(*POINT_COLUMNS, _points.c.commit_id)
        .select_from(point_joins())
        .where(_points.c.series_id == found.id)
        .order_by(_points.c.commit_time.desc(), _points.c.result_id.desc())
    )
    if asked.branch:
        query = query.where(tables.commits.c.branch == asked.branch)
    rows = (
        reader.rows(query.limit(DRAWN_POINTS)) if asked.zoom is None else _zoomed(reader, query, asked.zoom)
    )
    has_positions = all(row.commit_position is not None for row in rows)
    return LineView(series_name(found), ordered(latest_runs(rows, "commit_id"))), has_positions


def _zoomed(reader: Reader, query: Select[Any], zoom: Zoom) -> Sequence[Row[Any]]:
    """The points between two positions. Where commits have none, all are numbered from the first that is
    drawn, so that the numbers mean something only as long as the same points are.
    """
    first, last = zoom
    place = _points.c.position
    conditions = [
        *([place >= first] if first is not None else []),
        *([place <= last] if last is not None else []),
    ]
    rows = reader.rows(query.where(or_(and_(*conditions), place.is_(None))).limit(MOST_POINTS))
    known = [row for row in rows if row.commit_position is not None]
    if len(known) == len(rows):
        return rows
    newest = reader.rows(query.limit(DRAWN_POINTS))
    return known if all(row.commit_position is not None for row in newest) else newest


def _numbered_by_time(
    lines: Sequence[LineView], changes: Sequence[ChangeView]
) -> tuple[list[LineView], tuple[ChangeView, ...]]:
    """With one numbering of the commits for all lines and changes: what belongs to a commit is drawn at one
    place.
    """
    commits = {point.commit.sha: point.commit for line in lines for point in line.points}
    by_time = sorted(commits.values(), key=lambda one: one.time)
    numbers = {one.sha: number for number, one in enumerate(by_time)}

    def numbered(commit: CommitView) -> CommitView:
        return replace(commit, position=numbers.get(commit.sha, -1))  # -1: it is not drawn

    return [
        replace(line, points=tuple(replace(one, commit=numbered(one.commit)) for one in line.points))
        for line in lines
    ], tuple(
        replace(one, first_bad=numbered(one.first_bad), last_good=numbered(one.last_good)) for one in changes
    )


def ordered(found: Sequence[tuple[Any, str | None]]) -> tuple[PointView, ...]:
    """By position, the oldest first; commits without a position are numbered in the order of their times."""
    by_time = sorted(found, key=lambda one: one[0].commit_time)
    known = [row.commit_position is not None for row, _ in by_time]
    views = [point_view(row, verdict, number) for number, (row, verdict) in enumerate(by_time)]
    if not all(known):
        return tuple(
            replace(one, commit=replace(one.commit, position=number)) for number, one in enumerate(views)
        )
    return tuple(sorted(views, key=lambda one: one.commit.position))


def _changes(reader: Reader, series: Row[Any], branch: str) -> tuple[ChangeView, ...]:
    good, bad = tables.commits.alias("good"), tables.commits.alias("bad")
    changes = tables.changes
    query = (
        select(
            changes.c.kind,
            changes.c.before,
            changes.c.after,
            *commit_columns(good, "good"),
            *commit_columns(bad, "bad"),
        )
        .join(bad, changes.c.first_bad_id == bad.c.id)
        .outerjoin(good, changes.c.last_good_id == good.c.id)
        .where(changes.c.series_id == series.id)
        .order_by(bad.c.time.desc())
        .limit(ROWS_PER_PAGE)
    )
    if branch:
        query = query.where(bad.c.branch == branch)
    rows = reader.rows(query)
    is_of_ratios = bool(rows) and series.metric != "error" and _has_control(reader, series.id)
    return tuple(
        ChangeView(
            row.kind, commit_view(row, "good"), commit_view(row, "bad"), row.before, row.after, is_of_ratios
        )
        for row in rows
    )


def _has_control(reader: Reader, series: int) -> bool:
    """Whether the newest point has one: then the ratios were searched (``records/series.py``)."""
    newest = (
        select(_points.c.ratio)
        .where(_points.c.series_id == series, _points.c.run_type == NORMAL_RUN, _points.c.tainted.is_(False))
        .order_by(_points.c.commit_time.desc(), _points.c.result_id.desc())
    )
    row = reader.first(newest)
    return row is not None and row.ratio is not None


def neighbours(reader: Reader, name: SeriesName) -> list[SeriesName]:
    """The series of the same model in the same unit, which can be drawn with this one."""
    query = (
        select(*SERIES_COLUMNS)
        .join(tables.devices)
        .where(
            _series.c.project_id == reader.project,
            _series.c.net == name.model,
            _series.c.unit == name.unit,
            _series.c.key != name.key,
        )
        .order_by(*(_series.c[one] for one in ("metric", "identifier", "framework", "backend", "key")))
        .limit(MOST_NEIGHBOURS)
    )
    return [series_name(row) for row in reader.rows(query)]


# --- what else than the code differs ------------------------------------------------------------------------


def _breaks(reader: Reader, line: LineView) -> tuple[BreakView, ...]:
    documents = _documents(reader, [one.run for one in line.points])
    facts = {identity: _facts(content) for identity, content in documents.contents.items()}
    found = []
    for before, after in pairwise(line.points):
        old, new = documents.of_run.get(before.run), documents.of_run.get(after.run)
        if old != new and old is not None and new is not None:
            what = _difference(facts[old], facts[new])
            if what:
                found.append(BreakView(after.commit, what))
    return tuple(found)


@dataclass(frozen=True)
class _Documents:
    of_run: Mapping[str, int]
    contents: Mapping[int, Mapping[str, Any]]


def _documents(reader: Reader, runs: Sequence[str]) -> _Documents:
    """The documents of the results with these uids; most share one."""
    results, documents = tables.results, tables.stored_documents
    of_run: dict[str, int] = {}
    for first in range(0, len(runs), DRAWN_POINTS):
        some = runs[first : first + DRAWN_POINTS]
        rows = reader.rows(select(results.c.uid, results.c.document_id).where(results.c.uid.in_(some)))
        of_run.update((row.uid, row.document_id) for row in rows)
    wanted = sorted(set(of_run.values()))
    contents: dict[int, Mapping[str, Any]] = {}
    for first in range(0, len(wanted), DRAWN_POINTS):
        of_some = documents.c.id.in_(wanted[first : first + DRAWN_POINTS])
        rows = reader.rows(select(documents.c.id, documents.c.content).where(of_some))
        contents.update((row.id, orjson.loads(zlib.decompress(row.content))) for row in rows)
    return _Documents(of_run, contents)


def _facts(content: Mapping[str, Any]) -> dict[str, Any]:
    """What a change of is worth a mark: the device's facts, and the versions of libraries."""
    meta = content["meta"]
    program = meta.get("program", {})
    versions = {name: program[name] for name in comparability.PROGRAM_VERSIONS if name in program}
    return {**meta.get("device", {}), **versions}


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """``torch 2.12.0 → 2.13.0, kernel 6.1 → 6.12``."""
    names = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
    return ", ".join(f"{name} {old.get(name, 'unknown')} → {new.get(name, 'unknown')}" for name in names[:3])
