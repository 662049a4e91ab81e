"""What SIGINT, SIGTERM and SIGHUP do for a while."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from benchmarking.start import ENDING_SIGNALS, is_ignored


@contextmanager
def handled(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Calls ``handler`` for each of them, except for SIGHUP under nohup; in the end, they do what they did
    before.
    """
    numbers = [number for number in ENDING_SIGNALS if not is_ignored(number)]
    previous = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
