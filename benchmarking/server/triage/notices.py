"""Tells other programs when the state of a regression changes: webhooks and a command.

A webhook remembers the last event that it has delivered, so that nothing is lost while a server is away, and
nothing is sent twice unless the answer was lost.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection, Row, func, select, update

from benchmarking.continuous.notification import Notifier
from benchmarking.errors import UsageError
from benchmarking.files import web
from benchmarking.files.web import WebError, WebLimits
from benchmarking.programs.process import Cancellation
from benchmarking.reporters import numbers
from benchmarking.results.plain_text import plain
from benchmarking.server.pages.reading import Reader
from benchmarking.server.projects import address_of
from benchmarking.server.store import Store
from benchmarking.server.tables import events, projects, webhooks
from benchmarking.server.triage import records
from benchmarking.server.triage.life import State
from benchmarking.server.triage.reading import event_view, regression
from benchmarking.server.triage.records import OPENED, REOPENED, SERVER
from benchmarking.server.triage.views import EventView, RegressionView

logger = logging.getLogger(__name__)

KINDS = (OPENED, REOPENED, *State)
"""The events that are sent: the state of a regression has changed."""
TEST = "test"
"""The kind of a delivery that somebody has asked for."""
LIMITS = WebLimits(connect_s=5, silence_s=10, total_s=15, size_bytes=2**16)
MOST_ATTEMPTS = 6
"""After this number, the event is given up for this webhook."""
FIRST_WAIT_S = 5.0
"""It doubles with each attempt."""
MOST_EVENTS = 50
"""The number of events that a webhook receives in one go."""
LONGEST_URL = 1000


@dataclass(frozen=True)
class NoticeSettings:
    public_url: str = "http://localhost:8080"
    """The address of this server, as others reach it."""
    command: tuple[str, ...] = ()
    """Run with each event as JSON on its standard input; empty: none."""
    allow_private: bool = False
    """Whether a webhook may lead to this machine or a private network."""


def check_url(url: str) -> str:
    """
    Raises:
        UsageError: no webhook can have this address.
    """
    try:
        parts = urlsplit(url)
        is_web = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_web = False
    if not is_web or len(url) > LONGEST_URL or not url.isprintable() or " " in url:
        raise UsageError("a webhook is an http or https address")
    return url


def shown_url(url: str) -> str:
    """Only the server: the rest of such addresses is a secret."""
    parts = urlsplit(url)
    return plain(f"{parts.scheme}://{parts.hostname}/...")


@dataclass
class Notices:
    """What the thread for notices does."""

    store: Store
    settings: NoticeSettings
    cancellation: Cancellation
    _not_before: dict[int, float] = field(default_factory=dict)
    """Maps a webhook to the time of its next attempt, on the monotonic clock."""
    _last_run: int = 0
    """The last event for which the command ran."""

    def begin(self) -> None:
        """The command learns of what happens from now on."""
        with self.store.reading() as connection:
            self._last_run = connection.execute(select(func.max(events.c.id))).scalar() or 0

    def __call__(self, ending: threading.Event) -> float | None:
        """Sends what is due. Returns the seconds until the next attempt; None if all was delivered."""
        self._run_command(ending)
        with self.store.reading() as connection:
            hooks = connection.execute(select(webhooks).order_by(webhooks.c.id)).all()
        known = {hook.id for hook in hooks}
        self._not_before = {row: at for row, at in self._not_before.items() if row in known}
        for hook in hooks:
            if time.monotonic() >= self._not_before.get(hook.id, 0.0) and not ending.is_set():
                self._deliver(hook)
        return min((one - time.monotonic() for one in self._not_before.values()), default=None)

    def _run_command(self, ending: threading.Event) -> None:
        if not self.settings.command:
            return
        notifier = Notifier(self.settings.command, self.cancellation)
        has_more = True
        while has_more:
            with self.store.reading() as connection:
                due = _due(connection, self._last_run, None)
            for event, one, project in due:
                if ending.is_set():
                    return
                notifier.notify({**event_json(event, one, self._address(project)), "project": project})
                self._last_run = event.id
            has_more = len(due) == MOST_EVENTS

    def _deliver(self, hook: Row[Any]) -> None:
        """Sends the events that are due, until one of them fails."""
        self._not_before.pop(hook.id, None)
        wanted = json.loads(hook.kinds)
        with self.store.reading() as connection:
            due = _due(connection, hook.last_event_id, hook.project_id)
        failures = hook.failures
        for event, one, project in due:
            is_wanted = not wanted or event.kind in wanted
            text = sentence(event, one, self._address(project))
            problem = self._post(hook.url, text) if is_wanted else ""
            failures = failures + 1 if problem else 0
            is_over = not problem or failures >= MOST_ATTEMPTS
            values = {"failures": 0 if is_over else failures, "last_error": problem}
            if is_over:
                values["last_event_id"] = event.id
            with self.store.writing() as connection:
                connection.execute(update(webhooks).where(webhooks.c.id == hook.id).values(values))
                if is_wanted:
                    records.add_delivery(connection, hook.id, event.kind, text, problem)
            if problem:
                what = "is given up" if is_over else f"failed {failures} times"
                logger.warning("webhook %s: event %d %s: %s", shown_url(hook.url), event.id, what, problem)
                self._not_before[hook.id] = time.monotonic() + FIRST_WAIT_S * 2 ** (failures - 1)
                return
        if len(due) == MOST_EVENTS:
            self._not_before[hook.id] = time.monotonic()

    def test(self, webhook: int, project: str) -> None:
        """Sends a text that says that it is a test, once."""
        with self.store.reading() as connection:
            hook = connection.execute(select(webhooks).where(webhooks.c.id == webhook)).first()
        if hook is None:  # it has just been removed
            return
        text = f"a test of this webhook - {self._address(project)}/webhooks"
        problem = self._post(hook.url, text)
        with self.store.writing() as connection:
            records.add_delivery(connection, webhook, TEST, text, problem)

    def _address(self, project: str) -> str:
        return address_of(self.settings.public_url, project)

    def _post(self, url: str, text: str) -> str:
        """Returns the problem; empty: it was taken."""
        limits = replace(LIMITS, public_only=not self.settings.allow_private)
        try:
            with web.ask("POST", url, limits, self.cancellation, body={"text": text}) as answer:
                is_taken = 200 <= answer.status < 300
                return "" if is_taken else f"it answered {answer.status} {answer.reason}".rstrip()
        except WebError as error:
            return str(error)


def _due(
    connection: Connection, after: int, project: int | None
) -> list[tuple[EventView, RegressionView, str]]:
    """The next events that are news, each with its regression as it is now, and the name of the project."""
    is_news = events.c.detail.endswith(records.NEWS, autoescape=True)
    query = (
        select(events, projects.c.name)
        .join(projects, events.c.project_id == projects.c.id)
        .where(events.c.id > after, events.c.kind.in_(KINDS), is_news)
    )
    if project is not None:
        query = query.where(events.c.project_id == project)
    rows = connection.execute(query.order_by(events.c.id).limit(MOST_EVENTS)).all()
    pages = [(row, regression(Reader(connection, row.project_id), row.regression_id)) for row in rows]
    return [(event_view(row), found.regression, row.name) for row, found in pages if found is not None]


def sentence(event: EventView, one: RegressionView, public_url: str) -> str:
    """One line for people, with the address of the page."""
    commit = one.commit
    who = f" ({commit.author})" if commit.author else ""
    worst = f", {numbers.percent(one.worst)} at worst" if one.worst else ""
    series = f"{one.series} series" if one.series != 1 else "1 series"
    by = f" by {event.actor}" if event.actor != SERVER else ""
    reason = f": {one.reason}" if one.reason and event.kind == one.state else ""
    what = f"regression {event.kind}{by}{reason}"
    where = f"{commit.sha[:12]} {commit.subject}{who}, {series}{worst}"
    return f"{plain(what)} - {plain(where)} - {public_url}/regressions/{one.id}"


def event_json(event: EventView, one: RegressionView, public_url: str) -> dict[str, Any]:
    """For a command."""
    return {
        "event": f"regression_{event.kind}",
        "time": event.time,
        "actor": event.actor,
        "regression": {**asdict(one), "url": f"{public_url}/regressions/{one.id}"},
    }
