"""The saved runs of two sides, and what their ratios to controls say (``records/evidence.py``)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from sqlalchemy import Text, and_, case, cast, func, literal, select
from sqlalchemy.sql.elements import ColumnElement

from benchmarking.records.comparison import Scatter, Sides
from benchmarking.records.evidence import Runs, SavedRun, by_ratios
from benchmarking.records.series import Moment
from benchmarking.results.model import NET_DELAY, NORMAL_RUN, Verdict
from benchmarking.server import tables
from benchmarking.server.ingest import KNOWN
from benchmarking.server.pages.reading import Reader

CONFIDENCE = 0.95
"""Of saved intervals, whose own is not saved."""

_commits, _points = tables.commits, tables.points
_controls = _commits.alias("control")

NO_RUN = SavedRun(
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


def saved_runs(reader: Reader, condition: ColumnElement[bool]) -> list[SavedRun]:
    """Those whose points meet the condition, the latest last."""
    found = _read(reader, condition)
    if all(one.run_type == NORMAL_RUN for one in found):
        return found
    confirmed = _confirmed(reader, condition)
    return [one._replace(is_confirmed=(one.series, one.uid) in confirmed) for one in found]


def _read(reader: Reader, condition: ColumnElement[bool]) -> list[SavedRun]:
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


# --- ratios to controls -------------------------------------------------------------------------------------


class Pair(NamedTuple):
    """The normal runs of one series on two sides, all with a control."""

    base: Runs
    head: Runs
    scatter: Scatter
    """Of the ratios of the series."""

    @property
    def ends(self) -> Runs:
        return self.base[-1], self.head[-1]


def related(reader: Reader, pairs: Mapping[int, Pair]) -> dict[int, Sides]:
    """By series: what the ratios say, as far as the controls have something in common.

    Runs of older and older controls are read only as far as needed: not below the older of two controls,
    unless the two sides do not meet there.
    """
    found: dict[int, Sides] = {}
    apart = dict(pairs)
    oldest = min((one.control_commit_time or 0 for pair in pairs.values() for one in pair.ends), default=0)
    for floor in (None, oldest, 0):
        history = {} if floor is None else _followed(reader, apart, floor)
        for number, (base, head, scatter) in apart.items():
            sides = by_ratios(base, head, history.get(number, ()), scatter)
            if sides is not None:
                found[number] = sides
        apart = {number: pair for number, pair in apart.items() if number not in found}
    return found


def _followed(reader: Reader, pairs: Mapping[int, Pair], floor: int) -> dict[int, list[SavedRun]]:
    """By series: the runs to which the controls of both sides lead, if these are not older than ``floor``."""
    found: dict[int, list[SavedRun]] = {number: [] for number in pairs}
    new = [one for pair in pairs.values() for one in pair.ends]
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
    own = [one for one in _read(reader, and_(_commits.c.sha == sha, *usable)) if one.series in series]
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
        yield from _read(reader, and_(of_series, _points.c.commit_time == nearest.scalar_subquery(), *usable))
