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
    """The threads of an open server, and its streams."""

    def __init__(self, store: Store, settings: NoticeSettings) -> None:
        self.hub = Hub()
        self._stack = ExitStack()
        self._cancellation = Cancellation()
        self._notices = Notices(store, settings, self._cancellation)
        self._notifier = Worker("the notices", self._notices)
        self._searcher = Worker("the search for changes", Searcher(store, self.changed))

    def __enter__(self) -> Self:
        self._stack.enter_context(self._cancellation)
        self._notices.begin()
        self._stack.enter_context(self._notifier)
        self._stack.enter_context(self._searcher)
        return self

    def __exit__(self, *_: object) -> None:
        self.hub.close()
        self._cancellation.set()  # a webhook that does not answer must not delay the end
        self._stack.close()

    def received(self) -> None:
        """There are new results."""
        self.hub.publish("results")
        self._searcher.wake()

    def changed(self) -> None:
        """A regression has changed."""
        self.hub.publish("regressions")
        self._notifier.wake()
