"""Pages that were made a moment ago: when many look at the same pages, each is made once in a second."""

from __future__ import annotations

import functools
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from fastapi import Request, Response

KEPT_S = 1.0
"""What another process writes, such as an import, is seen after this time at the latest; what comes through
this server is seen at once.
"""
MOST_PAGES = 100


@dataclass
class _Kept:
    lock: Lock = field(default_factory=Lock)
    """Held while the page is made: whoever asks for it meanwhile waits for it."""
    at: float = -math.inf
    version: int = 0
    page: Response = field(default_factory=Response)


@dataclass
class RecentPages:
    version: Callable[[], int]
    """Changes with all that this server is sent."""
    _pages: OrderedDict[Hashable, _Kept] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def get(self, key: Hashable, make: Callable[[], Response]) -> Response:
        with self._lock:
            kept = self._pages.setdefault(key, _Kept())
            self._pages.move_to_end(key)
            while len(self._pages) > MOST_PAGES:
                self._pages.popitem(last=False)
        with kept.lock:
            now, version = time.monotonic(), self.version()
            if kept.version != version or now - kept.at >= KEPT_S:
                kept.page = make()
                kept.at, kept.version = now, version
            return Response(kept.page.body, kept.page.status_code, dict(kept.page.headers))


def kept_for_a_moment(endpoint: Callable[..., Response]) -> Callable[..., Response]:
    """For a page that depends on its address, the account and what is stored, and on nothing else."""

    @functools.wraps(endpoint)
    def answer(request: Request, **given: Any) -> Response:
        recent: RecentPages = request.app.state.recent_pages
        key = request.url.path, request.url.query, request.headers.get("Host"), request.state.account
        return recent.get(key, lambda: endpoint(request, **given))

    return answer
