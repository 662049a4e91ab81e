"""Waiting for other processes: on a busy machine everything takes long, and a limit only ends what hangs."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

LIMIT_S = 280.0
"""Less than pytest's own limit, which does not say what was waited for."""


def wait_until(condition: Callable[[], object], what: str = "it did not come to that") -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def files_named(name: str, directory: Path) -> Iterator[Path]:
    """Those below a directory to which other processes write: ``rglob`` fails where a directory has just vanished."""
    for parent, _, names in os.walk(directory):
        if name in names:
            yield Path(parent, name)
