"""Waiting for other processes: on a busy machine everything takes long, and a limit only ends what hangs."""

import time
from collections.abc import Callable

LIMIT_S = 280.0
"""Less than pytest's own limit, which does not say what was waited for."""


def wait_until(condition: Callable[[], object], what: str = "it did not come to that") -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)
