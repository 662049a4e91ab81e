"""The bodies of requests: read in pieces, unpacked, and never larger than they may be."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import HTTPException, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from benchmarking.server.projects import path_in_project

LARGEST_BODY = 32 * 2**20
LARGEST_ANONYMOUS_BODY = 4 * 2**20
"""Without a token."""
LARGE_BODY = 2**20
"""Of larger ones only one at a time is parsed: it takes up to 50 times its memory."""
OF_GZIP = 2**16
"""What gzip may add to a body that cannot be compressed."""
LARGEST_FORM = 2**16
"""Of everything but results."""
MOST_KEYS, MOST_CONTAINERS, MOST_ITEMS = 200_000, 200_000, 2_000_000
"""What a body may hold: each key needs about 200 bytes of memory, each object or list 100, each number 40."""
RESULT_PATHS = ("/api/v1/results", "/api/v1/logs")


async def unpacked(request: Request, limit: int) -> bytes:
    """The body as it was before it was compressed.

    Raises:
        HTTPException: 413, it is larger than the limit, or holds too much; 415, its encoding is unknown; 400,
            it is damaged.
    """
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("gzip", "identity"):
        raise HTTPException(415, "Send it as it is, or with the encoding gzip.")
    found = bytearray()
    async for piece in _pieces(request, encoding == "gzip", limit):
        found += piece
        if len(found) > limit:
            raise HTTPException(413, f"It is larger than {limit:,} bytes.")
    _check_counts(found)
    return bytes(found)


async def _pieces(request: Request, is_gzipped: bool, limit: int) -> AsyncIterator[bytes]:
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
    received = 0
    async for piece in request.stream():
        if not is_gzipped:
            yield piece
            continue
        received += len(piece)
        if received > limit + OF_GZIP:  # of what unpacks to nothing there may be any amount
            raise HTTPException(413, f"It is larger than {limit:,} bytes.")
        try:
            yield unpacker.decompress(piece, limit + 1)
        except zlib.error as error:
            raise HTTPException(400, f"It is not gzip: {error}") from error
        if unpacker.unconsumed_tail:
            raise HTTPException(413, f"It is larger than {limit:,} bytes.")
        if unpacker.unused_data:
            raise HTTPException(400, "Something follows the end of what is gzip.")
    if is_gzipped and not unpacker.eof:
        raise HTTPException(400, "It is not gzip, or only a part of it.")


def _check_counts(body: bytearray) -> None:
    """Before it is parsed."""
    counts = (body.count(b":"), MOST_KEYS), (body.count(b"{") + body.count(b"["), MOST_CONTAINERS)
    if any(count > most for count, most in (*counts, (body.count(b","), MOST_ITEMS))):
        raise HTTPException(413, "It holds too many values; send fewer results at once.")


@asynccontextmanager
async def in_turn(turns: asyncio.Lock, body: bytes) -> AsyncIterator[None]:
    """For parsing and storing a body: a large one waits for the others."""
    if len(body) <= LARGE_BODY:
        yield
        return
    async with turns:
        yield


class SmallBodies:
    """Refuses large bodies of all other requests before anything reads them."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or path_in_project(scope) in RESULT_PATHS:
            await self.app(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > LARGEST_FORM:
                raise HTTPException(413, f"It is larger than {LARGEST_FORM:,} bytes.")
            return message

        await self.app(scope, counted, send)
