"""What is red, since when, and by whom; and the same of a single commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, and_, func, select

from benchmarking.results.model import Verdict
from benchmarking.server import tables
from benchmarking.server.pages.reading import (
    POINT_COLUMNS,
    ROWS_PER_PAGE,
    SERIES_COLUMNS,
    Reader,
    commit_columns,
    commit_view,
    is_shown,
    latest_runs,
    point_joins,
    point_view,
    series_name,
)
from benchmarking.server.pages.views import CommitView, MeasuredRow, StripBar
from benchmarking.server.triage.reading import RegressionQuery, counts, devices, regressions
from benchmarking.server.triage.views import DeviceView, RegressionView

STRIP_COMMITS = 60
SHORTEST_HASH = 4
"""As for git."""

_commits, _series, _devices, _points = tables.commits, tables.series, tables.devices, tables.points


@dataclass(frozen=True)
class OverviewView:
    series: int
    """The number of all series of whole nets."""
    newest: CommitView | None
    strip: tuple[StripBar, ...]
    """Oldest first."""
    regressions: tuple[RegressionView, ...]
    """The last opened of those that are open."""
    states: Mapping[str, int]
    """The number of regressions in each state."""
    slower: tuple[MeasuredRow, ...]
    """At the newest commit, the largest change first."""
    devices: tuple[DeviceView, ...]


@dataclass(frozen=True)
class CommitPage:
    commit: CommitView
    before: str | None
    """The hash of the commit with results before it."""
    regressions: tuple[RegressionView, ...]
    rows: tuple[MeasuredRow, ...]


def overview_view(reader: Reader) -> OverviewView:
    strip = _strip(reader)
    newest = strip[-1].commit if strip else None
    measured = measured_at(reader, newest.sha, Verdict.REGRESSED) if newest else ()
    slower = [one for one in measured if one.point.verdict == Verdict.REGRESSED]
    count = (
        select(func.count()).select_from(_series).where(_series.c.project_id == reader.project, is_shown())
    )
    return OverviewView(
        int(reader.connection.execute(count).scalar_one()),
        newest,
        strip,
        regressions(reader, RegressionQuery()),
        counts(reader),
        tuple(sorted(slower, key=lambda one: -(one.point.ratio or 0))),
        devices(reader),
    )


def _strip(reader: Reader) -> tuple[StripBar, ...]:
    """The newest commits, the oldest of them first."""
    summaries = tables.commit_summaries
    query = (
        select(
            summaries.c.measured,
            summaries.c.regressed,
            summaries.c.improved,
            *commit_columns(),
        )
        .join(_commits, summaries.c.commit_id == _commits.c.id)
        .where(summaries.c.project_id == reader.project)
        .order_by(_commits.c.time.desc(), _commits.c.id.desc())
        .limit(STRIP_COMMITS)
    )
    rows = sorted(reader.rows(query), key=lambda row: (row.commit_time, row.commit_position or 0))
    if all(row.commit_position is not None for row in rows):
        rows.sort(key=lambda row: row.commit_position)
    return tuple(
        StripBar(commit_view(row, position=number), row.regressed, row.improved, row.measured)
        for number, row in enumerate(rows)
    )


# --- a commit -----------------------------------------------------------------------------------------------


def commit_of(reader: Reader, sha: str) -> Row[Any] | None:
    """The commit with this hash, or the only one that begins with it."""
    query = select(_commits.c.id, _commits.c.parent, *commit_columns()).where(
        _commits.c.project_id == reader.project
    )
    exact = reader.first(query.where(_commits.c.sha == sha))
    if exact is not None or len(sha) < SHORTEST_HASH or not sha.isalnum():
        return exact
    # Not up to some text behind it: PostgreSQL sorts texts as its locale does.
    begins = func.substr(_commits.c.sha, 1, len(sha)) == sha
    found = reader.rows(query.where(_commits.c.sha >= sha, begins).limit(2))
    return found[0] if len(found) == 1 else None


def measured_at(reader: Reader, sha: str, verdict: Verdict | None = None) -> tuple[MeasuredRow, ...]:
    """The series at a commit, in the order of their names.

    Args:
        verdict: only series of which a run has it.
    """
    query = (
        select(*POINT_COLUMNS, _points.c.series_id, *SERIES_COLUMNS)
        .select_from(
            point_joins()
            .join(_series, _points.c.series_id == _series.c.id)
            .join(_devices, _series.c.device_id == _devices.c.id)
        )
        .where(_commits.c.project_id == reader.project, _commits.c.sha == sha)
        .order_by(_series.c.net, _series.c.identifier, _series.c.key)
    )
    if verdict is not None:
        # Not for each point by itself: PostgreSQL would read the whole series each time.
        having, at = _points.alias("having_verdict"), _commits.alias("at")
        those = select(having.c.series_id).join(at, having.c.commit_id == at.c.id)
        those = those.where(at.c.project_id == reader.project, at.c.sha == sha, having.c.verdict == verdict)
        query = query.where(_points.c.series_id.in_(those))
    found = latest_runs(reader.rows(query), "series_id")
    return tuple(MeasuredRow(series_name(row), point_view(row, final)) for row, final in found)


def commit_before(reader: Reader, commit: CommitView, parent: str) -> str | None:
    """The hash of the commit with results before this one: its parent, or else the one before in order."""
    if parent and commit_of(reader, parent) is not None:
        return parent
    query = (
        select(_commits.c.sha)
        .join(tables.commit_summaries, tables.commit_summaries.c.commit_id == _commits.c.id)
        .where(_commits.c.project_id == reader.project)
        .order_by(_commits.c.time.desc(), _commits.c.id.desc())
    )
    older = _commits.c.time < commit.time
    if commit.branch:
        older = and_(older, _commits.c.branch == commit.branch)
    row = reader.first(query.where(older))
    return row.sha if row else None


def suggestions(reader: Reader) -> list[tuple[str, str]]:
    """The newest commits and branches with results, for a field to complete: what to write, and a label."""
    query = (
        select(*commit_columns())
        .join(tables.commit_summaries, tables.commit_summaries.c.commit_id == _commits.c.id)
        .where(_commits.c.project_id == reader.project)
        .order_by(_commits.c.time.desc(), _commits.c.id.desc())
        .limit(ROWS_PER_PAGE)
    )
    commits = [commit_view(row) for row in reader.rows(query)]
    branches = dict.fromkeys(one.branch for one in commits if one.branch)
    return [
        *((f"branch:{one}", "its newest commit") for one in branches),
        *((one.sha, one.subject) for one in commits),
    ]
