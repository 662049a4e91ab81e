"""The level of a series and the scatter of its runs, from its newest points."""

from __future__ import annotations

from statistics import median
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from benchmarking.records.comparison import RECENT_RUNS
from benchmarking.records.evidence import Measured, ratio_scatter, value_scatter
from benchmarking.results.model import NORMAL_RUN
from benchmarking.server.tables import points, series

NEWEST_RUNS = 2 * RECENT_RUNS
"""Of a commit with several runs only the last counts."""

_SERIES = select(series.c.id)
_NEWEST = (
    select(
        points.c.commit_id,
        points.c.commit_time,
        points.c.position,
        points.c.value,
        points.c.ratio,
        points.c.control_commit_id,
    )
    .where(
        points.c.series_id == bindparam("series"),
        points.c.run_type == NORMAL_RUN,
        points.c.tainted.is_(False),
    )
    .order_by(points.c.commit_time.desc(), points.c.position.desc().nulls_last(), points.c.time.desc())
    .limit(NEWEST_RUNS)
)
_CHANGED = update(series).where(series.c.id == bindparam("row"))


def refresh(connection: Connection, own: int) -> None:
    """Of the series with this row: from its newest untainted normal runs."""
    rows = connection.execute(_NEWEST, {"series": own}).all()
    connection.execute(_CHANGED, {"row": own, **_described([Measured(*one) for one in reversed(rows)])})


def refresh_all(connection: Connection) -> None:
    """After a migration."""
    for own in connection.scalars(_SERIES).all():
        refresh(connection, own)


def _described(runs: list[Measured]) -> dict[str, Any]:
    positive = [one.value for one in runs[-RECENT_RUNS:] if one.value > 0]
    of_values, of_ratios = value_scatter(runs), ratio_scatter(runs)
    return {
        "level": median(positive) if positive else None,
        "scatter": of_values.deviation if of_values else None,
        "scatter_runs": of_values.runs if of_values else None,
        "ratio_scatter": of_ratios.deviation if of_ratios else None,
        "ratio_runs": of_ratios.runs if of_ratios else None,
    }
