"""The database of the results server: SQLite or PostgreSQL, opened, migrated, read and written.

One writer at a time on both databases: SQLite can do no other, and on PostgreSQL it needs neither retries
after deadlocks nor statements of one database only. Readers never wait for a writer.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from benchmarking.errors import StorageError, UsageError
from benchmarking.results.model import Result
from benchmarking.results.plain_text import plain
from benchmarking.server import migrate, packing
from benchmarking.server.tables import results, stored_documents

BUSY_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 10
MOST_CONNECTIONS = 24
_DISK_FULL = "53100"
"""PostgreSQL's name of it."""
WRITER_LOCK = 0x6D6C6265  # any number of our own
_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA cache_size = -8192",
    "PRAGMA temp_store = MEMORY",
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1000:.0f}",
)


class Store:
    """An open database with the schema of this version. Used by many threads."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._writer = threading.Lock()

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database."""
        with self.engine.connect() as plain_connection:
            # SQLite does so anyway; PostgreSQL would show each statement what was written meanwhile.
            level = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
            connection = plain_connection.execution_options(**level)
            with connection.begin():
                yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """The only writing transaction; rolled back if the block raises."""
        with self._writer, self.engine.connect() as plain_connection:
            connection = plain_connection.execution_options(writing=True)
            with connection.begin():
                if not self.is_sqlite:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": WRITER_LOCK})
                yield connection

    def result(self, uid: str, project: int | None = None) -> Result | None:
        """With its samples, as long as they are kept.

        Args:
            project: None if it does not matter of which it is.
        """
        query = (
            select(stored_documents.c.content, results.c.detail, results.c.operators, results.c.samples)
            .join(stored_documents)
            .where(results.c.uid == uid)
        )
        if project is not None:
            query = query.where(results.c.project_id == project)
        with self.reading() as connection:
            row = connection.execute(query).first()
        return packing.unpack(packing.Packed(*row)) if row else None

    def close(self) -> None:
        self.engine.dispose()


def open_store(url: str) -> Store:
    """Creates the database if there is none, and migrates one of an older version.

    Args:
        url: in SQLAlchemy's form: ``sqlite:///FILE``, ``postgresql+psycopg://USER@HOST/DATABASE``.

    Raises:
        UsageError: it is no such URL.
        StorageError: the database cannot be used.
    """
    parsed = _parsed(url)
    store = Store(_engine(parsed))
    try:
        migrate.upgrade(store.engine)
    except DBAPIError as error:
        store.close()
        raise StorageError(f"{shown(parsed)}: {reason(error)}") from error
    except BaseException:
        store.close()
        raise
    return store


def is_disk_full(error: DBAPIError) -> bool:
    """Whether the database failed because there is no space for what it should write."""
    cause = error.orig
    is_sqlite = getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return is_sqlite or getattr(cause, "sqlstate", None) == _DISK_FULL


def sqlite_url(path: Path) -> str:
    return URL.create("sqlite", database=str(path)).render_as_string()


def shown(url: URL) -> str:
    """Without the password."""
    return plain(url.render_as_string(hide_password=True))


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        forms = "sqlite:///FILE or postgresql://USER@HOST/NAME"
        raise UsageError(f"the database is not a URL as in {forms}: {plain(str(error))}") from error
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise UsageError(f"the database is SQLite or PostgreSQL, not {plain(backend)}")
    if not parsed.database or parsed.database == ":memory:":
        raise UsageError("the database is a file: sqlite:///FILE, with four slashes for an absolute path")
    return parsed


def _engine(url: URL) -> Engine:
    pool: dict[str, Any] = {"pool_size": 8, "max_overflow": MOST_CONNECTIONS - 8, "pool_timeout": 30}
    if url.get_backend_name() == "postgresql":
        return create_engine(
            url, pool_pre_ping=True, connect_args={"connect_timeout": CONNECT_TIMEOUT_S}, **pool
        )
    path = Path(url.database or "")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from error
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S}, **pool)
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    """Without the driver's own transactions, which begin too late for a writer."""
    connection.isolation_level = None
    connection.create_function("casefolded", 1, str.casefold, deterministic=True)
    for pragma in _PRAGMAS:
        connection.execute(pragma)


def _begin(connection: Connection) -> None:
    is_writing = connection.get_execution_options().get("writing")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")


def reason(error: DBAPIError) -> str:
    """What the database says of it, in one line."""
    return plain(str(error.orig).strip().partition("\n")[0])
