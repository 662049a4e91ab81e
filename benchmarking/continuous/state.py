"""What the loop has done, in a database that survives a kill at any moment.

One row per commit, platform and benchmark file; nothing is kept in memory that a restart would miss.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from benchmarking.errors import StorageError
from benchmarking.repos.repo_base import Revision

FILE_NAME = "state.sqlite3"
SCHEMA_VERSION = 1
BATCH = 500
"""Values of one query: SQLite takes a limited number."""
BUSY_LIMIT_S = 30.0
"""How long a writer waits for a reader (``--status``) to finish."""

_SCHEMA = """
CREATE TABLE runs (
    benchmark TEXT, platform TEXT, "commit" TEXT, commit_time INTEGER, author TEXT, subject TEXT,
    status TEXT, detail TEXT, control TEXT, build_s REAL, run_s REAL, finished_at REAL, suspects TEXT,
    PRIMARY KEY (benchmark, "commit", platform)
) WITHOUT ROWID;
CREATE INDEX runs_by_time ON runs (finished_at);
CREATE INDEX runs_by_status ON runs (status, finished_at);
CREATE TABLE pending (
    benchmark TEXT, platform TEXT, "commit" TEXT, commit_time INTEGER, author TEXT, subject TEXT,
    position INTEGER, waits_for TEXT, PRIMARY KEY (benchmark, platform, "commit")
) WITHOUT ROWID;
CREATE TABLE positions (
    benchmark TEXT, branch TEXT, "commit" TEXT, is_done INTEGER, PRIMARY KEY (benchmark, branch)
) WITHOUT ROWID;
CREATE TABLE attempts (
    benchmark TEXT, platform TEXT, "commit" TEXT, number INTEGER, PRIMARY KEY (benchmark, platform, "commit")
) WITHOUT ROWID;
CREATE TABLE failed_builds (
    platform TEXT, "commit" TEXT, script_sha256 TEXT, message TEXT, PRIMARY KEY (platform, "commit")
) WITHOUT ROWID;
CREATE TABLE probes (
    benchmark TEXT, platform TEXT, good TEXT, "commit" TEXT, ratios TEXT,
    PRIMARY KEY (benchmark, platform, good, "commit")
) WITHOUT ROWID;
CREATE TABLE culprits (
    benchmark TEXT, platform TEXT, regressed TEXT, test TEXT, type TEXT, ratio REAL, good TEXT,
    "commit" TEXT, commit_time INTEGER, author TEXT, subject TEXT, note TEXT, found_at REAL,
    PRIMARY KEY (benchmark, platform, regressed, test, type)
) WITHOUT ROWID;
"""


class RunStatus(StrEnum):
    MEASURED = "measured"
    INCONCLUSIVE = "inconclusive"
    """Measured, and it stayed open whether a test became slower; a bisection may come back to it."""
    REGRESSED = "regressed"
    """Measured, and a regression was confirmed."""
    FAILED = "failed"
    """A test of it failed."""
    BUILD_FAILED = "build failed"
    SKIPPED = "skipped"
    """Not measured, because of --step or --max_pending; a bisection may come back to it."""


JUDGED = (RunStatus.MEASURED, RunStatus.REGRESSED, RunStatus.FAILED)
"""Of these it is known what they made slower."""
COMPARABLE = (*JUDGED, RunStatus.INCONCLUSIVE)
"""Of these the history may hold results."""


@dataclass(frozen=True)
class Suspect:
    """A measured type of a test whose regression was confirmed."""

    test: str
    """Net, identifier and device."""
    type: str
    ratio: float | None
    """Treatment over control, where that could be told."""


@dataclass(frozen=True)
class Run:
    """What came of one commit on one platform."""

    platform: str
    revision: Revision
    status: RunStatus
    detail: str = ""
    """A sentence for people: the tests, the build's error."""
    control: str | None = None
    build_s: float = 0.0
    run_s: float = 0.0
    finished_at: float = 0.0
    """Unix seconds."""
    suspects: tuple[Suspect, ...] = ()


@dataclass(frozen=True)
class Culprit:
    """The commit that a regression comes from, as far as it could be narrowed."""

    platform: str
    regressed: str
    """The commit where it was confirmed."""
    suspect: Suspect
    good: str | None
    """The last commit that is known not to have it."""
    revision: Revision
    note: str = ""
    """Why it could not be narrowed further."""
    found_at: float = 0.0


@dataclass(frozen=True)
class Pending:
    platform: str
    revision: Revision
    waits_for: str = ""
    """Why it is not next: what failed the last time."""


@dataclass(frozen=True)
class Position:
    """How far a branch is done."""

    commit: str
    is_done: bool
    """Everything up to the commit is; else it is the first that is to be done."""


@dataclass(frozen=True)
class Overview:
    """What ``--status`` shows of one benchmark file."""

    benchmark: str
    positions: Mapping[str, Position]
    """By branch."""
    counts: Mapping[tuple[str, str], int]
    """By platform and status."""
    recent: Sequence[Run]
    failed: Sequence[Run]
    regressed: Sequence[Run]
    culprits: Sequence[Culprit]
    pending: Sequence[Pending]


@dataclass
class State:
    """Of one benchmark file. For one thread at a time.

    Every method raises StorageError where the database cannot be read or written.
    """

    path: Path
    benchmark: str
    _connection: sqlite3.Connection = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._connection = _connect(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    # --- runs -----------------------------------------------------------------------------------------------

    def finish(self, runs: Collection[Run]) -> None:
        """They are done, all or none of them."""
        with self._transaction() as connection:
            for run in runs:
                connection.execute(
                    "INSERT OR REPLACE INTO runs VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)", self._run_row(run)
                )
                key = (self.benchmark, run.platform, run.revision.commit)
                for table in ("pending", "attempts"):
                    connection.execute(
                        f'DELETE FROM {table} WHERE benchmark=? AND platform=? AND "commit"=?',  # noqa: S608
                        key,
                    )

    def runs(self, commits: Sequence[str]) -> dict[tuple[str, str], Run]:
        """By commit and platform, of those commits."""
        found = {}
        for some in batched(commits, BATCH):
            marks = ",".join("?" * len(some))
            query = f'SELECT * FROM runs WHERE benchmark=? AND "commit" IN ({marks})'  # noqa: S608 - only marks
            for row in self._rows(query, (self.benchmark, *some)):
                found[row["commit"], row["platform"]] = _run(row)
        return found

    def failed_runs(self) -> list[Run]:
        """Oldest first."""
        query = "SELECT * FROM runs WHERE benchmark=? AND status IN (?,?) ORDER BY finished_at"
        values = (self.benchmark, RunStatus.FAILED, RunStatus.BUILD_FAILED)
        return [_run(row) for row in self._rows(query, values)]

    def count_attempt(self, platform: str, commit: str) -> int:
        """How many there are with this one."""
        with self._transaction() as connection:
            key = (self.benchmark, platform, commit)
            connection.execute("INSERT OR IGNORE INTO attempts VALUES (?,?,?,0)", key)
            where = 'WHERE benchmark=? AND platform=? AND "commit"=?'
            connection.execute(f"UPDATE attempts SET number=number+1 {where}", key)  # noqa: S608
            return int(connection.execute(f"SELECT number FROM attempts {where}", key).fetchone()[0])  # noqa: S608

    def _run_row(self, run: Run) -> tuple[Any, ...]:
        suspects = json.dumps([[one.test, one.type, one.ratio] for one in run.suspects])
        row = (run.status, run.detail, run.control, run.build_s, run.run_s, run.finished_at, suspects)
        return (self.benchmark, run.platform, *_revision_row(run.revision), *row)

    # --- where the loop stands ------------------------------------------------------------------------------

    def position(self, branch: str) -> Position | None:
        query = "SELECT * FROM positions WHERE benchmark=? AND branch=?"
        rows = self._rows(query, (self.benchmark, branch))
        return _position(rows[0]) if rows else None

    def set_position(self, branch: str, position: Position) -> None:
        row = (self.benchmark, branch, position.commit, position.is_done)
        with self._transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO positions VALUES (?,?,?,?)", row)

    def set_pending(self, pending: Sequence[Pending]) -> None:
        with self._transaction() as connection:
            connection.execute("DELETE FROM pending WHERE benchmark=?", (self.benchmark,))
            connection.executemany(
                "INSERT INTO pending VALUES (?,?,?,?,?,?,?,?)",
                [
                    (self.benchmark, one.platform, *_revision_row(one.revision), position, one.waits_for)
                    for position, one in enumerate(pending)
                ],
            )

    # --- builds ---------------------------------------------------------------------------------------------

    def fail_build(self, platform: str, commit: str, script_sha256: str, message: str) -> None:
        with self._transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO failed_builds VALUES (?,?,?,?)",
                (platform, commit, script_sha256, message),
            )

    def forget_build_failure(self, platform: str, commit: str) -> None:
        with self._transaction() as connection:
            query = 'DELETE FROM failed_builds WHERE platform=? AND "commit"=?'
            connection.execute(query, (platform, commit))

    def build_failure(self, platform: str, commit: str, script_sha256: str) -> str | None:
        """The message, where this very script failed with this commit."""
        query = 'SELECT message FROM failed_builds WHERE platform=? AND "commit"=? AND script_sha256=?'
        rows = self._rows(query, (platform, commit, script_sha256))
        return str(rows[0]["message"]) if rows else None

    # --- regressions ----------------------------------------------------------------------------------------

    def unexplained(self) -> list[Run]:
        """Regressed runs of which not every suspect has its culprit yet, oldest first."""
        known = {(one.platform, one.regressed, one.suspect.test, one.suspect.type) for one in self.culprits()}
        query = "SELECT * FROM runs WHERE status=? AND benchmark=? ORDER BY finished_at"
        runs = [_run(row) for row in self._rows(query, (RunStatus.REGRESSED, self.benchmark))]
        return [
            run
            for run in runs
            if any(
                (run.platform, run.revision.commit, one.test, one.type) not in known for one in run.suspects
            )
        ]

    def culprits(self) -> list[Culprit]:
        query = "SELECT * FROM culprits WHERE benchmark=? ORDER BY found_at"
        return [_culprit(row) for row in self._rows(query, (self.benchmark,))]

    def add_culprits(self, culprits: Collection[Culprit]) -> None:
        with self._transaction() as connection:
            for one in culprits:
                row = (
                    one.platform,
                    one.regressed,
                    one.suspect.test,
                    one.suspect.type,
                    one.suspect.ratio,
                    one.good,
                )
                connection.execute(
                    "INSERT OR REPLACE INTO culprits VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
                    (self.benchmark, *row, *_revision_row(one.revision), one.note, one.found_at),
                )

    def probe(self, platform: str, good: str, commit: str) -> dict[str, dict[str, float]] | None:
        """Of a bisection: by test and type, how much slower ``commit`` was found than ``good``."""
        query = 'SELECT ratios FROM probes WHERE benchmark=? AND platform=? AND good=? AND "commit"=?'
        rows = self._rows(query, (self.benchmark, platform, good, commit))
        return json.loads(rows[0]["ratios"]) if rows else None

    def add_probe(
        self, platform: str, good: str, commit: str, ratios: Mapping[str, Mapping[str, float]]
    ) -> None:
        row = (self.benchmark, platform, good, commit, json.dumps(ratios))
        with self._transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO probes VALUES (?,?,?,?,?)", row)

    # --- for people -----------------------------------------------------------------------------------------

    def overview(self, limit: int) -> Overview:
        """``limit``: how many of each list, the newest of them."""
        own = (self.benchmark,)
        recent = (
            'SELECT * FROM runs WHERE benchmark=? AND status!="skipped" ORDER BY finished_at DESC LIMIT ?'
        )
        by_status = (
            "SELECT * FROM runs WHERE benchmark=? AND status IN (?,?) ORDER BY finished_at DESC LIMIT ?"
        )
        failed = (RunStatus.FAILED, RunStatus.BUILD_FAILED)
        regressed = (RunStatus.REGRESSED, RunStatus.REGRESSED)
        counts = "SELECT platform, status, COUNT(*) AS number FROM runs WHERE benchmark=? GROUP BY 1, 2"
        positions = self._rows("SELECT * FROM positions WHERE benchmark=? ORDER BY branch", own)
        pending = self._rows("SELECT * FROM pending WHERE benchmark=? ORDER BY position", own)
        return Overview(
            benchmark=self.benchmark,
            positions={row["branch"]: _position(row) for row in positions},
            counts={(row["platform"], row["status"]): row["number"] for row in self._rows(counts, own)},
            recent=[_run(row) for row in self._rows(recent, (*own, limit))],
            failed=[_run(row) for row in self._rows(by_status, (*own, *failed, limit))],
            regressed=[_run(row) for row in self._rows(by_status, (*own, *regressed, limit))],
            culprits=self.culprits(),
            pending=[Pending(row["platform"], _revision(row), row["waits_for"]) for row in pending],
        )

    # --- the database ---------------------------------------------------------------------------------------

    def _rows(self, query: str, values: Sequence[Any] | Mapping[str, Any]) -> list[sqlite3.Row]:
        with _storage_errors(self.path):
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with _storage_errors(self.path), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            yield self._connection


def batched(values: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (values[first : first + size] for first in range(0, len(values), size))


def benchmarks_in(path: Path) -> list[str]:
    """The benchmark files that a state knows of.

    Raises:
        StorageError
    """
    with State(path, "") as state:
        tables = ("runs", "pending", "positions")
        query = " UNION ".join(f"SELECT benchmark FROM {table}" for table in tables)  # noqa: S608
        return [row["benchmark"] for row in state._rows(f"{query} ORDER BY 1", ())]


def _connect(path: Path) -> sqlite3.Connection:
    with _storage_errors(path):
        # Autocommit: transactions begin where the code says so.
        connection = sqlite3.connect(path, timeout=BUSY_LIMIT_S, isolation_level=None)
        connection.row_factory = sqlite3.Row
        # A finished run survives a power cut, too.
        connection.execute("PRAGMA synchronous=FULL")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            connection.executescript(
                f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;"
            )
        elif version != SCHEMA_VERSION:
            raise StorageError(
                f"{path}: written by another version of this program ({version}); move it away"
            )
        return connection


@contextmanager
def _storage_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StorageError(f"{path}: {error}") from error


def _revision_row(revision: Revision) -> tuple[str, int, str, str]:
    return revision.commit, revision.commit_time, revision.author, revision.subject


def _revision(row: sqlite3.Row) -> Revision:
    return Revision(row["commit"], row["commit_time"], row["author"], row["subject"])


def _run(row: sqlite3.Row) -> Run:
    return Run(
        platform=row["platform"],
        revision=_revision(row),
        status=RunStatus(row["status"]),
        detail=row["detail"],
        control=row["control"],
        build_s=row["build_s"],
        run_s=row["run_s"],
        finished_at=row["finished_at"],
        suspects=tuple(Suspect(*one) for one in json.loads(row["suspects"])),
    )


def _position(row: sqlite3.Row) -> Position:
    return Position(row["commit"], bool(row["is_done"]))


def _culprit(row: sqlite3.Row) -> Culprit:
    return Culprit(
        platform=row["platform"],
        regressed=row["regressed"],
        suspect=Suspect(row["test"], row["type"], row["ratio"]),
        good=row["good"],
        revision=_revision(row),
        note=row["note"],
        found_at=row["found_at"],
    )
