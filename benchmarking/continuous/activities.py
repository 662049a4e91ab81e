"""What the loop is doing now, and since when: shown during a long wait, and by ``--status``."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil

from benchmarking.bounds import parse_json, read_file
from benchmarking.files import atomic_file
from benchmarking.repos.repo_base import Revision
from benchmarking.results.plain_text import plain

logger = logging.getLogger(__name__)

FILE_NAME = "now.json"
FILE_LIMIT_BYTES = 1_000_000
REPORTED_EVERY_S = 60.0


@dataclass(frozen=True)
class Activity:
    what: str
    """``building`` or ``measuring``."""
    commit: str
    """The short hash."""
    platform: str
    started_at: float
    """Unix seconds."""

    def line(self, now: float) -> str:
        """``building 3b8bfaf01234 for host: 2 min so far``."""
        return (
            f"{self.what} {plain(self.commit)} for {plain(self.platform)}: "
            f"{age(now - self.started_at)} so far"
        )


@dataclass
class Activities:
    """The activities of one loop, from any of its threads. Long activities are logged once a minute."""

    path: Path
    """A file with the current activities, if any; a killed loop leaves it behind, which ``read`` detects."""
    reported_every_s: float = REPORTED_EVERY_S
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _current: list[Activity] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event, repr=False)
    _reporter: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._reporter = threading.Thread(target=self._report, name="activities", daemon=True)
        self._reporter.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._reporter is not None:
            self._reporter.join()
        with suppress(OSError):
            self.path.unlink(missing_ok=True)

    @contextmanager
    def during(self, what: str, revision: Revision, platform: str) -> Iterator[None]:
        activity = Activity(what, revision.short, platform, time.time())
        self._change(add=activity)
        try:
            yield
        finally:
            self._change(remove=activity)

    def _change(self, *, add: Activity | None = None, remove: Activity | None = None) -> None:
        with self._lock:
            if add is not None:
                self._current.append(add)
            if remove is not None:
                self._current.remove(remove)
            values = [[one.what, one.commit, one.platform, one.started_at] for one in self._current]
            # A full disk does no harm here: only the line in --status is missing.
            with suppress(OSError):
                atomic_file.write_text(self.path, json.dumps({"pid": os.getpid(), "activities": values}))

    def _report(self) -> None:
        while not self._ended.wait(self.reported_every_s):
            now = time.time()
            with self._lock:
                long_ones = [one for one in self._current if now - one.started_at >= self.reported_every_s]
            for activity in long_ones:
                logger.info(activity.line(now))


def read(path: Path) -> list[Activity]:
    """The activities of the running loop; empty if no loop is running or the file is damaged."""
    try:
        value = parse_json(read_file(path, FILE_LIMIT_BYTES))
        found = [_activity(one) for one in value["activities"]]
        alive_since = psutil.Process(value["pid"]).create_time()
    except (OSError, ValueError, TypeError, KeyError, OverflowError, psutil.Error):
        return []
    # A process with the same number that began later is a different process; clocks may differ slightly.
    return [one for one in found if one.started_at >= alive_since - 1]


def age(seconds: float) -> str:
    """``45 s``, ``2 min``, ``1 h 5 min``."""
    minutes = int(max(0.0, seconds) // 60)
    if minutes < 1:
        return f"{max(0.0, seconds):.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _activity(value: Any) -> Activity:
    what, commit, platform, started_at = value
    return Activity(str(what), str(commit), str(platform), float(started_at))
