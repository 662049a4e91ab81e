"""From results to rows: idempotent, with the sums and newest values that pages need.

A result is known by its id. Everything of one call happens in one transaction; in it, the values of a series
and of a commit that pages show are brought up to date, so that no page has to search all points.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Insert, Row, Select, Table, Update, bindparam, insert, select, update

from benchmarking.records.series import LARGEST_LEVEL
from benchmarking.results import comparability, documents
from benchmarking.results.model import NET_DELAY, NORMAL_RUN, Failure, Result, TypeResult, Verdict
from benchmarking.server import levels, packing, projects
from benchmarking.server.admission import admit
from benchmarking.server.projects import DEFAULT_PROJECT
from benchmarking.server.store import Store
from benchmarking.server.tables import (
    commit_summaries,
    commits,
    devices,
    points,
    results,
    runs,
    series,
    stored_documents,
)
from benchmarking.specs.run_info import is_program_commit

KNOWN = "known"
HIGHER_IS_BETTER = "higher_is_better"
"""A fact of the program (``Program.facts``) whose values are better when they are higher."""
_BATCH = 500


@dataclass(frozen=True)
class Ingested:
    accepted: int
    """The number of new results, ..."""
    known: int
    """... and of those that had been there."""
    series: frozenset[int] = frozenset()
    """The rows of the series with new points."""


def ingest(
    store: Store,
    given: Sequence[Result],
    *,
    project: str = DEFAULT_PROJECT,
    source: str = "",
    then: Callable[[Connection, Ingested], None] = lambda connection, ingested: None,
) -> Ingested:
    """Adds the results that are not known yet.

    Args:
        source: whose they are, for people.
        then: called in the same transaction, if anything is new.

    Raises:
        RefusedError: a result cannot be stored; none of them is.
        sqlalchemy.exc.DBAPIError: the database failed; nothing was stored.
    """
    admitted = {one.provenance.uid: one for one in map(admit, map(identified, given))}
    # Packing takes longer than writing, and other writers need not wait for it.
    packed = {uid: packing.pack(one) for uid, one in admitted.items()}
    with store.writing() as connection:
        found = _known(connection, list(admitted))
        new = [(one, packed[uid]) for uid, one in admitted.items() if uid not in found]
        if not new:
            return Ingested(0, len(given))
        writer = _Writer(connection, project, source)
        for one, blobs in new:
            writer.add(one, blobs)
        writer.finish()
        ingested = Ingested(len(new), len(given) - len(new), frozenset(writer.changed))
        then(connection, ingested)
    return ingested


def identified(result: Result) -> Result:
    """With an id: that of older versions is the hash of their content."""
    origin = result.provenance
    if origin.uid and origin.run_uid:
        return result
    uid = origin.uid or sha256(documents.dumps(documents.result_json(result)).encode()).hexdigest()[:32]
    return replace(result, provenance=replace(origin, uid=uid, run_uid=origin.run_uid or uid))


def series_key(project: int, result: Result, kind: str, settings: str) -> str:
    test = result.test
    identity = [project, test.net, test.metric, test.identifier, kind, test.framework, test.backend]
    text = json.dumps([*identity, test.device, result.device.name, settings])
    return sha256(text.encode()).hexdigest()[:16]


def _known(connection: Connection, uids: Sequence[str]) -> set[str]:
    return {
        uid
        for start in range(0, len(uids), _BATCH)
        for uid in connection.scalars(_KNOWN_UIDS, {"uids": uids[start : start + _BATCH]})
    }


@dataclass
class _Sums:
    """What a commit's summary gains."""

    measured: int = 0
    regressed: int = 0
    improved: int = 0
    failed: int = 0
    tainted: int = 0
    log_ratio_sum: float = 0.0
    ratios: int = 0
    log_level_sum: float = 0.0
    levels: int = 0

    def add(self, other: _Sums, sign: int = 1) -> None:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + sign * value)


@dataclass
class _Writer:
    """Writes results in one transaction, and remembers rows that many of them refer to."""

    connection: Connection
    project_name: str
    source: str
    changed: set[int] = field(default_factory=set)
    """The series with new points."""
    _project: int = 0
    _rows: dict[tuple[str, ...], int] = field(default_factory=dict)
    _described: set[str] = field(default_factory=set)
    """The commits of which a result was seen, and not only a comparison with them."""
    _sums: dict[int, _Sums] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._project = projects.row_of(self.connection, self.project_name)

    # --- rows that are shared -------------------------------------------------------------------------------

    def _row(
        self,
        table: Table,
        identity: Mapping[str, Any],
        others: Mapping[str, Any] | None = None,
        if_known: Callable[[Row[Any]], Mapping[str, Any]] = lambda row: {},
    ) -> int:
        """The id of the row with this identity, which is added if there is none. The first time in this
        transaction, a known row gets the values of ``if_known``.
        """
        key = (table.name, *map(str, identity.values()))
        if key in self._rows:
            return self._rows[key]
        row = self.connection.execute(_found_by(table, *identity), identity).first()
        if row is None:
            self._rows[key] = self._insert(table, {**identity, **(others or {})})
        else:
            self._rows[key] = row.id
            values = {name: value for name, value in if_known(row).items() if getattr(row, name) != value}
            if values:
                self._update(table, row.id, values)
        return self._rows[key]

    def _insert(self, table: Table, values: Mapping[str, Any]) -> int:
        done = self.connection.execute(_inserted(table), values)
        return int((done.inserted_primary_key or (0,))[0])

    def _update(self, table: Table, row: int, values: Mapping[str, Any]) -> None:
        self.connection.execute(_updated(table), {**values, ROW: row})

    def _commit(self, sha: str, values: Mapping[str, Any]) -> int:
        def known(row: Row[Any]) -> Mapping[str, Any]:
            """What a later result knows in addition."""
            gained = {
                name: value
                for name, value in values.items()
                if value not in (None, "") and getattr(row, name) in (None, "")
            }
            if "position" in gained:
                where, position = points.c.commit_id == row.id, gained["position"]
                self.connection.execute(update(points).where(where).values(position=position))
                is_last = series.c.last_commit_id == row.id
                self.connection.execute(update(series).where(is_last).values(last_position=position))
            return gained

        identity = {"project_id": self._project, "sha": sha}
        if "author" in values and sha not in self._described:
            # As a control, it came without what its own results know.
            self._described.add(sha)
            self._rows.pop((commits.name, *map(str, identity.values())), None)
        return self._row(commits, identity, values, known)

    def _commits(self, result: Result) -> tuple[int | None, int | None]:
        """The rows of the commit and of its control; None: it is not in the history."""
        origin = result.provenance
        own = control = None
        values: dict[str, Any]
        other = origin.control_commit
        if other and origin.control_commit_time is not None and not is_program_commit(other):
            values = {"time": origin.control_commit_time, "position": origin.control_position}
            control = self._commit(other, values)
        if not is_program_commit(origin.commit):
            values = {
                "time": origin.commit_time,
                "position": origin.position,
                "branch": origin.branch,
                "author": origin.author,
                "subject": origin.subject,
            }
            own = self._commit(origin.commit, values)
        return own, control

    def _device(self, result: Result) -> int:
        device, time = result.device, result.provenance.time
        values = {
            "facts": _json(device.facts),
            "health": _json({"tainted": device.tainted, **device.conditions_after}),
            "last_seen": time,
        }

        def known(row: Row[Any]) -> Mapping[str, Any]:
            return values if time >= row.last_seen else {"first_seen": min(time, row.first_seen)}

        identity = {"hash": result.test.device, "name": device.name}
        # Of several results the last one counts: the row is looked at again.
        self._rows.pop((devices.name, *identity.values()), None)
        return self._row(devices, identity, {**values, "first_seen": time}, known)

    def _run(self, result: Result, commit: int | None) -> int:
        origin = result.provenance
        values = {
            "project_id": self._project,
            "commit_id": commit,
            "time": origin.time,
            "command": _json(origin.command),
            "source": self.source,
        }
        return self._row(runs, {"uid": origin.run_uid}, values)

    # --- a result -------------------------------------------------------------------------------------------

    def add(self, result: Result, packed: packing.Packed) -> None:
        origin, test = result.provenance, result.test
        commit, control = self._commits(result)
        if commit is not None and origin.position is None:
            # Another result of the commit may have said it.
            origin = replace(origin, position=self.connection.scalar(_POSITION, {ROW: commit}))
            result = replace(result, provenance=origin)
        device = self._device(result)
        document = self._row(stored_documents, {"digest": packed.digest}, {"content": packed.document})
        values = {
            "uid": origin.uid,
            "run_id": self._run(result, commit),
            "project_id": self._project,
            "commit_id": commit,
            "control_commit_id": control,
            "device_id": device,
            "document_id": document,
            "time": origin.time,
            "run_type": origin.run_type,
            "net": test.net,
            "metric": test.metric,
            "identifier": test.identifier,
            "framework": test.framework,
            "backend": test.backend or "",
            "status": result.status,
            "outcome": result.outcome,
            "verdict": result.verdict,
            "tainted": "\n".join(result.device.tainted),
            "failure": _failure(result.failure),
            "regressed": _json(_regressed(result)),
            "detail": packed.detail,
            "operators": packed.operators,
            "samples": packed.samples,
        }
        row = self._insert(results, values)
        if result.failure is not None:
            if commit is not None:
                self._summary(commit).failed += 1
            return
        settings = comparability.settings(result.program.facts)
        for one in result.types:
            if test.metric != "delay" or one.type == NET_DELAY:
                self._add_point(result, one, settings, row, commit, control, device)

    def _series(self, result: Result, one: TypeResult, settings: str, device: int) -> Row[Any]:
        test = result.test
        key = {"key": series_key(self._project, result, one.type, settings)}
        row = self.connection.execute(_found_by(series, "key"), key).first()
        if row is not None:
            return row
        values = {
            "project_id": self._project,
            "device_id": device,
            "net": test.net,
            "metric": test.metric,
            "identifier": test.identifier,
            "type": one.type,
            "framework": test.framework,
            "backend": test.backend or "",
            "settings": settings,
            "unit": one.unit,
            "higher_is_better": bool(result.program.facts.get(HIGHER_IS_BETTER, False)),
        }
        self._insert(series, {**key, **values})
        return self.connection.execute(_found_by(series, "key"), key).one()

    def _add_point(
        self,
        result: Result,
        one: TypeResult,
        settings: str,
        row: int,
        commit: int | None,
        control: int | None,
        device: int,
    ) -> None:
        value = _value(one)
        if value is None:
            return
        origin = result.provenance
        known = self._series(result, one, settings, device)
        own = known.id
        interval = one.judged_summary.median_interval if one.error is None else None
        # A ratio of 0 has no logarithm, and pages need one.
        ratio = one.ratio if one.ratio is not None and 0 < one.ratio < LARGEST_LEVEL else None
        ratio_interval = one.comparison.ratio_interval if one.comparison else None
        point = {
            "value": value,
            "low": _finite(interval.low) if interval else None,
            "high": _finite(interval.high) if interval else None,
            "ratio": ratio,
            "verdict": KNOWN if one.known else one.verdict,
            "tainted": bool(result.device.tainted),
            "time": origin.time,
        }
        is_normal = origin.run_type == NORMAL_RUN
        values: dict[str, Any] = {}
        if commit is not None:
            self._summarize(own, known.reference or value, commit, origin.commit_time, point, is_normal)
            place = {
                "series_id": own,
                "commit_time": origin.commit_time,
                "result_id": row,
                "commit_id": commit,
                "control_commit_id": control,
                "position": origin.position,
                "ratio_low": _finite(ratio_interval.low) if ratio_interval else None,
                "ratio_high": _finite(ratio_interval.high) if ratio_interval else None,
                "run_type": origin.run_type,
            }
            self.connection.execute(_inserted(points), {**point, **place})
            self.changed.add(own)
            values["unsearched"] = known.unsearched + 1
            values["points"] = known.points + is_normal
        if is_normal:
            values["reference"] = known.reference or value
            if _is_newer(known, point, commit, origin.commit_time, origin.position):
                last = {f"last_{name}": point[name] for name in _LAST}
                values |= {
                    **last,
                    "last_result_id": row,
                    "last_commit_id": commit,
                    "last_position": origin.position,
                    "last_commit_time": origin.commit_time if commit else None,
                }
        elif commit is not None and known.last_commit_id == commit and point["verdict"]:
            values["last_verdict"] = point["verdict"]
        if values:
            self._update(series, own, values)

    # --- the summary of a commit ----------------------------------------------------------------------------

    def _summary(self, commit: int) -> _Sums:
        return self._sums.setdefault(commit, _Sums())

    def _summarize(
        self,
        own: int,
        reference: float,
        commit: int,
        commit_time: int,
        point: Mapping[str, Any],
        is_normal: bool,
    ) -> None:
        """The latest normal run of a commit counts, with the verdict of its verification; called before the
        point is written.
        """
        place = {"series_id": own, "commit_time": commit_time, "commit_id": commit}
        earlier = self.connection.execute(_found_by(points, *place), place).all()
        before = _standing(earlier)
        after = _standing([*earlier, _Point(**point, run_type=NORMAL_RUN if is_normal else "verify")])
        sums = self._summary(commit)
        if before is not None:
            sums.add(_sums(before, reference), -1)
        if after is not None:
            sums.add(_sums(after, reference))

    def finish(self) -> None:
        """Writes the sums, and the level and scatter of the series with new points."""
        for commit, sums in self._sums.items():
            where = {"commit_id": commit}
            row = self.connection.execute(_found_by(commit_summaries, *where), where).first()
            if row is None:
                values = {**where, "project_id": self._project, **vars(sums)}
                self.connection.execute(_inserted(commit_summaries), values)
            else:
                total = {name: getattr(row, name) + value for name, value in vars(sums).items()}
                self.connection.execute(_updated(commit_summaries), {**total, ROW: commit})
        for own in self.changed:
            levels.refresh(self.connection, own)


# --- statements ---------------------------------------------------------------------------------------------
# Each is made once: to make one takes four times as long as to run it.

ROW = "row"


@cache
def _found_by(table: Table, *names: str) -> Select[Any]:
    return select(table).where(*(table.c[name] == bindparam(name) for name in names))


@cache
def _inserted(table: Table) -> Insert:
    return insert(table)


@cache
def _updated(table: Table) -> Update:
    """``ROW`` is its primary key."""
    (key,) = table.primary_key.columns
    return update(table).where(key == bindparam(ROW))


_POSITION = select(commits.c.position).where(commits.c.id == bindparam(ROW))
_KNOWN_UIDS = select(results.c.uid).where(results.c.uid.in_(bindparam("uids", expanding=True)))


_LAST = ("time", "value", "low", "high", "ratio", "verdict", "tainted")


@dataclass(frozen=True)
class _Point:
    """A point before it is a row."""

    value: float
    low: float | None
    high: float | None
    ratio: float | None
    verdict: str | None
    tainted: bool
    time: int
    run_type: str


def _standing(rows: Iterable[Any]) -> tuple[Any, str | None] | None:
    """The latest normal run, and its verdict: that of a later verification, if there is one."""
    ordered = sorted(rows, key=lambda one: one.time)
    normal = [one for one in ordered if one.run_type == NORMAL_RUN]
    if not normal:
        return None
    latest = normal[-1]
    later = [one for one in ordered if one.run_type != NORMAL_RUN and one.verdict and one.time >= latest.time]
    return latest, later[-1].verdict if later else latest.verdict


def _sums(standing: tuple[Any, str | None], reference: float) -> _Sums:
    point, verdict = standing
    sums = _Sums(
        measured=1,
        regressed=verdict == Verdict.REGRESSED,
        improved=verdict == Verdict.IMPROVED,
        tainted=bool(point.tainted),
    )
    if point.ratio is not None and point.ratio > 0:
        sums.log_ratio_sum, sums.ratios = math.log(point.ratio), 1
    if point.value > 0 and reference > 0:
        sums.log_level_sum, sums.levels = math.log(point.value / reference), 1
    return sums


def _is_newer(
    known: Row[Any], point: Mapping[str, Any], commit: int | None, commit_time: int, position: int | None
) -> bool:
    """Whether the point takes the place of the last of its series."""
    if known.last_time is None:
        return True
    if known.last_commit_id is None or commit is None:
        has_commit = commit is not None
        return has_commit or (known.last_commit_id is None and point["time"] >= known.last_time)
    if bool(point["tainted"]) != known.last_tainted:
        return not point["tainted"]
    if known.last_commit_id == commit:
        return bool(point["time"] >= known.last_time)
    if position is not None and known.last_position is not None:
        return bool(position >= known.last_position)
    return bool(commit_time >= known.last_commit_time)


def _value(one: TypeResult) -> float | None:
    """The median delay, or the largest absolute error; None: it cannot be shown in a graph."""
    return _finite(one.error.max_absolute if one.error else one.summary.p50)


def _finite(value: float) -> float | None:
    """Of which also sums and squares are finite."""
    return value if abs(value) < LARGEST_LEVEL else None


def _failure(failure: Failure | None) -> str:
    if failure is None:
        return ""
    return _json({"kind": failure.kind, "error": failure.error, "message": failure.message})


def _regressed(result: Result) -> dict[str, float | None]:
    """The types whose regression was confirmed, and by how much; None if the control had no value above 0."""
    ratios = {one.type: one.ratio for one in result.types if one.regressed}
    return {name: None if ratio is None else _finite(ratio) for name, ratio in ratios.items()}


def _json(value: Any) -> str:
    return json.dumps(documents.jsonable(value), sort_keys=True)
