"""What the pages of triage show, as frozen data: templates, ``.json`` and ``.csv`` are made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarking.results.model import Fact
from benchmarking.server.pages.views import CommitView, SeriesName


@dataclass(frozen=True)
class RegressionView:
    id: int
    state: str
    commit: CommitView
    """The first bad."""
    evidence: str
    """The strongest: ``bisection``, ``verdict``, or the advice ``step`` or ``creep``."""
    worst: float | None
    """The largest of the changes, the level after divided by the level before."""
    series: int
    back: int
    """The number of series whose newest values are as before it."""
    owner: str
    reason: str
    note: str
    link: str
    opened: int
    """Unix seconds."""
    updated: int
    closed: int | None


@dataclass(frozen=True)
class IndicatorView:
    name: SeriesName
    type: str
    """That of the series, or an operator of its net."""
    source: str
    ratio: float | None
    last_good: CommitView | None
    run: str
    """The uid of the result that shows it; empty for advice."""
    is_back: bool
    found: int


@dataclass(frozen=True)
class DeliveryView:
    """An attempt to deliver something to a webhook."""

    time: int
    kind: str
    """That of the event, or ``test``."""
    text: str
    problem: str
    """Empty: it was taken."""


@dataclass(frozen=True)
class WebhookView:
    id: int
    url: str
    """Without what is secret."""
    kinds: tuple[str, ...]
    """The events that are sent; empty: all."""
    failures: int
    """The number of attempts that have failed since the last success."""
    last_error: str
    deliveries: tuple[DeliveryView, ...]
    """The newest first."""


@dataclass(frozen=True)
class EventView:
    """An entry of the audit."""

    id: int
    time: int
    actor: str
    kind: str
    regression: int | None
    changes: Mapping[str, tuple[object, object]]
    """Maps what has changed to its value before and after."""


@dataclass(frozen=True)
class RegressionPage:
    regression: RegressionView
    indicators: tuple[IndicatorView, ...]
    """The largest change first."""
    events: tuple[EventView, ...]
    """The newest first."""


@dataclass(frozen=True)
class DeviceView:
    key: str
    name: str
    hash: str
    series: int
    results: int
    """The number of newest results that ``tainted``, ``failed`` and ``reasons`` are about."""
    tainted: int
    failed: int
    reasons: tuple[str, ...]
    """Why they are tainted, the most frequent first."""
    first_seen: int
    last_seen: int
    facts: Mapping[str, Fact]
    conditions: Mapping[str, Fact]
    """The newest."""

    @property
    def problem(self) -> str:
        """Why somebody should look at it; empty: nothing."""
        if self.results and self.failed * 2 >= self.results:
            return f"{self.failed} of the newest {self.results} results failed"
        if self.results and self.tainted * 4 >= self.results:
            return f"{self.tainted} of the newest {self.results} results are tainted"
        return ""


@dataclass(frozen=True)
class Hit:
    """Something that a search found."""

    kind: str
    """``model``, ``commit``, ``device`` or ``regression``."""
    title: str
    detail: str
    address: str
    """The path of its page."""
