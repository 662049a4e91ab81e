"""Tells open pages that something has changed, by server-sent events."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field

MOST_STREAMS = 500
"""Each costs a connection; a page without a stream is not live, and otherwise the same."""
HEARTBEAT_S = 15.0
"""How soon a connection that a browser has left is noticed."""
SHORTEST_INTERVAL_S = 0.5
"""An import changes something hundreds of times in a second."""


@dataclass(eq=False)
class _Listener:
    loop: asyncio.AbstractEventLoop
    wake: asyncio.Event
    topics: set[str] = field(default_factory=set)


class Hub:
    """Connects what changes, in any thread, with the streams of the event loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: set[_Listener] = set()
        self._calls: dict[str, Callable[[], None]] = {}
        self._is_closed = False
        self.version = 0
        """Counts what has changed."""

    def publish(self, topic: str) -> None:
        """``topic``: what has changed, a word."""
        with self._lock:
            self.version += 1
            for one in self._listeners:
                one.topics.add(topic)
            self._wake()
        if topic in self._calls:
            self._calls[topic]()

    def on(self, topic: str, call: Callable[[], None]) -> None:
        """``call`` is called, in the thread that publishes, when this has changed."""
        self._calls[topic] = call

    def close(self) -> None:
        """Ends all streams, because a server waits for them before it ends."""
        with self._lock:
            self._is_closed = True
            self._wake()

    @property
    def streams(self) -> int:
        with self._lock:
            return len(self._listeners)

    def listen(self) -> AsyncIterator[str] | None:
        """The text of a stream; None if there are too many, or the server ends."""
        return None if self._is_closed or self.streams >= MOST_STREAMS else self._stream()

    async def _stream(self) -> AsyncIterator[str]:
        listener = _Listener(asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            self._listeners.add(listener)
        try:
            yield "retry: 5000\n\n"
            while not self._is_closed:
                with suppress(TimeoutError):
                    await asyncio.wait_for(listener.wake.wait(), HEARTBEAT_S)
                with self._lock:
                    listener.wake.clear()
                    topics, listener.topics = sorted(listener.topics), set()
                yield "".join(f"event: {topic}\ndata: changed\n\n" for topic in topics) or ": still here\n\n"
                if not self._is_closed:
                    await asyncio.sleep(SHORTEST_INTERVAL_S)
        finally:
            with self._lock:
                self._listeners.discard(listener)

    def _wake(self) -> None:
        for one in self._listeners:
            with suppress(RuntimeError):  # its loop has ended
                one.loop.call_soon_threadsafe(one.wake.set)
