"""What runs beside the pages: the search for changes, and the notices."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Self

from benchmarking.programs.process import Cancellation
from benchmarking.server.live import Hub
from benchmarking.server.store import Store
from benchmarking.server.triage.notices import Notices, NoticeSettings
from benchmarking.server.triage.worker import Searcher, Worker


class Triage:
    """The threads of a server: they work when the hub says that something has changed."""

    def __init__(self, store: Store, hub: Hub, settings: NoticeSettings) -> None:
        self._stack = ExitStack()
        self._cancellation = Cancellation()
        self._notices = Notices(store, settings, self._cancellation)
        self._notifier = Worker("the notices", self._notices)
        searcher = Searcher(store, lambda: hub.publish("regressions"))
        self._searcher = Worker("the search for changes", searcher)
        hub.on("regressions", self._notifier.wake)
        hub.on("results", self._searcher.wake)

    def __enter__(self) -> Self:
        self._stack.callback(self._cancellation.close)
        self._notices.begin()
        self._stack.enter_context(self._notifier)
        self._stack.enter_context(self._searcher)
        return self

    def __exit__(self, *_: object) -> None:
        self._cancellation.set()  # a webhook that does not answer must not delay the end
        self._stack.close()
