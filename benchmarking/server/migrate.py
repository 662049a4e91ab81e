"""Brings a database to the schema of this version: under a lock, and for SQLite with a copy first."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from filelock import FileLock, Timeout
from sqlalchemy import Connection, Engine, text

from benchmarking.errors import StorageError
from benchmarking.server import levels

LOCK = 0x6D6C6D69
LOCK_TIMEOUT_S = 300.0
"""Another process migrates."""
SCRIPTS = Path(__file__).parent / "migrations"


def upgrade(engine: Engine) -> None:
    """
    Raises:
        StorageError: a newer version of this program has migrated it, or another process does not finish.
        sqlalchemy.exc.DBAPIError: the database cannot be used.
    """
    with engine.connect() as connection, _locked(connection):
        scripts = ScriptDirectory(str(SCRIPTS))
        current = MigrationContext.configure(connection).get_current_revision()
        newest = scripts.get_current_head()
        connection.rollback()
        if current == newest:
            return
        if current is not None:
            _check_known(scripts, current)
            _copy(connection, current)
        _run(connection, scripts)


def _run(connection: Connection, scripts: ScriptDirectory) -> None:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    with (
        connection.execution_options(writing=True).begin(),
        EnvironmentContext(
            config, scripts, fn=lambda revision, _: scripts._upgrade_revs("head", revision)
        ) as environment,
    ):
        environment.configure(connection=connection, render_as_batch=True)
        environment.run_migrations()
        levels.refresh_all(connection)


def _check_known(scripts: ScriptDirectory, revision: str) -> None:
    try:
        scripts.get_revision(revision)
    except CommandError as error:
        raise StorageError(
            f"a newer version of this program has migrated the database (schema {revision}); update this"
            " program, or restore the copy from before the migration"
        ) from error


@contextmanager
def _locked(connection: Connection) -> Iterator[None]:
    if connection.dialect.name != "sqlite":
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": LOCK})
        connection.commit()
        try:
            yield
        finally:
            connection.rollback()
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": LOCK})
            connection.commit()
        return
    path = f"{connection.engine.url.database}.lock"
    try:
        with FileLock(path, timeout=LOCK_TIMEOUT_S):
            yield
    except Timeout as error:
        raise StorageError(f"another process has been migrating the database for long ({path})") from error


def _copy(connection: Connection, revision: str) -> None:
    """Beside a file of SQLite; a server of PostgreSQL has its own backups, and its migrations are atomic."""
    if connection.dialect.name == "sqlite":
        path = Path(str(connection.engine.url.database))
        copy_sqlite(path, path.with_name(f"{path.name}.before_{revision}_ended"))


def copy_sqlite(source: Path, target: Path) -> None:
    """A consistent copy while others write; it appears completely or not at all.

    Raises:
        StorageError: the disk is full, say.
    """
    temporary = target.with_name(f".{target.name}.new")
    try:
        temporary.unlink(missing_ok=True)
        temporary.touch(mode=0o600)
        with closing(sqlite3.connect(source)) as opened, closing(sqlite3.connect(temporary)) as copy:
            opened.backup(copy, pages=1000)
        temporary.rename(target)
    except (sqlite3.Error, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StorageError(f"cannot copy the database to {target}: {reason}") from error
    finally:
        temporary.unlink(missing_ok=True)
