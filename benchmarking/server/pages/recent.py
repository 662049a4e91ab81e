"""Pages that were made a moment ago: when many look at the same pages, each is made once in a second."""

from __future__ import annotations

import functools
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any

from fastapi import Request, Response

KEPT_S = 1.0
"""What another process writes, such as an import, is seen after this time at the latest; what comes through
this server is seen at once.
"""
MOST_PAGES = 100


class _Kept:
    def __init__(self) -> None:
        self.lock = Lock()
        """Held while the page is made: whoever asks for it meanwhile waits for it."""
        self.at = -math.inf
        self.version = 0
        self.page = Response()


class RecentPages:
    def __init__(self, version: Callable[[], int]) -> None:
        """``version`` changes with all that this server is sent."""
        self._version = version
        self._pages: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], Response]) -> Response:
        with self._lock:
            kept = self._pages.setdefault(key, _Kept())
            self._pages.move_to_end(key)
            while len(self._pages) > MOST_PAGES:
                self._pages.popitem(last=False)
        with kept.lock:
            now, version = time.monotonic(), self._version()
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
