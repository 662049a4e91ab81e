"""The work that the loop has done, in a database that survives a kill at any moment.

There is one row per commit, platform and benchmark file; nothing that a restart needs is kept only in memory.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Self, TypeVar

from benchmarking.errors import StorageError
from benchmarking.files import atomic_file
from benchmarking.repos.repo_base import Revision
from benchmarking.results import documents
from benchmarking.results.model import TestKey

FILE_NAME = "state.sqlite3"
SCHEMA_VERSION = 2
BATCH = 500
"""The number of values in one query, which SQLite limits."""
BUSY_LIMIT_S = 30.0
"""The time for which a writer waits for a reader (``--status``) to finish."""

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
    "commit" TEXT, commit_time INTEGER, author TEXT, subject TEXT, note TEXT, found_at REAL, label TEXT,
    PRIMARY KEY (benchmark, platform, regressed, test, type)
) WITHOUT ROWID;
"""
_OUTAGES = "CREATE TABLE IF NOT EXISTS outages (benchmark TEXT, what TEXT, PRIMARY KEY (benchmark, what))"
"""Earlier programs of the same version do not need it."""

_ADVICE = "restore it from a backup, or move it away to start from scratch"

T = TypeVar("T")


class RunStatus(StrEnum):
    MEASURED = "measured"
    KNOWN = "known"
    """Measured, and slower than its control by no more than earlier commits already were."""
    INCONCLUSIVE = "inconclusive"
    """Measured, but it is undecided whether a test became slower; a bisection may return to it."""
    REGRESSED = "regressed"
    """Measured, and a regression was confirmed."""
    FAILED = "failed"
    """A test of it failed."""
    BUILD_FAILED = "build failed"
    SKIPPED = "skipped"
    """Not measured, because of --step or --max_pending; a bisection may return to it."""


JUDGED = (RunStatus.MEASURED, RunStatus.KNOWN, RunStatus.REGRESSED, RunStatus.FAILED)
"""Statuses of commits for which it is known whether they made something slower."""
COMPARABLE = (*JUDGED, RunStatus.INCONCLUSIVE)
"""Statuses of commits for which the history may hold results."""


@dataclass(frozen=True)
class Suspect:
    """A measured type of a test whose regression was confirmed."""

    key: TestKey
    label: str
    """Net, identifier and device, for people."""
    type: str
    ratio: float | None
    """The treatment divided by the control, if it is known."""


Ratios = Mapping[TestKey, Mapping[str, float]]
"""Maps test and type to the slowdown of one commit relative to another."""


def find_key(wanted: TestKey, known: Collection[TestKey]) -> TestKey:
    """Returns ``wanted``; for a test of which an older state only recorded the label, the only key that
    matches.
    """
    if wanted.net:
        return wanted
    fitting = [one for one in known if wanted.identifier.startswith(f"{one.net} {one.identifier} on ")]
    return fitting[0] if len(fitting) == 1 else wanted


@dataclass(frozen=True)
class Run:
    """The outcome of one commit on one platform."""

    platform: str
    revision: Revision
    status: RunStatus
    detail: str = ""
    """A sentence for people: the tests, or the error of the build."""
    control: str | None = None
    build_s: float = 0.0
    run_s: float = 0.0
    finished_at: float = 0.0
    """Unix seconds."""
    suspects: tuple[Suspect, ...] = ()


@dataclass(frozen=True)
class Culprit:
    """The commit that caused a regression, as far as it could be located."""

    platform: str
    regressed: str
    """The commit for which the regression was confirmed."""
    suspect: Suspect
    good: str | None
    """The last commit that is known not to have the regression."""
    revision: Revision
    note: str = ""
    """The reason why it could not be located more precisely."""
    found_at: float = 0.0


@dataclass(frozen=True)
class Pending:
    platform: str
    revision: Revision
    waits_for: str = ""
    """The reason why it is not next: the problem of the last attempt."""


@dataclass(frozen=True)
class Position:
    """The progress on a branch."""

    commit: str
    is_done: bool
    """Everything up to the commit is done; otherwise it is the first commit to be done."""


@dataclass(frozen=True)
class Overview:
    """The contents of ``--status`` for one benchmark file."""

    benchmark: str
    positions: Mapping[str, Position]
    """Maps the branch to its position."""
    counts: Mapping[tuple[str, str], int]
    """The number of runs by platform and status."""
    recent: Sequence[Run]
    failed: Sequence[Run]
    regressed: Sequence[Run]
    culprits: Sequence[Culprit]
    pending: Sequence[Pending]


@dataclass
class State:
    """The state of one benchmark file, for one thread at a time.

    Every method raises StorageError if the database cannot be read or written, or is damaged.
    """

    path: Path
    benchmark: str
    read_only: bool = False
    """A snapshot; nothing is written."""
    _connection: sqlite3.Connection = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._connection = _snapshot(self.path) if self.read_only else _open(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    # --- runs -----------------------------------------------------------------------------------------------

    def finish(self, runs: Collection[Run]) -> None:
        """Records these runs as finished, all of them or none."""
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
        """The runs of those commits, by commit and platform."""
        found = {}
        for some in batched(commits, BATCH):
            marks = ",".join("?" * len(some))
            query = f'SELECT * FROM runs WHERE benchmark=? AND "commit" IN ({marks})'  # noqa: S608 - only marks
            for row in self._rows(query, (self.benchmark, *some)):
                found[row["commit"], row["platform"]] = self._read(_run, row)
        return found

    def failed_runs(self) -> list[Run]:
        """Failed runs, oldest first."""
        query = "SELECT * FROM runs WHERE benchmark=? AND status IN (?,?) ORDER BY finished_at"
        values = (self.benchmark, RunStatus.FAILED, RunStatus.BUILD_FAILED)
        return [self._read(_run, row) for row in self._rows(query, values)]

    def last_run(self, platform: str) -> Run | None:
        """The newest run that was not skipped."""
        query = (
            "SELECT * FROM runs WHERE benchmark=? AND platform=? AND status!=? "
            "ORDER BY finished_at DESC LIMIT 1"
        )
        rows = self._rows(query, (self.benchmark, platform, RunStatus.SKIPPED))
        return self._read(_run, rows[0]) if rows else None

    def count_attempt(self, platform: str, commit: str) -> int:
        """The number of attempts, including this one."""
        with self._transaction() as connection:
            key = (self.benchmark, platform, commit)
            connection.execute("INSERT OR IGNORE INTO attempts VALUES (?,?,?,0)", key)
            where = 'WHERE benchmark=? AND platform=? AND "commit"=?'
            connection.execute(f"UPDATE attempts SET number=number+1 {where}", key)  # noqa: S608
            return int(connection.execute(f"SELECT number FROM attempts {where}", key).fetchone()[0])  # noqa: S608

    def attempts(self, platform: str, commit: str) -> int:
        """The number of attempts that were counted."""
        query = 'SELECT number FROM attempts WHERE benchmark=? AND platform=? AND "commit"=?'
        rows = self._rows(query, (self.benchmark, platform, commit))
        return int(rows[0]["number"]) if rows else 0

    def _run_row(self, run: Run) -> tuple[Any, ...]:
        suspects = json.dumps([[*astuple(one.key), one.label, one.type, one.ratio] for one in run.suspects])
        row = (run.status, run.detail, run.control, run.build_s, run.run_s, run.finished_at, suspects)
        return (self.benchmark, run.platform, *_revision_row(run.revision), *row)

    # --- where the loop stands ------------------------------------------------------------------------------

    def position(self, branch: str) -> Position | None:
        query = "SELECT * FROM positions WHERE benchmark=? AND branch=?"
        rows = self._rows(query, (self.benchmark, branch))
        return self._read(_position, rows[0]) if rows else None

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

    def outages(self) -> set[str]:
        """What was last reported not to work: platforms, ``remote`` or ``everything``."""
        return {
            row["what"] for row in self._rows("SELECT what FROM outages WHERE benchmark=?", (self.benchmark,))
        }

    def set_outages(self, outages: Collection[str]) -> None:
        with self._transaction() as connection:
            connection.execute("DELETE FROM outages WHERE benchmark=?", (self.benchmark,))
            rows = [(self.benchmark, what) for what in outages]
            connection.executemany("INSERT INTO outages VALUES (?,?)", rows)

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
        """The message, if this script failed with this commit."""
        query = 'SELECT message FROM failed_builds WHERE platform=? AND "commit"=? AND script_sha256=?'
        rows = self._rows(query, (platform, commit, script_sha256))
        return str(rows[0]["message"]) if rows else None

    # --- regressions ----------------------------------------------------------------------------------------

    def unexplained(self) -> list[Run]:
        """Regressed runs with suspects whose culprit is not found yet, oldest first."""
        known = {(one.platform, one.regressed, one.suspect.key, one.suspect.type) for one in self.culprits()}
        query = "SELECT * FROM runs WHERE status=? AND benchmark=? ORDER BY finished_at"
        runs = [self._read(_run, row) for row in self._rows(query, (RunStatus.REGRESSED, self.benchmark))]
        return [
            run
            for run in runs
            if any(
                (run.platform, run.revision.commit, one.key, one.type) not in known for one in run.suspects
            )
        ]

    def culprits(self) -> list[Culprit]:
        query = "SELECT * FROM culprits WHERE benchmark=? ORDER BY found_at"
        return [self._read(_culprit, row) for row in self._rows(query, (self.benchmark,))]

    def add_culprits(self, culprits: Collection[Culprit]) -> None:
        with self._transaction() as connection:
            for one in culprits:
                row = (
                    one.platform,
                    one.regressed,
                    _key_text(one.suspect.key),
                    one.suspect.type,
                    one.suspect.ratio,
                    one.good,
                )
                connection.execute(
                    "INSERT OR REPLACE INTO culprits VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                    (
                        *(self.benchmark, *row, *_revision_row(one.revision)),
                        *(one.note, one.found_at, one.suspect.label),
                    ),
                )

    def probe(self, platform: str, good: str, commit: str) -> Ratios | None:
        """A measurement of a bisection: the slowdown of ``commit`` relative to ``good``."""
        query = 'SELECT ratios FROM probes WHERE benchmark=? AND platform=? AND good=? AND "commit"=?'
        rows = self._rows(query, (self.benchmark, platform, good, commit))
        return self._read(_ratios, rows[0]) if rows else None

    def add_probe(self, platform: str, good: str, commit: str, ratios: Ratios) -> None:
        values = [[*astuple(key), dict(types)] for key, types in ratios.items()]
        row = (self.benchmark, platform, good, commit, json.dumps(values))
        with self._transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO probes VALUES (?,?,?,?,?)", row)

    # --- for people -----------------------------------------------------------------------------------------

    def overview(self, limit: int) -> Overview:
        """``limit``: the number of newest entries of each list."""
        own = (self.benchmark,)
        recent = "SELECT * FROM runs WHERE benchmark=? AND status!=? ORDER BY finished_at DESC LIMIT ?"
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
            positions={row["branch"]: self._read(_position, row) for row in positions},
            counts={(row["platform"], row["status"]): row["number"] for row in self._rows(counts, own)},
            recent=[self._read(_run, row) for row in self._rows(recent, (*own, RunStatus.SKIPPED, limit))],
            failed=[self._read(_run, row) for row in self._rows(by_status, (*own, *failed, limit))],
            regressed=[self._read(_run, row) for row in self._rows(by_status, (*own, *regressed, limit))],
            culprits=self.culprits(),
            pending=[self._read(_pending, row) for row in pending],
        )

    # --- the database ---------------------------------------------------------------------------------------

    def _rows(self, query: str, values: Sequence[Any] | Mapping[str, Any]) -> list[sqlite3.Row]:
        with _storage_errors(self.path):
            return self._connection.execute(query, values).fetchall()

    def _read(self, convert: Callable[[sqlite3.Row], T], row: sqlite3.Row) -> T:
        with _reading(self.path):
            return convert(row)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with _storage_errors(self.path), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            yield self._connection


def batched(values: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (values[first : first + size] for first in range(0, len(values), size))


def benchmarks_in(path: Path) -> list[str]:
    """The benchmark files in a state.

    Raises:
        StorageError
    """
    with State(path, "", read_only=True) as state:
        tables = ("runs", "pending", "positions")
        query = " UNION ".join(f"SELECT benchmark FROM {table}" for table in tables)  # noqa: S608
        return [str(row["benchmark"]) for row in state._rows(f"{query} ORDER BY 1", ())]


# --- the file -----------------------------------------------------------------------------------------------


def _open(path: Path) -> sqlite3.Connection:
    """Opens it for writing; it is created if it does not exist, and migrated if it is of an older version."""
    with _reading(path):
        if not path.exists():
            _create(path)
        connection = _connect(path)
        # A finished run also survives a power failure.
        connection.execute("PRAGMA synchronous=FULL")
        _bring_up_to_date(connection, path)
        return connection


def _snapshot(path: Path) -> sqlite3.Connection:
    """A copy in memory: a database that is only shown is never written to, whatever its version."""
    with _reading(path):
        copy = sqlite3.connect(":memory:", isolation_level=None)
        copy.row_factory = sqlite3.Row
        with closing(_connect(path)) as connection:
            connection.backup(copy)
        _bring_up_to_date(copy, path)
        return copy


def _connect(path: Path) -> sqlite3.Connection:
    # Autocommit: transactions begin where the code says so. mode=rw: the file is not created here.
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=BUSY_LIMIT_S, isolation_level=None
    )
    connection.row_factory = sqlite3.Row
    return connection


def _create(path: Path) -> None:
    """The file exists with all its tables or not at all, because an empty file was damaged."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(f"{_SCHEMA} PRAGMA user_version={SCHEMA_VERSION};")
        content = connection.serialize()
    with atomic_file.writing(path) as stream:
        stream.write(content)


def _bring_up_to_date(connection: sqlite3.Connection, path: Path) -> None:
    """Migrates the database to the current version.

    Raises:
        StorageError: it was damaged, or a newer program has written it.
    """
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        raise StorageError(f"{path}: this file was emptied, so the records of the loop are lost; {_ADVICE}")
    if version > SCHEMA_VERSION:
        raise StorageError(f"{path}: written by another version of this program ({version}); move it away")
    if version == 1:
        _migrate_labels(connection)
    connection.execute(_OUTAGES)


def _migrate_labels(connection: sqlite3.Connection) -> None:
    """Version 1 matched tests by their labels, which do not contain the metric. A label becomes a key without
    other parts; measurements for bisections are repeated when they are needed.
    """
    connection.create_function("key_of", 1, lambda label: _key_text(_label_key(label)))
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        connection.execute("ALTER TABLE culprits ADD COLUMN label TEXT")
        connection.execute("UPDATE culprits SET label=test, test=key_of(test)")
        connection.execute("DELETE FROM probes")
        query = 'SELECT benchmark, platform, "commit", suspects FROM runs'
        for benchmark, platform, commit, suspects in connection.execute(query).fetchall():
            new = [[*astuple(_label_key(label)), label, *rest] for label, *rest in json.loads(suspects)]
            connection.execute(
                'UPDATE runs SET suspects=? WHERE benchmark=? AND platform=? AND "commit"=?',
                (json.dumps(new), benchmark, platform, commit),
            )
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")


def _label_key(label: str) -> TestKey:
    return TestKey(net="", metric="", identifier=label, framework="", backend=None, device="")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Values of the wrong type are also errors of the file."""
    try:
        with _storage_errors(path):
            yield
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise StorageError(f"{path}: this file is damaged ({error}); {_ADVICE}") from error


@contextmanager
def _storage_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:  # for example, the disk is full
        raise StorageError(f"{path}: {error}") from error
    except sqlite3.Error as error:
        raise StorageError(f"{path}: {error}; {_ADVICE}") from error
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror or error}") from error


def _revision_row(revision: Revision) -> tuple[str, int, str, str]:
    return revision.commit, revision.commit_time, revision.author, revision.subject


# --- rows ---------------------------------------------------------------------------------------------------
# SQLite takes any value in any column: what a row should hold is checked when it is read.


def _key_text(key: TestKey) -> str:
    return json.dumps(astuple(key))


def _key(values: Sequence[Any]) -> Mapping[str, Any]:
    return dict(zip((one.name for one in fields(TestKey)), values, strict=True))


def _suspect(values: Sequence[Any]) -> Mapping[str, Any]:
    *key, label, type_name, ratio = values
    return {"key": _key(key), "label": label, "type": type_name, "ratio": ratio}


def _ratios(row: sqlite3.Row) -> Ratios:
    return {
        documents.validated(TestKey, _key(key)): documents.validated(dict[str, float], types)
        for *key, types in json.loads(row["ratios"])
    }


def _run(row: sqlite3.Row) -> Run:
    suspects = [_suspect(one) for one in json.loads(row["suspects"])]
    return documents.validated(Run, {**row, "revision": dict(row), "suspects": suspects})


def _position(row: sqlite3.Row) -> Position:
    return documents.validated(Position, dict(row))


def _pending(row: sqlite3.Row) -> Pending:
    return documents.validated(Pending, {**row, "revision": dict(row)})


def _culprit(row: sqlite3.Row) -> Culprit:
    suspect = {**row, "key": _key(json.loads(row["test"]))}
    return documents.validated(Culprit, {**row, "revision": dict(row), "suspect": suspect})
