"""Forgets the samples of old results; their summaries stay. Copies the whole database while it is in use."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

from sqlalchemy import insert, select, update

from benchmarking.errors import StorageError
from benchmarking.server import migrate
from benchmarking.server.store import Store, open_store, sqlite_url
from benchmarking.server.tables import metadata, results

logger = logging.getLogger(__name__)

INTERVAL_S = 3600.0
_BATCH = 500
_COPIED_ROWS = 2000


def forget_samples(store: Store, days: int, now: float) -> int:
    """Returns the number of results whose samples were forgotten."""
    is_old = (results.c.time < int(now) - days * 86400) & results.c.samples.is_not(None)
    with store.reading() as connection:  # all results are looked at, and nobody waits for that
        old = connection.scalars(select(results.c.id).where(is_old).order_by(results.c.id)).all()
    for start in range(0, len(old), _BATCH):
        those = results.c.id.in_(old[start : start + _BATCH])
        with store.writing() as connection:
            connection.execute(update(results).where(those).values(samples=None))
    return len(old)


def keep_forgetting(store: Store, days: int, ending: threading.Event) -> None:
    """Until ``ending`` is set, every hour."""
    while True:
        try:
            count = forget_samples(store, days, time.time())
        except Exception:
            logger.exception("the samples of old results could not be removed")
        else:
            if count:
                logger.info("removed the samples of %d results that are older than %d days", count, days)
        if ending.wait(INTERVAL_S):
            return


def back_up(store: Store, target: Path) -> None:
    """Writes a file of SQLite with everything of one moment; the server may run meanwhile.

    Raises:
        StorageError: the file exists, or cannot be written.
    """
    if target.exists():
        raise StorageError(f"{target} exists; choose the name of a new file")
    try:
        if store.is_sqlite:
            migrate.copy_sqlite(Path(str(store.engine.url.database)), target)
        else:
            _copy_rows(store, target)
    except OSError as error:
        raise StorageError(f"{target}: {error.strerror or error}") from error


def _copy_rows(store: Store, target: Path) -> None:
    temporary = target.with_name(f".{target.name}.new")
    temporary.unlink(missing_ok=True)
    copy = open_store(sqlite_url(temporary))
    try:
        isolated = store.engine.execution_options(isolation_level="REPEATABLE READ")
        with isolated.connect() as source, copy.writing() as connection:
            for table in metadata.sorted_tables:
                rows = source.execution_options(yield_per=_COPIED_ROWS).execute(select(table))
                for part in rows.mappings().partitions():
                    connection.execute(insert(table), [dict(row) for row in part])
        copy.close()
        temporary.rename(target)
    finally:
        copy.close()
        for path in target.parent.glob(f"{temporary.name}*"):
            path.unlink()
