"""Connections to PostgreSQL whose statements end, also where the server hangs and nobody closes the link.

The kernel of a server that hangs still acknowledges what it gets, and a local socket has no keepalives: only
a clock on this side notices.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg import waiting
from psycopg.pq import TransactionStatus

if TYPE_CHECKING:
    from psycopg.abc import PQGen
    from psycopg.pq.abc import PGconn

LOOK_AGAIN_S = 0.1

Value = TypeVar("Value")


class UnansweredError(psycopg.OperationalError):
    """A statement is without an answer for too long."""


def bounded(
    connection: PGconn, steps: PQGen[Value], silence_limit_s: float, check: Callable[[], None]
) -> PQGen[Value]:
    """The same steps, but only while something goes over the link. Who listens for notifications has asked
    nothing, and is not answered.

    Args:
        check: called every tenth of a second; raises to end it.

    Raises:
        UnansweredError: nothing came and nothing went for so long.
    """
    heard_s = time.monotonic()
    try:
        state = next(steps)
        while True:
            ready = yield state
            if ready:
                heard_s = time.monotonic()
            else:
                check()
                is_asked = connection.transaction_status == TransactionStatus.ACTIVE
                if is_asked and time.monotonic() - heard_s > silence_limit_s:
                    raise UnansweredError(f"it did not answer for {silence_limit_s:.3g} s")
            state = steps.send(ready)
    except StopIteration as end:
        value: Value = end.value
        return value


def connection_class(silence_limit_s: float, check: Callable[[], None]) -> type[psycopg.Connection[Any]]:
    class BoundedConnection(psycopg.Connection[Any]):
        def wait(
            self, gen: PQGen[Value], interval: float = LOOK_AGAIN_S, timeout: float | None = None
        ) -> Value:
            """Whatever ends it early ends the connection, without asking the server to agree."""
            try:
                steps = bounded(self.pgconn, gen, silence_limit_s, check)
                return waiting.wait(steps, self.pgconn.socket, interval, **_limit(timeout))
            except psycopg.Error as error:
                if isinstance(error, UnansweredError):
                    self.pgconn.finish()
                raise
            except BaseException:
                self.pgconn.finish()
                raise

    return BoundedConnection


def asynchronous_connection_class(silence_limit_s: float) -> type[psycopg.AsyncConnection[Any]]:
    class BoundedAsyncConnection(psycopg.AsyncConnection[Any]):
        async def wait(
            self, gen: PQGen[Value], interval: float = LOOK_AGAIN_S, timeout: float | None = None
        ) -> Value:
            try:
                steps = bounded(self.pgconn, gen, silence_limit_s, lambda: None)
                return await super().wait(steps, interval, **_limit(timeout))
            except UnansweredError:
                self.pgconn.finish()
                raise

    return BoundedAsyncConnection


def _limit(timeout: float | None) -> dict[str, Any]:
    """Older versions of psycopg know no timeout, and do not ask for one."""
    return {} if timeout is None else {"timeout": timeout}
