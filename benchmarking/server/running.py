"""One process that serves the application until it is told to end."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import uvicorn
from fastapi import FastAPI

from benchmarking.errors import UsageError
from benchmarking.programs import ending_signals
from benchmarking.server.live import Hub

GRACE_S = 10
"""The time that requests have to finish."""
MOST_WAITING = 512
KEEP_ALIVE_S = 15
OBJECTS_PER_COLLECTION = 50_000
"""A large page makes that many, and Python would otherwise look at them again and again."""


def listen(host: str, port: int) -> socket.socket:
    """
    Args:
        port: 0 for any free one.

    Raises:
        UsageError: the address cannot be used.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=MOST_WAITING)
    except (OSError, OverflowError) as error:
        # Without the address, which ``socket`` adds.
        reason = (getattr(error, "strerror", None) or str(error)).partition(" (while attempting")[0]
        advice = "--port 0 takes a free one"
        raise UsageError(f"cannot listen on {host} port {port}: {reason}; {advice}") from error
    listener.set_inheritable(True)
    return listener


def share_memory() -> None:
    """One heap for all threads, where the C library has several: the memory of a large post in one thread is
    then there for the next one in another.
    """
    arena_max = -8  # M_ARENA_MAX of glibc's malloc.h
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(arena_max, 1)


def serve(app: FastAPI, listener: socket.socket) -> None:
    """Returns after SIGINT, SIGTERM or SIGHUP, when the requests in progress have been answered."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        proxy_headers=False,  # accounts.py looks at the address of the connection itself
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=KEEP_ALIVE_S,
        ws="none",
    )
    share_memory()
    # Most of the process never goes away: a large page is made faster if it is not looked at each time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS_PER_COLLECTION)
    asyncio.run(_Server(config, app.state.hub).serve(sockets=[listener]))


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, hub: Hub) -> None:
        super().__init__(config)
        self._hub = hub

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """An end that was asked for is not a failure: uvicorn's own would raise the signal again."""
        with ending_signals.handled(self.handle_exit):
            yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._hub.close()  # live pages would be waited for
        await super().shutdown(sockets)
