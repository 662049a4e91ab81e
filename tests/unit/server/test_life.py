from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarking.errors import UsageError
from benchmarking.server.triage import life
from benchmarking.server.triage.life import (
    Absorbed,
    Acknowledged,
    Annotated,
    Closed,
    Confirmed,
    Found,
    Indicator,
    IndicatorKey,
    Measured,
    Regression,
    Reopened,
    Source,
    State,
    Traced,
    after,
)

NET, OPERATOR = IndicatorKey(1, "NET_DELAY"), IndicatorKey(1, "MatMul")


def found(key=NET, source=Source.VERDICT, **values):
    return Found(Indicator(key, source, before=100.0, after=110.0, **values))


ADVICE = found(source=Source.STEP)
IGNORED = Closed(State.IGNORED, "the machine was replaced")

LIVES = {
    "a change point is advice": ([ADVICE], State.NEW),
    "a verdict confirms": ([found()], State.CONFIRMED),
    "a verdict confirms advice": ([ADVICE, found()], State.CONFIRMED),
    "advice does not weaken a verdict": ([found(), ADVICE], State.CONFIRMED),
    "a bisection confirms": ([found(source=Source.BISECTION)], State.CONFIRMED),
    "a person confirms advice": ([ADVICE, Confirmed()], State.CONFIRMED),
    "an owner acknowledges": ([ADVICE, Acknowledged("Ana")], State.ACKNOWLEDGED),
    "a verdict leaves the owner": ([ADVICE, Acknowledged("Ana"), found()], State.ACKNOWLEDGED),
    "fixed by itself": ([found(), Measured(NET, True)], State.FIXED),
    "fixed although advice only": ([ADVICE, Measured(NET, True)], State.FIXED),
    "one of two is back": ([found(), found(OPERATOR), Measured(NET, True)], State.CONFIRMED),
    "both are back": (
        [found(), found(OPERATOR), Measured(NET, True), Measured(OPERATOR, True)],
        State.FIXED,
    ),
    "both were back, but never together": (
        [found(), found(OPERATOR), Measured(NET, True), Measured(NET, False), Measured(OPERATOR, True)],
        State.CONFIRMED,
    ),
    "values of something else": ([found(), Measured(OPERATOR, True)], State.CONFIRMED),
    "opened again by a new indicator": (
        [found(), Measured(NET, True), found(OPERATOR)],
        State.CONFIRMED,
    ),
    "opened again, with its owner": (
        [found(), Acknowledged("Ana"), Measured(NET, True), found(OPERATOR)],
        State.ACKNOWLEDGED,
    ),
    "the same indicator is no news": ([found(), Measured(NET, True), found()], State.FIXED),
    "an indicator that is back is no news": (
        [found(), Measured(NET, True), found(OPERATOR, is_back=True)],
        State.FIXED,
    ),
    "expected": ([found(), Closed(State.EXPECTED, "the price of exact sums")], State.EXPECTED),
    "expected remains so": (
        [found(), Closed(State.EXPECTED, "the price of exact sums"), found(OPERATOR), Measured(NET, True)],
        State.EXPECTED,
    ),
    "ignored remains so": ([found(), IGNORED, found(source=Source.BISECTION)], State.IGNORED),
    "ignored, and opened again": ([found(), IGNORED, Reopened()], State.CONFIRMED),
    "ignored, and acknowledged": ([found(), IGNORED, Acknowledged("Ana")], State.ACKNOWLEDGED),
    "traced elsewhere, and the rest is back": (
        [found(), found(OPERATOR), Measured(NET, True), Traced(frozenset({OPERATOR}))],
        State.FIXED,
    ),
    "traced elsewhere altogether": ([found(), Traced(frozenset({NET}))], State.NEW),
    "a person says that it is fixed": ([found(), Closed(State.FIXED)], State.FIXED),
    "a note does not change the state": ([found(), Annotated("seen", "")], State.CONFIRMED),
    "absorbed by its cause": (
        [found(), Absorbed(Regression({OPERATOR: found(OPERATOR).indicator}, owner="Ana"))],
        State.ACKNOWLEDGED,
    ),
}


def lived(events, regression=None):
    regression = regression or Regression()
    for event in events:
        regression = after(regression, event)
    return regression


@pytest.mark.parametrize(("events", "state"), LIVES.values(), ids=LIVES)
def test_the_state_that_follows(events, state):
    assert lived(events).state is state


def test_a_regression_that_closes_itself_says_why_and_forgets_it_when_it_is_opened():
    fixed = lived([found(), Measured(NET, True)])
    assert fixed.reason == life.BACK
    assert after(fixed, found(OPERATOR)).reason == ""


def test_a_reason_an_owner_and_a_link_are_kept():
    regression = lived(
        [
            found(),
            Acknowledged(" Ana "),
            Annotated("see the thread:\r\n\U0001f468\u200d\U0001f467 ", "https://tracker.example/7"),
            Closed(State.EXPECTED, "exact sums"),
        ]
    )
    assert (regression.owner, regression.reason) == ("Ana", "exact sums")
    assert (regression.note, regression.link) == (
        "see the thread:\n\U0001f468\u200d\U0001f467",
        "https://tracker.example/7",
    )


REFUSED = {
    "ignored without a reason": Closed(State.IGNORED, "  "),
    "expected without a reason": Closed(State.EXPECTED),
    "closed as open": Closed(State.NEW, "why not"),
    "nobody acknowledges": Acknowledged(""),
    "an owner of a page": Acknowledged("a" * 201),
    "a reason of a book": Closed(State.IGNORED, "a" * 2001),
    "a note of a book": Annotated("a" * 2001, ""),
    "a note with NUL": Annotated("a\0b", ""),
    "half of a character": Closed(State.IGNORED, "a\ud800"),
    "a script": Annotated("", "javascript:alert(1)"),
    "a script behind a blank": Annotated("", " java\nscript:alert(1)"),
    "data": Annotated("", "data:text/html,<script>"),
    "no host": Annotated("", "https:///7"),
    "an address that ends an attribute": Annotated("", 'https://a.example/"onclick="x'),
    "a broken address": Annotated("", "https://[::1"),
    "an address with a control character": Annotated("", "https://a.example/\x00"),
}


@pytest.mark.parametrize("event", REFUSED.values(), ids=REFUSED)
def test_what_is_refused(event):
    with pytest.raises(UsageError):
        after(lived([found()]), event)


KEYS = st.builds(IndicatorKey, st.integers(0, 2), st.sampled_from(["NET_DELAY", "MatMul"]))
INDICATORS = st.builds(
    Indicator,
    KEYS,
    st.sampled_from(Source),
    before=st.just(1.0),
    after=st.just(1.1),
    is_back=st.booleans(),
)
REGRESSIONS = st.builds(
    lambda indicators, owner: Regression({one.key: one for one in indicators}, owner=owner),
    st.lists(INDICATORS, min_size=1, max_size=3),
    st.sampled_from(["", "Ana", "Olu"]),
)
OWN = st.one_of(
    st.builds(Found, INDICATORS),
    st.builds(Measured, KEYS, st.booleans()),
    st.builds(Traced, st.frozensets(KEYS, max_size=2)),
    st.builds(Absorbed, REGRESSIONS),
)
DECISIONS = st.one_of(
    st.builds(Confirmed),
    st.builds(Acknowledged, st.sampled_from(["Ana", "Olu"])),
    st.builds(Closed, st.sampled_from([State.FIXED, State.EXPECTED, State.IGNORED]), st.just("why")),
    st.builds(Reopened),
    st.builds(Annotated, st.text("ab\n", max_size=5), st.just("https://tracker.example/1")),
)


@given(REGRESSIONS, st.lists(st.one_of(OWN, DECISIONS), max_size=30))
def test_no_sequence_of_events_loses_an_owner_or_closes_an_open_regression(regression, events):
    for event in events:
        before, regression = regression, after(regression, event)
        if before.owner and not isinstance(event, Acknowledged):
            assert regression.owner == before.owner
        if not isinstance(event, Traced):
            assert set(before.indicators) <= set(regression.indicators)
        if before.is_open and not regression.is_open and not isinstance(event, Closed):
            assert isinstance(event, Measured | Traced)
            assert regression.indicators
            assert all(one.is_back for one in regression.indicators.values())
            assert regression.closed_as is State.FIXED
        if before.state in life.SILENT and not isinstance(event, Closed | Reopened | Acknowledged):
            assert regression.state is before.state
        assert (regression.state is State.ACKNOWLEDGED) == (regression.is_open and bool(regression.owner))


@given(st.permutations([found(source=source) for source in Source]))
def test_evidence_is_the_same_in_any_order(events):
    assert lived(events) == lived([found(source=Source.BISECTION)])


@given(REGRESSIONS, st.lists(OWN, max_size=10))
def test_an_event_that_is_seen_twice_counts_once(regression, events):
    for event in events:
        regression = after(regression, event)
        again = after(regression, event)
        assert replace(again, note="") == replace(regression, note="")
