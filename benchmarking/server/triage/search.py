"""Searches a series of the database for changes, and brings its regressions up to date."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from benchmarking.records.series import Point
from benchmarking.results.model import NET_DELAY, NORMAL_RUN, Interval, Outcome, TypeResult
from benchmarking.server import packing
from benchmarking.server.store import Store
from benchmarking.server.tables import changes, commits, points, results, series, stored_documents
from benchmarking.server.triage import findings, records
from benchmarking.server.triage.draft import Draft
from benchmarking.server.triage.findings import (
    SETTLED,
    Located,
    Observation,
    Order,
    SeriesHistory,
    Verdict,
)
from benchmarking.server.triage.grouping import commits_of
from benchmarking.server.triage.life import Indicator, IndicatorKey, Measured
from benchmarking.server.triage.records import SERVER, Change

MOST_POINTS = 1000
"""The newest that are searched, in 85 ms."""
NEWS_S = 86_400
"""Who imports older results does not want to be notified of them."""

_controls = commits.alias()
_COLUMNS = (
    *(points.c.result_id, points.c.time, points.c.value, points.c.ratio, points.c.ratio_low),
    *(points.c.ratio_high, points.c.verdict, points.c.run_type, points.c.tainted),
    *(results.c.status, results.c.regressed),
    *(commits.c.id.label("commit_id"), commits.c.sha, commits.c.position),
    commits.c.time.label("commit_time"),
    *(_controls.c.id.label("control_id"), _controls.c.sha.label("control_sha")),
    *(_controls.c.position.label("control_position"), _controls.c.time.label("control_time")),
)


def stale(connection: Connection, limit: int) -> list[int]:
    """Series with points that were not searched yet."""
    query = select(series.c.id).where(series.c.unsearched > 0)
    return list(connection.execute(query.order_by(series.c.id).limit(limit)).scalars())


def search(store: Store, series_id: int, now: int) -> bool:
    """Brings the changes and the regressions of a series up to date, whatever was known before. Returns
    whether people see a difference.

    Reads and computes first, because nobody else writes meanwhile.
    """
    with store.reading() as connection:
        row = connection.execute(select(series).where(series.c.id == series_id)).one()
        found = _Series(connection, row)
    located, traced = found.located()
    with store.writing() as connection:
        is_changed = _write_changes(connection, series_id, found.changes, now)
        draft = Draft(
            records.with_commits_or_series(connection, row.project_id, commits_of(located), series_id)
        )
        for (late, cause), keys in traced.items():
            draft.trace(late, cause, frozenset(keys))
        for one in located:
            draft.add(one)
        for commit, indicator in draft.open_indicators(series_id):
            is_back = found.is_back(connection, commit, indicator)
            draft.apply(commit, Measured(indicator.key, is_back))
        change = Change(SERVER, now, is_news=found.newest > now - NEWS_S)
        is_changed |= draft.save(connection, row.project_id, change)
        left = series.c.unsearched - row.unsearched
        connection.execute(update(series).where(series.c.id == series_id).values(unsearched=left))
    return is_changed


class _Series:
    """The points of a series, as ``findings`` wants them."""

    def __init__(self, connection: Connection, row: Any) -> None:
        self._type, self._has_operators = row.type, row.type == NET_DELAY
        self._rows = _rows(connection, row.id)
        self._has_positions = all(one.position is not None for one in self._rows)
        self._verdicts = [self._verdict(one) for one in self._rows if one.status == Outcome.REGRESSED]
        latest: dict[int, Any] = {}
        for one in self._rows:
            if one.run_type == NORMAL_RUN and not one.tainted:
                latest[one.commit_id] = one
        self._latest = latest
        self._history = SeriesHistory(
            series=row.id,
            type=row.type,
            observations=[
                self._observation(one, one.value, one.ratio)
                for one in sorted(latest.values(), key=self._order)
            ],
            is_lower_better=not row.higher_is_better,
            is_error=row.metric == "error",
        )
        self.changes = findings.changes(self._history)
        self.newest = max((one.time for one in self._rows), default=0)
        """When the newest was measured."""

    def located(self) -> tuple[list[Located], Mapping[tuple[int, int], set[IndicatorKey]]]:
        """The indicators; and those that the loop traced from one commit to another."""
        located = []
        traced: dict[tuple[int, int], set[IndicatorKey]] = {}
        for type_name in sorted({name for one in self._verdicts for name in one.levels}):
            of_type = replace(self._history, type=type_name)
            confirmed, causes = findings.confirmed(of_type, self._verdicts)
            located += confirmed
            for both in causes.items():
                traced.setdefault(both, set()).add(of_type.key)
        # Verdicts first: they are exact, and advice joins them.
        located += map(self._in_range_of_verdicts, findings.advice(self._history, self.changes))
        return located, traced

    def _in_range_of_verdicts(self, advice: Located) -> Located:
        """A step between the commit of a verdict and its control is what the verdict is about."""
        order = next(one.order for one in self._history.observed if one.commit == advice.commit)
        around = tuple(
            one.commit
            for one in self._verdicts
            if self._type in one.levels
            and one.control_order is not None
            and one.control_order < order <= one.order
        )
        return replace(advice, near=(*advice.near, *around))

    def is_back(self, connection: Connection, commit: int, indicator: Indicator) -> bool:
        """
        Args:
            commit: that of the regression.
        """
        row = connection.execute(
            select(commits.c.position, commits.c.time.label("commit_time")).where(commits.c.id == commit)
        ).one()
        if self._has_positions and row.position is None:
            return False
        order, history = self._order(row), self._history
        if indicator.key.type != history.type:
            history = self._of_operator(connection, indicator, order)
        return findings.is_back(history, order, indicator)

    def _of_operator(self, connection: Connection, indicator: Indicator, order: Order) -> SeriesHistory:
        """Only the points that show whether it is back."""
        index, observed = self._history.index(order), self._history.observed
        chosen = [*observed[self._history.good(indicator)], *observed[index : index + 1]]
        chosen += observed[index + 1 :][-SETTLED:]
        nearby = [self._latest[one.commit] for one in chosen]
        name = indicator.key.type
        types = _types(connection, nearby)
        observations = [
            self._observation(one, found.summary.p50, None)
            for one in nearby
            for found in types[one.result_id]
            if found.type == name
        ]
        return replace(self._history, type=name, observations=observations)

    def _order(self, row: Any) -> Order:
        return self._place(row.position, row.commit_time)

    def _place(self, position: int | None, time: int) -> Order:
        return (position or 0, time) if self._has_positions else (time, position or 0)

    def _observation(self, row: Any, value: float, ratio: float | None) -> Observation:
        has_interval = row.ratio_low is not None and row.ratio_high is not None
        point = Point(
            commit=row.sha,
            commit_time=row.commit_time,
            value=value,
            ratio=ratio,
            ratio_interval=Interval(row.ratio_low, row.ratio_high, 0.95) if has_interval else None,
            control_commit=row.control_sha,
            control_commit_time=row.control_time,
            position=row.position,
        )
        return Observation(row.commit_id, self._order(row), point)

    def _verdict(self, row: Any) -> Verdict:
        is_placed = row.control_id is not None and not (self._has_positions and row.control_position is None)
        control = self._place(row.control_position, row.control_time) if is_placed else None
        return Verdict(
            result=row.result_id,
            commit=row.commit_id,
            order=self._order(row),
            control=row.control_id,
            control_order=control,
            time=row.time,
            levels={
                name: (0.0, row.value) if ratio is None else (1.0, ratio)
                for name, ratio in json.loads(row.regressed).items()
                if self._has_operators or name == self._type
            },
        )


def _rows(connection: Connection, series_id: int) -> Sequence[Any]:
    """The newest points of a series, in the order in which they were measured."""
    query = (
        select(*_COLUMNS)
        .join_from(points, results, points.c.result_id == results.c.id)
        .join(commits, points.c.commit_id == commits.c.id)
        .outerjoin(_controls, points.c.control_commit_id == _controls.c.id)
        .where(points.c.series_id == series_id)
        .order_by(points.c.commit_time.desc(), points.c.result_id.desc())
        .limit(MOST_POINTS)
    )
    return sorted(connection.execute(query), key=lambda one: (one.time, one.result_id))


def _types(connection: Connection, rows: Sequence[Any]) -> Mapping[int, Sequence[TypeResult]]:
    """The types of results, without samples."""
    query = (
        select(results.c.id, stored_documents.c.content, results.c.detail, results.c.operators)
        .join(stored_documents)
        .where(results.c.id.in_([one.result_id for one in rows]))
    )
    return {
        row.id: packing.unpack(packing.Packed(row.content, row.detail, row.operators, None)).types
        for row in connection.execute(query)
    }


def _write_changes(
    connection: Connection, series_id: int, found: Sequence[findings.Change], now: int
) -> bool:
    """Returns whether they differ from those of the last search."""
    query = select(changes).where(changes.c.series_id == series_id).order_by(changes.c.id)
    known = {
        findings.Change(
            one.kind == "creep", one.last_good_id, one.first_bad_id, one.before, one.after
        ): one.found
        for one in connection.execute(query)
    }
    if list(known) == list(found):
        return False
    connection.execute(delete(changes).where(changes.c.series_id == series_id))
    since = {(one.is_creep, one.first_bad): seconds for one, seconds in known.items()}
    rows = [
        {
            "series_id": series_id,
            "kind": "creep" if one.is_creep else "step",
            "last_good_id": one.last_good,
            "first_bad_id": one.first_bad,
            "before": one.before,
            "after": one.after,
            "found": since.get((one.is_creep, one.first_bad), now),
        }
        for one in found
    ]
    if rows:
        connection.execute(insert(changes), rows)
    return True
