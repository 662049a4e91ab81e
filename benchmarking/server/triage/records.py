"""Regressions in the database: read, found, changed, each with its entry in the audit."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, or_, select, update

from benchmarking.server.tables import commits, deliveries, events, indicators, regressions, webhooks
from benchmarking.server.triage.grouping import Placed
from benchmarking.server.triage.life import SILENT, Indicator, IndicatorKey, Regression, Source, State

SERVER = "server"
"""The actor of what follows from measurements."""
OPENED, REOPENED, EDITED = "opened", "reopened", "edited"
FOUND, MOVED, MERGED = "found", "moved", "merged"
"""The kinds of events that are not named after a state."""


MOST_DELIVERIES = 20
"""The number that is remembered of each webhook."""
NEWS = '"is_news": true}'
"""The end of the detail of an event that others are notified of."""


@dataclass(frozen=True)
class Change:
    """Who changes regressions, and when."""

    actor: str
    time: int
    """Unix seconds."""
    is_news: bool = True
    """False: it concerns old measurements; nobody is notified."""


def change_of(actor: str) -> Change:
    """What somebody changes now."""
    return Change(actor, int(time.time()))


# --- reading ------------------------------------------------------------------------------------------------


def with_commits_or_series(
    connection: Connection, project: int, commits: Collection[int], series: int
) -> list[Placed]:
    """The regressions of the commits, and those with an indicator of the series."""
    of_series = select(indicators.c.regression_id).where(indicators.c.series_id == series)
    where = or_(regressions.c.first_bad_id.in_(commits), regressions.c.id.in_(of_series))
    query = select(regressions).where(regressions.c.project_id == project, where)
    return _placed(connection, connection.execute(query.order_by(regressions.c.id)).all())


def one(connection: Connection, project: int, row: int) -> Placed | None:
    query = select(regressions).where(regressions.c.id == row, regressions.c.project_id == project)
    return next(iter(_placed(connection, connection.execute(query).all())), None)


def _placed(connection: Connection, rows: Sequence[Row[Any]]) -> list[Placed]:
    query = select(indicators).where(indicators.c.regression_id.in_([row.id for row in rows]))
    found: dict[int, dict[IndicatorKey, Indicator]] = {row.id: {} for row in rows}
    for row in connection.execute(query.order_by(indicators.c.id)):
        indicator = indicator_of(row)
        found[row.regression_id][indicator.key] = indicator
    return [Placed(row.id, row.first_bad_id, regression_of(row, found[row.id])) for row in rows]


def regression_of(row: Row[Any], found: Mapping[IndicatorKey, Indicator]) -> Regression:
    """
    Args:
        row: of the table.
        found: its indicators.
    """
    state = State(row.state)
    return Regression(
        indicators=MappingProxyType(dict(found)),
        closed_as=state if state in (State.FIXED, *SILENT) else None,
        is_confirmed=row.confirmed,
        owner=row.owner,
        reason=row.reason,
        note=row.note,
        link=row.link,
    )


def indicator_of(row: Row[Any]) -> Indicator:
    return Indicator(
        key=IndicatorKey(row.series_id, row.type),
        source=Source(row.source),
        before=row.before,
        after=row.after,
        result=row.result_id,
        last_good=row.last_good_id,
        is_back=row.is_back,
    )


# --- writing ------------------------------------------------------------------------------------------------


def add(connection: Connection, project: int, commit: int, new: Regression, change: Change) -> int:
    """A new regression; returns its row.

    Raises:
        IntegrityError: the commit has one already.
    """
    values = {
        **_values(new, change),
        "project_id": project,
        "first_bad_id": commit,
        "last_good_id": _last_good(new),
        "opened": change.time,
        "closed": None if new.is_open else change.time,
    }
    row = int(connection.execute(insert(regressions).values(values).returning(regressions.c.id)).scalar_one())
    _write_indicators(connection, row, {}, new.indicators, change)
    _audit(connection, project, row, OPENED, {"state": ["", new.state]}, change)
    if not new.is_open:
        _audit(connection, project, row, new.state, {"reason": ["", new.reason]}, change)
    return row


def save(connection: Connection, project: int, placed: Placed, new: Regression, change: Change) -> bool:
    """Writes what has changed. Returns whether anything has that people see."""
    old = placed.regression
    if old == new:
        return False
    _write_indicators(connection, placed.row, old.indicators, new.indicators, change)
    differences = _differences(old, new)
    if not differences:
        return False
    values = {**_values(new, change), "last_good_id": _last_good(new)}
    if old.is_open != new.is_open:
        values["closed"] = None if new.is_open else change.time
    connection.execute(update(regressions).where(regressions.c.id == placed.row).values(values))
    _audit(connection, project, placed.row, _kind(old, new), differences, change)
    return True


def move(connection: Connection, project: int, placed: Placed, commit: int, change: Change) -> None:
    """The regression belongs to another commit, which has none."""
    query = update(regressions).where(regressions.c.id == placed.row)
    connection.execute(query.values(first_bad_id=commit, updated=change.time))
    of_both = select(commits.c.id, commits.c.sha).where(commits.c.id.in_((placed.commit, commit)))
    names = {row.id: row.sha for row in connection.execute(of_both)}
    both = [names[placed.commit], names[commit]]
    _audit(connection, project, placed.row, MOVED, {"commit": both}, change)


def step_aside(connection: Connection, project: int, row: int) -> int:
    """Frees the commit of a regression that is moved next; returns the row of the commit that it has
    meanwhile, which exists for this alone.
    """
    values = {"project_id": project, "sha": f"aside {row}", "time": 0}
    aside = int(connection.execute(insert(commits).values(values).returning(commits.c.id)).scalar_one())
    connection.execute(update(regressions).where(regressions.c.id == row).values(first_bad_id=aside))
    return aside


def forget_aside(connection: Connection, aside: Sequence[int]) -> None:
    if aside:
        connection.execute(delete(commits).where(commits.c.id.in_(aside)))


def merge(connection: Connection, project: int, absorbed: int, into: int, change: Change) -> None:
    """Removes a regression whose indicators belong to another; its audit goes on there."""
    connection.execute(update(events).where(events.c.regression_id == absorbed).values(regression_id=into))
    connection.execute(delete(indicators).where(indicators.c.regression_id == absorbed))
    connection.execute(delete(regressions).where(regressions.c.id == absorbed))
    _audit(connection, project, into, MERGED, {"merged": [absorbed, into]}, change)


def merged_into(connection: Connection, project: int, absorbed: int) -> int | None:
    """The regression that a former one is part of now."""
    is_own = events.c.project_id == project, events.c.kind == MERGED
    query = select(events.c.regression_id, events.c.detail).where(*is_own)
    found = {
        json.loads(row.detail)["changes"]["merged"][0]: row.regression_id for row in connection.execute(query)
    }
    return found.get(absorbed)


# --- webhooks -----------------------------------------------------------------------------------------------


def add_webhook(
    connection: Connection, url: str, kinds: Sequence[str], change: Change, project: int | None = None
) -> int:
    """A webhook for what happens from now on; returns its row."""
    newest = connection.execute(select(func.max(events.c.id))).scalar() or 0
    values = {
        "url": url,
        "kinds": json.dumps(list(kinds)),
        "last_event_id": newest,
        "project_id": project,
    }
    query = insert(webhooks).values(values).returning(webhooks.c.id)
    row = int(connection.execute(query).scalar_one())
    _audit(connection, None, None, "webhook added", {"webhook": ["", row]}, change)
    return row


def remove_webhook(connection: Connection, row: int, change: Change) -> bool:
    """Whether there was such a webhook."""
    if not connection.execute(delete(webhooks).where(webhooks.c.id == row)).rowcount:
        return False
    _audit(connection, None, None, "webhook removed", {"webhook": [row, ""]}, change)
    return True


def add_delivery(connection: Connection, webhook: int, kind: str, text: str, problem: str) -> None:
    """Remembers an attempt, and forgets the oldest; of a webhook that was removed meanwhile, nothing."""
    if connection.scalar(select(webhooks.c.id).where(webhooks.c.id == webhook)) is None:
        return
    values = {"webhook_id": webhook, "time": int(time.time()), "kind": kind, "text": text, "problem": problem}
    connection.execute(insert(deliveries).values(values))
    of_webhook = deliveries.c.webhook_id == webhook
    newest = select(deliveries.c.id).where(of_webhook).order_by(deliveries.c.id.desc())
    oldest = connection.scalars(newest.offset(MOST_DELIVERIES)).all()
    connection.execute(delete(deliveries).where(deliveries.c.id.in_(oldest)))


# --- inside -------------------------------------------------------------------------------------------------


def _values(one: Regression, change: Change) -> dict[str, Any]:
    return {
        "state": one.state,
        "confirmed": one.is_confirmed,
        "owner": one.owner,
        "reason": one.reason,
        "note": one.note,
        "link": one.link,
        "updated": change.time,
    }


def _last_good(one: Regression) -> int | None:
    """From the strongest evidence."""
    found = sorted(one.indicators.values(), key=lambda indicator: -indicator.source.strength)
    return next((indicator.last_good for indicator in found if indicator.last_good is not None), None)


def _write_indicators(
    connection: Connection,
    row: int,
    old: Mapping[IndicatorKey, Indicator],
    new: Mapping[IndicatorKey, Indicator],
    change: Change,
) -> None:
    for key, indicator in new.items():
        known = old.get(key)
        if known == indicator:
            continue
        values = {
            "result_id": indicator.result,
            "last_good_id": indicator.last_good,
            "source": indicator.source,
            "before": indicator.before,
            "after": indicator.after,
            "ratio": indicator.ratio,
            "is_back": indicator.is_back,
        }
        if known is not None:
            connection.execute(update(indicators).where(*_is(row, key)).values(values))
            continue
        named = {"regression_id": row, "series_id": key.series, "type": key.type, "found": change.time}
        connection.execute(insert(indicators).values({**values, **named}))
    for key in old.keys() - new.keys():
        connection.execute(delete(indicators).where(*_is(row, key)))


def _is(row: int, key: IndicatorKey) -> Iterable[Any]:
    return (
        indicators.c.regression_id == row,
        indicators.c.series_id == key.series,
        indicators.c.type == key.type,
    )


def _differences(old: Regression, new: Regression) -> dict[str, Any]:
    """What people see, before and after."""
    names = ("state", "is_confirmed", "owner", "reason", "note", "link")
    found = {name: [getattr(old, name), getattr(new, name)] for name in names}
    found["indicators"] = [len(old.indicators), len(new.indicators)]
    found["evidence"] = [old.evidence, new.evidence]
    return {name: both for name, both in found.items() if both[0] != both[1]}


def _kind(old: Regression, new: Regression) -> str:
    if old.state is not new.state:
        return REOPENED if new.is_open and not old.is_open else new.state
    return FOUND if old.indicators.keys() != new.indicators.keys() else EDITED


def _audit(
    connection: Connection,
    project: int | None,
    row: int | None,
    kind: str,
    detail: Mapping[str, Any],
    change: Change,
) -> None:
    values = {
        "project_id": project,
        "time": change.time,
        "actor": change.actor,
        "kind": kind,
        "regression_id": row,
        "detail": json.dumps({"changes": detail, "is_news": change.is_news}),
    }
    connection.execute(insert(events).values(values))
