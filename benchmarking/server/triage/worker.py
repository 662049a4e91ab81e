"""A thread that works whenever it is woken, and what it does to find changes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Self

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from benchmarking.errors import RunCancelledError
from benchmarking.server.store import Store
from benchmarking.server.triage.search import search, stale

logger = logging.getLogger(__name__)

AWAY = (InterfaceError, OperationalError, PoolTimeoutError)
"""The database does not answer; other errors are of the series."""
DEBOUNCE_S = 0.5
"""An import adds many points to a series; it is searched again after this time at the earliest."""
LOOK_S = 60.0
"""The time after which it looks without being woken, for what another process has added."""
BATCH = 100
MOST_FAILURES = 3
"""A series whose search failed this often is left alone until the server starts again."""


class Worker:
    """Calls ``work`` in a thread of its own, again and again: when it is woken, and after some time."""

    def __init__(self, name: str, work: Callable[[threading.Event], float | None]) -> None:
        """``work`` receives an event that is set when it should end, and returns the seconds after which it
        wants to be called again; None: there is no hurry.
        """
        self._work = work
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._wake.set()
        self._thread.join()

    def wake(self) -> None:
        self._wake.set()

    def _run(self) -> None:
        while not self._ending.is_set():
            self._wake.clear()
            wait_s = None
            try:
                wait_s = self._work(self._ending)
            except RunCancelledError:
                return
            except AWAY as error:
                logger.warning("%s waits, because the database failed: %s", self._thread.name, error)
            except Exception:
                logger.exception("a bug of %s", self._thread.name)
            self._wake.wait(LOOK_S if wait_s is None else min(wait_s, LOOK_S))
            self._ending.wait(DEBOUNCE_S)


class Searcher:
    """What the thread for searches does."""

    def __init__(self, store: Store, then: Callable[[], None]) -> None:
        """``then`` is called after changes that people see."""
        self._store = store
        self._then = then
        self._failures: dict[int, int] = {}

    def __call__(self, ending: threading.Event) -> None:
        """Searches all series that have points that were not searched."""
        while not ending.is_set():
            with self._store.reading() as connection:
                found = stale(connection, BATCH + len(self._failures))
            todo = [one for one in found if self._failures.get(one, 0) < MOST_FAILURES]
            if not todo:
                return
            for series in todo:
                started = time.monotonic()
                self._search(series)
                # Pages and posts come first: half of the time is theirs.
                if ending.wait(time.monotonic() - started):
                    return

    def _search(self, series: int) -> None:
        try:
            is_changed = search(self._store, series, int(time.time()))
        except AWAY:
            raise
        except Exception:
            self._failures[series] = self._failures.get(series, 0) + 1
            logger.exception("a bug: series %d could not be searched for changes", series)
            return
        if is_changed:
            self._then()
