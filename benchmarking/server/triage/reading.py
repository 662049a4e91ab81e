"""Regressions, devices and searches, read for pages."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from sqlalchemy import Row, Select, exists, func, or_, select
from sqlalchemy.sql.elements import ColumnElement

from benchmarking.reporters import numbers
from benchmarking.results.model import Outcome
from benchmarking.server import tables
from benchmarking.server.pages.reading import (
    ROWS_PER_PAGE,
    SERIES_COLUMNS,
    Reader,
    commit_columns,
    commit_view,
    series_name,
)
from benchmarking.server.triage import grouping
from benchmarking.server.triage.life import OPEN, Regression, State
from benchmarking.server.triage.records import indicator_of, regression_of
from benchmarking.server.triage.views import (
    DeviceView,
    EventView,
    Hit,
    IndicatorView,
    RegressionPage,
    RegressionView,
)

MOST_INDICATORS = 500
MOST_EVENTS = 200
NEWEST_RESULTS = 50
"""The number of results that the health of a device rests on."""
MOST_DEVICES = 500
HITS = 10
"""The number of hits of each kind that a search shows."""
FILTERS = ("open", *State, "all")

_regressions, _indicators, _commits = tables.regressions, tables.indicators, tables.commits
_series, _devices, _results = tables.series, tables.devices, tables.results


# --- regressions --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RegressionQuery:
    show: str = FILTERS[0]
    """A state, ``open`` or ``all``."""
    owner: str = ""
    commits: tuple[str, ...] = ()
    """Only those of these commits."""
    before: int | None = None
    """Only those that were opened earlier than the one with this number."""


def regressions(
    reader: Reader, asked: RegressionQuery, limit: int = ROWS_PER_PAGE
) -> tuple[RegressionView, ...]:
    """The last opened first."""
    query = _select().where(_regressions.c.project_id == reader.project)
    if asked.show == "open":
        query = query.where(_regressions.c.state.in_(OPEN))
    elif asked.show != "all":
        query = query.where(_regressions.c.state == asked.show)
    if asked.owner:
        query = query.where(_regressions.c.owner == asked.owner)
    if asked.commits:
        query = query.where(_commits.c.sha.in_(asked.commits))
    if asked.before is not None:
        query = query.where(_regressions.c.id < asked.before)
    return _views(reader, reader.rows(query.order_by(_regressions.c.id.desc()).limit(limit)))


def regression(reader: Reader, number: int) -> RegressionPage | None:
    query = _select().where(_regressions.c.project_id == reader.project, _regressions.c.id == number)
    found = _views(reader, reader.rows(query))
    if not found:
        return None
    return RegressionPage(found[0], _indicators_of(reader, number), events(reader, number))


def counts(reader: Reader) -> Counter[str]:
    """The number of regressions in each state."""
    query = (
        select(_regressions.c.state, func.count())
        .where(_regressions.c.project_id == reader.project)
        .group_by(_regressions.c.state)
    )
    return Counter(dict(map(tuple, reader.rows(query))))


def events(
    reader: Reader, number: int | None = None, kinds: Collection[str] = (), limit: int = MOST_EVENTS
) -> tuple[EventView, ...]:
    """The newest entries of the audit that concern regressions.

    Args:
        number: only of this regression.
    """
    table = tables.events
    query = select(table).where(table.c.project_id == reader.project, table.c.regression_id.is_not(None))
    if number is not None:
        query = query.where(table.c.regression_id == number)
    if kinds:
        query = query.where(table.c.kind.in_(kinds))
    return tuple(event_view(row) for row in reader.rows(query.order_by(table.c.id.desc()).limit(limit)))


def event_view(row: Row[Any]) -> EventView:
    changes = json.loads(row.detail).get("changes", {})
    return EventView(row.id, row.time, row.actor, row.kind, row.regression_id, changes)


def _select() -> Select[Any]:
    return select(_regressions, *commit_columns()).join(
        _commits, _regressions.c.first_bad_id == _commits.c.id
    )


def _views(reader: Reader, rows: Sequence[Row[Any]]) -> tuple[RegressionView, ...]:
    query = select(_indicators).where(_indicators.c.regression_id.in_([row.id for row in rows]))
    found: dict[int, dict[Any, Any]] = {row.id: {} for row in rows}
    for row in reader.rows(query):
        indicator = indicator_of(row)
        found[row.regression_id][indicator.key] = indicator
    return tuple(_view(row, regression_of(row, found[row.id])) for row in rows)


def _view(row: Row[Any], one: Regression) -> RegressionView:
    off = {key.series for key, indicator in one.indicators.items() if not indicator.is_back}
    count = len({key.series for key in one.indicators})
    return RegressionView(
        id=row.id,
        state=one.state,
        commit=commit_view(row),
        evidence=one.evidence or "",
        worst=grouping.worst(one),
        series=count,
        back=count - len(off),
        owner=one.owner,
        reason=one.reason,
        note=one.note,
        link=one.link,
        opened=row.opened,
        updated=row.updated,
        closed=row.closed,
    )


def _indicators_of(reader: Reader, number: int) -> tuple[IndicatorView, ...]:
    own = [_indicators.c[name] for name in ("source", "ratio", "is_back", "found")]
    query = (
        select(
            *own,
            _indicators.c.type.label("indicator_type"),
            _results.c.uid,
            *commit_columns(),
            *SERIES_COLUMNS,
        )
        .join(_series, _indicators.c.series_id == _series.c.id)
        .join(_devices, _series.c.device_id == _devices.c.id)
        .outerjoin(_results, _indicators.c.result_id == _results.c.id)
        .outerjoin(_commits, _indicators.c.last_good_id == _commits.c.id)
        .where(_indicators.c.regression_id == number)
        .order_by(_indicators.c.ratio.desc().nulls_last(), _indicators.c.id)
        .limit(MOST_INDICATORS)
    )
    return tuple(
        IndicatorView(
            name=series_name(row),
            type=row.indicator_type,
            source=row.source,
            ratio=row.ratio,
            last_good=commit_view(row) if row.commit_sha else None,
            run=row.uid or "",
            is_back=row.is_back,
            found=row.found,
        )
        for row in reader.rows(query)
    )


# --- devices ------------------------------------------------------------------------------------------------


def devices(reader: Reader) -> tuple[DeviceView, ...]:
    """The devices of the project, in the order of their names, also those on which all has failed."""
    of_series = _series.c.device_id == _devices.c.id, _series.c.project_id == reader.project
    count = select(func.count()).select_from(_series).where(*of_series).correlate(_devices)
    query = (
        select(_devices, count.scalar_subquery().label("series"))
        .where(_is_of_project(reader))
        .order_by(_devices.c.name, _devices.c.id)
        .limit(MOST_DEVICES)
    )
    return tuple(_device(reader, row) for row in reader.rows(query))


def _is_of_project(reader: Reader) -> ColumnElement[bool]:
    """Whether a device has results of the project, failed ones included."""
    of_device = (
        exists().where(one.c.device_id == _devices.c.id, one.c.project_id == reader.project)
        for one in (_series, _results)
    )
    return or_(*of_device)


def _device(reader: Reader, row: Row[Any]) -> DeviceView:
    query = (
        select(_results.c.tainted, _results.c.status)
        .where(_results.c.device_id == row.id, _results.c.project_id == reader.project)
        .order_by(_results.c.time.desc(), _results.c.id.desc())
        .limit(NEWEST_RESULTS)
    )
    newest = reader.rows(query)
    reasons = Counter(reason for one in newest for reason in one.tainted.splitlines())
    return DeviceView(
        key=str(row.id),
        name=row.name,
        hash=row.hash,
        series=row.series,
        results=len(newest),
        tainted=sum(bool(one.tainted) for one in newest),
        failed=sum(one.status in (Outcome.FAILED, Outcome.MISSING) for one in newest),
        reasons=tuple(reason for reason, _ in reasons.most_common(3)),
        first_seen=row.first_seen,
        last_seen=row.last_seen,
        facts=json.loads(row.facts),
        conditions=json.loads(row.health),
    )


# --- search -------------------------------------------------------------------------------------------------


def search(reader: Reader, text: str) -> tuple[Hit, ...]:
    """Models, commits, devices and regressions whose names contain the text, whatever its case."""
    return (*_models(reader, text), *_found_commits(reader, text), *_found_devices(reader, text))


def _contains(reader: Reader, column: ColumnElement[str], text: str) -> ColumnElement[bool]:
    """Whatever the case, which SQLite knows of ASCII only; our function takes longer."""
    if text.isascii() or reader.connection.dialect.name != "sqlite":
        return column.icontains(text, autoescape=True)
    return func.instr(func.casefolded(column), text.casefold()) > 0


def _models(reader: Reader, text: str) -> list[Hit]:
    query = (
        select(
            _series.c.net,
            func.count().label("series"),
            func.count(_series.c.device_id.distinct()).label("devices"),
        )
        .where(_series.c.project_id == reader.project, _contains(reader, _series.c.net, text))
        .group_by(_series.c.net)
        .order_by(_series.c.net)
        .limit(HITS)
    )
    return [
        Hit(
            "model",
            row.net,
            f"{numbers.counted(row.devices, 'device')}, {row.series} series",
            f"matrix?{urlencode({'model': row.net})}",
        )
        for row in reader.rows(query)
    ]


def _found_commits(reader: Reader, text: str) -> list[Hit]:
    found = [_contains(reader, _commits.c[name], text) for name in ("subject", "author", "branch")]
    query = (
        select(*commit_columns(), _regressions.c.id.label("regression"), _regressions.c.state)
        .outerjoin(_regressions, _regressions.c.first_bad_id == _commits.c.id)
        .where(
            _commits.c.project_id == reader.project,
            or_(_commits.c.sha.istartswith(text, autoescape=True), *found),
        )
        .order_by(_commits.c.time.desc(), _commits.c.id.desc())
        .limit(HITS)
    )
    hits = []
    for row in reader.rows(query):
        commit = commit_view(row)
        title = commit.subject or commit.sha
        if row.regression is not None:
            hits.append(Hit("regression", title, row.state, f"regressions/{row.regression}"))
        detail = f"{commit.sha[:12]} {commit.author}".rstrip()
        hits.append(Hit("commit", title, detail, f"commit/{quote(commit.sha, safe='')}"))
    return hits


def _found_devices(reader: Reader, text: str) -> list[Hit]:
    query = (
        select(_devices.c.id, _devices.c.name, _devices.c.hash)
        .where(
            _is_of_project(reader),
            or_(
                _contains(reader, _devices.c.name, text),
                _devices.c.hash.istartswith(text, autoescape=True),
            ),
        )
        .order_by(_devices.c.name)
        .limit(HITS)
    )
    return [Hit("device", one.name, one.hash[:12], f"devices#device-{one.id}") for one in reader.rows(query)]
