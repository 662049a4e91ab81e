"""An index of the local reporter's tree, beside it: what comparisons need of each run, without its samples.

It is brought up to date whenever it is opened: every directory down to those of the commits has its time of
modification checked, and only what has changed is read. A published run never changes; a file that was edited
in place is noticed once the index is removed.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

from benchmarking.errors import StorageError
from benchmarking.records import tree
from benchmarking.records.evidence import Measured, SavedRun
from benchmarking.records.series import SeriesKey, keyed, point_of
from benchmarking.results.model import NET_DELAY, NORMAL_RUN, Result, TestKey
from benchmarking.results.plain_text import plain

logger = logging.getLogger(__name__)

NAME = ".index.sqlite"
LAYOUT = 2
"""Raised when ``SavedRun`` or the tables change: an index of another layout is rebuilt."""
LOCK_TIMEOUT_S = 60.0
RUNS_PER_TRANSACTION = 2000
"""What an interrupted process keeps."""
SETTLED_NS = 2 * 10**9
"""A directory that was modified more recently may change again within the resolution of its time."""


_COLUMNS = SavedRun._fields
_SCHEMA = f"""
CREATE TABLE directory (path TEXT PRIMARY KEY, modified_ns INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE series (number INTEGER PRIMARY KEY, key TEXT UNIQUE NOT NULL);
CREATE TABLE run (directory TEXT NOT NULL, {", ".join(_COLUMNS)});
CREATE INDEX run_directory ON run (directory);
CREATE INDEX run_commit ON run (commit_name);
CREATE INDEX run_uid ON run (run_uid);
CREATE INDEX run_branch ON run (branch, series, commit_time);
CREATE INDEX run_series ON run (series, commit_time, position, time);
PRAGMA user_version = {LAYOUT};
"""


class Index:
    """Use ``opened``."""

    def __init__(self, root: Path, connection: sqlite3.Connection) -> None:
        self._root, self._database = root, connection

    # --- queries --------------------------------------------------------------------------------------------

    def series(self) -> dict[int, tuple[SeriesKey, str]]:
        """Every series with its unit."""
        rows = self._database.execute("SELECT number, key FROM series")
        return {number: _series(json.loads(key)) for number, key in rows}

    def commits(self) -> set[str]:
        return self._distinct("commit_name")

    def run_uids(self) -> set[str]:
        return self._distinct("run_uid")

    def branches(self) -> set[str]:
        return self._distinct("branch")

    def _distinct(self, column: str) -> set[str]:
        rows = self._database.execute(f"SELECT DISTINCT {column} FROM run WHERE {column} <> ''")  # noqa: S608
        return {name for (name,) in rows}

    def of_commit(self, name: str) -> list[SavedRun]:
        return self._runs("commit_name = ?", name)

    def of_run(self, uid: str) -> list[SavedRun]:
        return self._runs("run_uid = ?", uid)

    def of_branch(self, name: str) -> list[SavedRun]:
        """Of each series, those of the newest commit, or of several commits of the same second."""
        return self._runs(
            "branch = ? AND (series, commit_time) IN "
            "(SELECT series, max(commit_time) FROM run WHERE branch = ? GROUP BY series)",
            *(name, name),
        )

    def of_series(self, number: int, limit: int) -> list[SavedRun]:
        """The newest runs, newest first."""
        return self._runs(
            "series = ? ORDER BY commit_time DESC, position DESC, time DESC LIMIT ?", number, limit
        )

    def untainted(self, number: int, limit: int) -> list[Measured]:
        """The newest normal runs of a series with good conditions, newest last."""
        rows = self._database.execute(
            "SELECT commit_name, commit_time, position, value, CASE reference WHEN '' THEN ratio END, "
            "control_commit FROM run WHERE series = ? AND run_type = ? AND NOT tainted "
            "ORDER BY commit_time DESC, position DESC, time DESC LIMIT ?",
            (number, NORMAL_RUN, limit),
        )
        return [Measured(*row) for row in rows.fetchall()[::-1]]

    def _runs(self, condition: str, *values: object) -> list[SavedRun]:
        query = f"SELECT {', '.join(_COLUMNS)} FROM run WHERE {condition}"  # noqa: S608 - no text of others
        return [SavedRun(*row) for row in self._database.execute(query, values)]

    # --- bringing it up to date -----------------------------------------------------------------------------

    def refresh(self) -> None:
        known: dict[str, int] = dict(self._database.execute("SELECT path, modified_ns FROM directory"))
        changed = []
        for path, modified_ns in known.items():
            try:
                now_ns = os.stat(f"{self._root}/{path}").st_mtime_ns  # noqa: PTH116 - three times as fast
            except OSError:
                now_ns = -1
            if now_ns != modified_ns:
                changed.append(path)
        self._forget(changed)
        reading = _Reading(self._root, known.keys() - set(changed))
        for path in ("", *changed):
            if path not in reading.known and (self._root / path).is_dir():
                self._add(reading.walk(path))
        self._database.commit()

    def _forget(self, paths: Iterable[str]) -> None:
        for path in paths:
            self._database.execute("DELETE FROM directory WHERE path = ?", (path,))
            self._database.execute("DELETE FROM run WHERE directory = ?", (path,))

    def _add(self, found: Iterator[_Directory]) -> None:
        added = announced = 0
        for one in found:
            self._forget([one.path])  # another process may have been faster
            for result in one.results:
                self._add_result(one.path, result)
            self._database.execute("INSERT INTO directory VALUES (?, ?)", (one.path, one.modified_ns))
            added += len(one.results)
            if added - announced >= RUNS_PER_TRANSACTION:
                self._database.commit()
                announced = added
                logger.info("reading the saved results, which takes long only once: %d so far", added)

    def _add_result(self, path: str, result: Result) -> None:
        for key, one in keyed(result):
            text = json.dumps([*astuple(key.test), key.type, key.platform, key.settings, one.unit])
            self._database.execute("INSERT OR IGNORE INTO series (key) VALUES (?)", (text,))
            (number,) = self._database.execute("SELECT number FROM series WHERE key = ?", (text,)).fetchone()
            point, provenance = point_of(result, one), result.provenance
            beside = result.cell.comparison if result.cell and one.type == NET_DELAY else None
            comparison = beside or one.comparison
            interval = comparison.ratio_interval if comparison else None
            run = SavedRun(
                series=number,
                commit_name=point.commit,
                commit_time=point.commit_time,
                position=point.position,
                time=provenance.time,
                run_type=provenance.run_type,
                run_uid=provenance.run_uid,
                uid=provenance.uid,
                branch=provenance.branch,
                value=point.value,
                ratio=comparison.ratio if comparison else None,
                ratio_low=interval.low if interval else None,
                ratio_high=interval.high if interval else None,
                ratio_confidence=interval.confidence if interval else None,
                control_commit=point.control_commit,
                control_commit_time=point.control_commit_time,
                verdict=one.verdict,
                is_verification=one.confirmation is not None,
                is_confirmed=one.regressed,
                tainted=bool(point.tainted),
                reference=result.cell.reference if result.cell and beside else "",
            )
            marks = ", ".join("?" * (1 + len(_COLUMNS)))
            self._database.execute(f"INSERT INTO run VALUES ({marks})", (path, *run))  # noqa: S608


@dataclass(frozen=True)
class _Directory:
    path: str
    """Relative to the root."""
    modified_ns: int
    """0: it is read again next time."""
    results: Sequence[Result]
    """For a commit."""


@dataclass(frozen=True)
class _Reading:
    root: Path
    known: set[str]
    """The directories that need not be read; grows."""

    def walk(self, path: str) -> Iterator[_Directory]:
        """The directory with all unknown ones below it, children first: an interrupted walk is continued."""
        directory = self.root / path
        depth = len(Path(path).parts)
        try:
            modified_ns = directory.stat().st_mtime_ns
        except FileNotFoundError:  # somebody has removed it meanwhile
            return
        if time.time_ns() - modified_ns < SETTLED_NS:
            modified_ns = 0
        results: list[Result] = []
        for child in tree.children(directory, depth):
            if depth == tree.COMMIT_DEPTH:
                if (result := tree.load(child)) is None:
                    modified_ns = 0  # so that its damage is reported every time
                else:
                    results.append(result)
            elif (below := f"{path}/{child.name}".lstrip("/")) not in self.known:
                yield from self.walk(below)
        self.known.add(path)
        yield _Directory(path, modified_ns, results)


def _series(values: Sequence[str]) -> tuple[SeriesKey, str]:
    *test, kind, platform, settings, unit = values
    return SeriesKey(TestKey(*test), kind, platform, settings), unit


@contextmanager
def opened(root: Path) -> Iterator[Index]:
    """The index of the tree at ``root``, brought up to date. If none can be kept there, it is in memory.

    Raises:
        StorageError: the index is damaged.
    """
    with closing(_connection(root / NAME)) as connection:
        try:
            index = Index(root, connection)
            index.refresh()
            yield index
        except sqlite3.DatabaseError as error:
            raise StorageError(f"{root / NAME} cannot be used: {error}; remove it, and try again") from error


def _connection(file: Path) -> sqlite3.Connection:
    try:
        return _prepared(sqlite3.connect(file, timeout=LOCK_TIMEOUT_S))
    except sqlite3.OperationalError as error:
        logger.warning("%s cannot be used, so all results are read: %s", plain(str(file)), error)
        return _prepared(sqlite3.connect(":memory:"))
    except sqlite3.DatabaseError:
        file.unlink()  # damaged
        return _prepared(sqlite3.connect(file, timeout=LOCK_TIMEOUT_S))


def _prepared(connection: sqlite3.Connection) -> sqlite3.Connection:
    """With the tables of this layout; nobody else writes to it until the next commit."""
    connection.execute("BEGIN IMMEDIATE")
    (layout,) = connection.execute("PRAGMA user_version").fetchone()
    if layout != LAYOUT:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (name,) in tables:
            connection.execute(f'DROP TABLE "{name}"')
        for statement in _SCHEMA.strip().split(";\n"):
            connection.execute(statement)
    return connection
