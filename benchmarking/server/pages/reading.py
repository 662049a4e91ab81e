"""What the queries of several pages share: the pieces of rows, as views."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, FromClause, Row, Select, select
from sqlalchemy.sql.elements import ColumnElement

from benchmarking.results.model import NET_DELAY, NORMAL_RUN
from benchmarking.server import tables
from benchmarking.server.pages.views import CommitView, PointView, SeriesName
from benchmarking.server.projects import DEFAULT_PROJECT

ROWS_PER_PAGE = 50


@dataclass(frozen=True)
class Reader:
    """Reads the results of one project."""

    connection: Connection
    project: int

    def rows(self, query: Select[Any]) -> Sequence[Row[Any]]:
        return self.connection.execute(query).all()

    def first(self, query: Select[Any]) -> Row[Any] | None:
        return self.connection.execute(query.limit(1)).first()


def reader_of(connection: Connection, project: str = DEFAULT_PROJECT) -> Reader:
    """Of the project with this name; without results there is none."""
    found = connection.scalar(select(tables.projects.c.id).where(tables.projects.c.name == project))
    return Reader(connection, found or 0)


# --- commits ------------------------------------------------------------------------------------------------

_COMMIT = ("sha", "time", "position", "branch", "author", "subject")


def commit_columns(table: FromClause = tables.commits, prefix: str = "commit") -> list[ColumnElement[Any]]:
    return [table.c[one].label(f"{prefix}_{one}") for one in _COMMIT]


def commit_view(row: Any, prefix: str = "commit", position: int | None = None) -> CommitView:
    """The commit in the columns that ``commit_columns`` selected.

    Args:
        position: in place of an unknown one.
    """
    sha, time, known, branch, author, subject = (getattr(row, f"{prefix}_{one}") for one in _COMMIT)
    place = known if known is not None else position or 0
    return CommitView(sha or "", time or 0, place, branch or "", author or "", subject or "")


# --- series -------------------------------------------------------------------------------------------------

_series, _devices = tables.series, tables.devices
SERIES_COLUMNS: list[ColumnElement[Any]] = [
    _series.c.key.label("series_key"),
    *(_series.c[one] for one in ("net", "metric", "identifier", "type", "framework", "backend")),
    _series.c.settings,
    _series.c.unit,
    _series.c.higher_is_better,
    _devices.c.name.label("device_name"),
    _devices.c.hash.label("device_hash"),
]
"""Of series joined with their devices."""


PROPERTY_COLUMNS: Mapping[str, str] = {
    "test": "identifier",
    "type": "type",
    "framework": "framework",
    "backend": "backend",
    "device": "device_name",
    "settings": "settings",
}
"""Maps the properties of ``Varying`` to their names in ``SERIES_COLUMNS``."""


def series_name(row: Any) -> SeriesName:
    return SeriesName(
        row.series_key,
        row.net,
        row.identifier,
        row.metric,
        row.type,
        row.framework,
        row.backend,
        row.device_name,
        row.device_hash,
        row.settings,
        row.unit,
        not row.higher_is_better,
    )


def is_shown() -> ColumnElement[bool]:
    """Whole nets, not the smaller series beside them, such as memory."""
    return _series.c.type == NET_DELAY


# --- points -------------------------------------------------------------------------------------------------

_points, _results = tables.points, tables.results
_controls = tables.commits.alias("control")
POINT_COLUMNS: list[ColumnElement[Any]] = [
    *(_points.c[one] for one in ("value", "low", "high", "ratio", "ratio_low", "ratio_high", "verdict")),
    _points.c.run_type,
    _points.c.tainted.label("is_tainted"),
    _points.c.time.label("run_time"),
    _results.c.uid,
    _results.c.tainted.label("taints"),
    _controls.c.sha.label("control_sha"),
    *commit_columns(),
]
"""Of ``point_joins``."""


def point_joins() -> FromClause:
    return (
        _points.join(tables.commits, _points.c.commit_id == tables.commits.c.id)
        .join(_results, _points.c.result_id == _results.c.id)
        .outerjoin(_controls, _points.c.control_commit_id == _controls.c.id)
    )


def point_view(row: Any, verdict: str | None, position: int | None = None) -> PointView:
    return PointView(
        commit_view(row, position=position),
        row.value,
        row.low,
        row.high,
        row.ratio,
        row.ratio_low,
        row.ratio_high,
        row.control_sha,
        verdict or "",
        tuple(row.taints.splitlines()) or (("tainted",) if row.is_tainted else ()),
        row.uid,
    )


def latest_runs(rows: Iterable[Any], key: str) -> list[tuple[Any, str | None]]:
    """Of the rows with the same value of the column ``key``: that of the latest normal run, with its verdict.

    A run that confirms a regression has no place of its own; it makes the verdict of the normal run final.
    """
    latest: dict[Any, Any] = {}
    verdicts: dict[Any, tuple[int, str]] = {}
    for row in rows:
        place = getattr(row, key)
        if row.run_type == NORMAL_RUN:
            if place not in latest or row.run_time >= latest[place].run_time:
                latest[place] = row
        elif row.verdict and row.run_time >= verdicts.get(place, (0, ""))[0]:
            verdicts[place] = row.run_time, row.verdict
    found = []
    for place, row in latest.items():
        time, verdict = verdicts.get(place, (-1, ""))
        found.append((row, verdict if time >= row.run_time else row.verdict))
    return found


def one_series(reader: Reader, key: str) -> Row[Any] | None:
    query = select(_series.c.id, _series.c.device_id, *SERIES_COLUMNS).join(_devices)
    return reader.first(query.where(_series.c.project_id == reader.project, _series.c.key == key))
