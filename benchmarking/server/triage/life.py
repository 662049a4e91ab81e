"""The life of a regression: which state follows from which event. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import urlsplit

from benchmarking.errors import UsageError

LONGEST_TEXT = 2000
"""Characters of a reason or a note; ..."""
LONGEST_NAME = 200
"""... of an owner; ..."""
LONGEST_LINK = 1000
"""... of a link."""


class State(StrEnum):
    NEW = "new"
    """Only the history of a series suggests it."""
    CONFIRMED = "confirmed"
    """Fresh measurements or a person confirmed it; nobody works on it."""
    ACKNOWLEDGED = "acknowledged"
    """It has an owner."""
    FIXED = "fixed"
    EXPECTED = "expected"
    """The price of something that is wanted."""
    IGNORED = "ignored"


BACK = "the newest values are as before it"
"""The reason of a regression that closed itself."""
OPEN = (State.NEW, State.CONFIRMED, State.ACKNOWLEDGED)
SILENT = (State.EXPECTED, State.IGNORED)
"""States in which a regression is not reported again."""


class Source(StrEnum):
    """What an indicator rests on, the weakest first."""

    CREEP = "creep"
    """Advice: the history of the series drifts."""
    STEP = "step"
    """Advice: the history of the series has a change point."""
    VERDICT = "verdict"
    """The harness confirmed it on fresh pairs."""
    BISECTION = "bisection"
    """The loop traced a confirmed regression to this commit."""

    @property
    def strength(self) -> int:
        return list(Source).index(self)

    @property
    def is_advice(self) -> bool:
        return self in (Source.CREEP, Source.STEP)


class IndicatorKey(NamedTuple):
    series: int
    type: str
    """The type of the series, or an operator of its net."""


@dataclass(frozen=True)
class Indicator:
    """A measured type that became slower (or wrong) with the commit."""

    key: IndicatorKey
    source: Source
    before: float
    """The level before and after, in the unit of the series or relative to its first control."""
    after: float
    result: int | None = None
    """The result that shows it; None for advice."""
    last_good: int | None = None
    """The commit before, as far as it was measured."""
    is_back: bool = False
    """Its newest untainted values are closer to the level before."""

    @property
    def ratio(self) -> float | None:
        """The level after divided by the level before; None if that was 0."""
        return self.after / self.before if self.before else None


@dataclass(frozen=True)
class Regression:
    """What is known of one commit that made something slower."""

    indicators: Mapping[IndicatorKey, Indicator] = field(default_factory=lambda: MappingProxyType({}))
    closed_as: State | None = None
    """Fixed, expected or ignored; None while it is open."""
    is_confirmed: bool = False
    """By a person."""
    owner: str = ""
    reason: str = ""
    """Why it was closed."""
    note: str = ""
    link: str = ""
    """To an issue tracker."""

    @property
    def state(self) -> State:
        if self.closed_as is not None:
            return self.closed_as
        if self.owner:
            return State.ACKNOWLEDGED
        return State.CONFIRMED if self.is_confirmed or not self.is_advice else State.NEW

    @property
    def is_open(self) -> bool:
        return self.closed_as is None

    @property
    def evidence(self) -> Source | None:
        """The strongest; None without indicators."""
        sources = [one.source for one in self.indicators.values()]
        return max(sources, key=lambda one: one.strength, default=None)

    @property
    def is_advice(self) -> bool:
        """Whether no fresh measurement confirmed it."""
        return self.evidence is None or self.evidence.is_advice


# --- events -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """An indicator was found at the commit."""

    indicator: Indicator


@dataclass(frozen=True)
class Measured:
    """Newer values of an indicator are known."""

    key: IndicatorKey
    is_back: bool


@dataclass(frozen=True)
class Traced:
    """Indicators belong to another commit."""

    keys: frozenset[IndicatorKey]


@dataclass(frozen=True)
class Absorbed:
    """All its indicators belong to this commit: the other regression is this one."""

    other: Regression


@dataclass(frozen=True)
class Confirmed:
    """A person is sure."""


@dataclass(frozen=True)
class Acknowledged:
    owner: str


@dataclass(frozen=True)
class Closed:
    state: State
    reason: str = ""


@dataclass(frozen=True)
class Reopened:
    pass


@dataclass(frozen=True)
class Annotated:
    note: str
    link: str


Decision = Confirmed | Acknowledged | Closed | Reopened | Annotated
"""What a person decides."""
Event = Found | Measured | Traced | Absorbed | Decision


def after(regression: Regression, event: Event) -> Regression:
    """The regression after the event.

    Only a person closes a regression whose indicators are not all back, and only another owner replaces an
    owner.

    Raises:
        UsageError: a decision lacks its reason or owner, or its link is none.
    """
    match event:
        case Found(indicator):
            return _found(regression, indicator)
        case Measured(key, is_back):
            return _measured(regression, key, is_back)
        case Traced(keys):
            left = {key: one for key, one in regression.indicators.items() if key not in keys}
            return _settled(replace(regression, indicators=MappingProxyType(left)))
        case Absorbed(other):
            return _absorbed(regression, other)
        case Confirmed():
            return replace(regression, is_confirmed=True)
        case Acknowledged(owner):
            owner = _text(owner, "the owner", LONGEST_NAME, required=True)
            return replace(regression, owner=owner, closed_as=None, reason="")
        case Closed(state, reason):
            if state in OPEN:
                raise UsageError(f"a regression is closed as fixed, expected or ignored, not as {state}")
            reason = _text(reason, f"the reason for {state}", LONGEST_TEXT, required=state in SILENT)
            return replace(regression, closed_as=state, reason=reason)
        case Reopened():
            return replace(regression, closed_as=None, reason="")
        case Annotated(note, link):
            return replace(regression, note=_text(note, "the note", LONGEST_TEXT), link=_link(link))


def _found(regression: Regression, new: Indicator) -> Regression:
    known = regression.indicators.get(new.key)
    if known is not None and known.source.strength >= new.source.strength:
        return regression
    # A regression that was fixed has returned, or was larger than known. An expected or ignored one remains
    # so: change points are found one by one, days after the commit.
    is_reopened = known is None and regression.closed_as is State.FIXED and not new.is_back
    found = replace(new, is_back=known.is_back if known else new.is_back)
    opened = replace(regression, closed_as=None, reason="") if is_reopened else regression
    return replace(opened, indicators=MappingProxyType({**regression.indicators, new.key: found}))


def _measured(regression: Regression, key: IndicatorKey, is_back: bool) -> Regression:
    known = regression.indicators.get(key)
    if known is None or known.is_back == is_back:
        return regression
    indicators = {**regression.indicators, key: replace(known, is_back=is_back)}
    return _settled(replace(regression, indicators=MappingProxyType(indicators)))


def _settled(regression: Regression) -> Regression:
    """Fixed, if everything is back."""
    found = regression.indicators.values()
    is_settled = regression.is_open and found and all(one.is_back for one in found)
    return replace(regression, closed_as=State.FIXED, reason=BACK) if is_settled else regression


def _absorbed(regression: Regression, other: Regression) -> Regression:
    both = regression
    for indicator in other.indicators.values():
        both = _found(both, indicator)
    notes = [one for one in (regression.note, other.note) if one]
    return replace(
        both,
        is_confirmed=regression.is_confirmed or other.is_confirmed,
        owner=regression.owner or other.owner,
        note="\n".join(dict.fromkeys(notes))[:LONGEST_TEXT],
        link=regression.link or other.link,
    )


def _text(text: str, what: str, longest: int, *, required: bool = False) -> str:
    """
    Raises:
        UsageError
    """
    text = text.replace("\r\n", "\n").strip()
    if required and not text:
        raise UsageError(f"{what} is missing")
    if any(one not in "\n\t" and unicodedata.category(one) in ("Cc", "Cs") for one in text):
        raise UsageError(f"{what} has characters that cannot be shown")
    if len(text) > longest:
        raise UsageError(f"{what} is longer than {longest:,} characters")
    return text


def _link(text: str) -> str:
    """
    Raises:
        UsageError: it does not lead to a page.
    """
    text = _text(text, "the link", LONGEST_LINK)
    try:
        parts = urlsplit(text)
        is_page = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_page = False
    if text and not (is_page and text.isprintable() and not set(text) & set(" <>\"'`\\")):
        raise UsageError("the link is not an http or https address")
    return text
