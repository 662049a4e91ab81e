"""What a notice says, to which addresses it may go, and when the threads of the server work again."""

import threading
from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest

from benchmarking.errors import RunCancelledError, UsageError
from benchmarking.server.ingest import ingest
from benchmarking.server.pages.views import CommitView
from benchmarking.server.store import open_store, sqlite_url
from benchmarking.server.triage import life, notices, records, worker
from benchmarking.server.triage.life import (
    Acknowledged,
    Annotated,
    Closed,
    Indicator,
    IndicatorKey,
    Regression,
    Source,
    State,
    after,
)
from benchmarking.server.triage.notices import NoticeSettings, check_url, event_json, sentence, shown_url
from benchmarking.server.triage.records import change_of
from benchmarking.server.triage.views import EventView, RegressionView
from benchmarking.server.triage.worker import Worker
from tests.support.histories import result

EVENT = EventView(7, 1_700_000_000, "server", "opened", 3, {})
COMMIT = CommitView("0123456789abcdef", 1_600_000_000, 4, author="Ada", subject="Use\nmore memory")
REGRESSION = RegressionView(
    *(3, "confirmed", COMMIT, "verdict", 1.25, 2, 0, "", "", "", "", 1_700_000_000, 1_700_000_001, None)
)


@pytest.mark.parametrize(
    ("event", "regression", "commit", "text"),
    [
        (
            *({}, {}, {}),
            "regression opened - 0123456789ab Use?more memory (Ada), 2 series, +25.0 % at worst",
        ),
        (
            *({"actor": "bob", "kind": "ignored"}, {"state": "ignored", "reason": "a\tmachine", "series": 1}),
            {"author": "", "subject": "s"},
            "regression ignored by bob: a machine - 0123456789ab s, 1 series, +25.0 % at worst",
        ),
        (
            *({"kind": "opened"}, {"state": "ignored", "reason": "why", "worst": None}, {"sha": "short"}),
            "regression opened - short Use?more memory (Ada), 2 series",
        ),
    ],
)
def test_a_notice_is_one_line(event, regression, commit, text):
    one = replace(REGRESSION, commit=replace(COMMIT, **commit), **regression)
    assert sentence(replace(EVENT, **event), one, "https://b") == f"{text} - https://b/regressions/3"


def test_what_a_command_learns():
    assert event_json(EVENT, REGRESSION, "https://b") == {
        "event": "regression_opened",
        "time": 1_700_000_000,
        "actor": "server",
        "regression": {**asdict(REGRESSION), "url": "https://b/regressions/3"},
    }


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hooks.example/secret", "https://hooks.example/..."),
        ("http://u:p@hooks.example:8080/x?y", "http://hooks.example/..."),
        (f"https://h/{'x' * 990}", "https://h/..."),
        (f"https://h/{'x' * 991}", None),
        ("https://h/a b", None),
        ("https://h/a\u00a0b", None),
        ("ftp://h/", None),
        ("https://", None),
        ("https://[", None),
    ],
)
def test_which_addresses_webhooks_have(url, shown):
    if shown is None:
        with pytest.raises(UsageError, match=r"^a webhook is an http or https address$"):
            check_url(url)
    else:
        assert check_url(url) == url
        assert shown_url(url) == shown


# --- what is sent -------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path):
    """With three commits."""
    one = open_store(sqlite_url(tmp_path / "results.db"))
    ingest(one, [result(number, 100) for number in range(3)])
    yield one
    one.close()


class Outside(notices.Notices):
    """Remembers what it would send."""

    def __init__(self, store, command=()):
        super().__init__(store, NoticeSettings(command=command), None)
        self.sent, self.problem, self.then = [], "", lambda: None

    def _post(self, url, text):
        self.sent.append(text)
        self.then()
        return self.problem

    def now(self):
        return self(threading.Event())


def writing(store, call, *values):
    with store.writing() as connection:
        return call(connection, *values, change_of("Ana"))


def open_regressions(store):
    for commit in (1, 2, 3):
        writing(store, records.add, 1, commit, Regression())


def test_a_webhook_that_is_removed_while_it_is_asked(store):
    row = writing(store, records.add_webhook, "https://h", ())
    other = writing(store, records.add_webhook, "https://i", ())
    open_regressions(store)
    one = Outside(store)
    one.then = lambda: writing(store, records.remove_webhook, row)
    one.now()
    assert len(one.sent) == 3 + 3
    one.then = lambda: writing(store, records.remove_webhook, other)
    one.test(other, "default")
    one.test(other, "default")
    assert (len(one.sent), one.now()) == (3 + 3 + 1, None)


def test_nobody_waits_for_a_webhook_that_is_gone(store):
    row = writing(store, records.add_webhook, "https://h", ())
    open_regressions(store)
    one = Outside(store)
    one.problem = "it answered 500"
    assert 0 < one.now() <= notices.FIRST_WAIT_S
    writing(store, records.remove_webhook, row)
    assert one.now() is None


def test_many_events_do_not_wait_for_the_next_one(store, monkeypatch):
    monkeypatch.setattr(notices, "MOST_EVENTS", 2)
    writing(store, records.add_webhook, "https://h", ())
    open_regressions(store)
    one = Outside(store)
    assert one.now() <= 0
    assert len(one.sent) == 2
    assert one.now() is None
    assert len(one.sent) == 3


def test_the_command_learns_of_many_events_at_once(store, monkeypatch):
    monkeypatch.setattr(notices, "MOST_EVENTS", 2)
    ran = []
    monkeypatch.setattr(notices, "Notifier", lambda *_: SimpleNamespace(notify=ran.append))
    open_regressions(store)
    one = Outside(store, ("true",))
    one.now()
    assert [event["regression"]["id"] for event in ran] == [1, 2, 3]
    one.now()
    assert len(ran) == 3


# --- texts of people ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (Acknowledged("x" * 200), None),
        (Acknowledged("x" * 201), "the owner is longer than 200 characters"),
        (Acknowledged(" "), "the owner is missing"),
        (Closed(State.FIXED, "x" * 2000), None),
        (Closed(State.FIXED, "x" * 2001), "the reason for fixed is longer than 2,000 characters"),
        (Closed(State.IGNORED), "the reason for ignored is missing"),
        (Closed(State.NEW), "a regression is closed as fixed, expected or ignored, not as new"),
        (Annotated("a\tb\nc", ""), None),
        (Annotated("a\x1bc", ""), "the note has characters that cannot be shown"),
        (Annotated("x" * 2000, f"https://h/{'x' * 990}"), None),
        (Annotated("", f"https://h/{'x' * 991}"), "the link is longer than 1,000 characters"),
        (Annotated("", "HTTP://h"), None),
        *(
            (Annotated("", f"https://h/a{one}b"), "the link is not an http or https address")
            for one in (" ", "<", ">", '"', "'", "`", "\\", "\u00a0")
        ),
    ],
)
def test_what_people_may_write(event, message):
    if message is None:
        after(Regression(), event)
    else:
        with pytest.raises(UsageError) as raised:
            after(Regression(), event)
        assert message in str(raised.value)


def test_what_two_regressions_know_together():
    def one(series, source):
        return Indicator(IndicatorKey(series, "NET_DELAY"), source, 1.0, 1.5)

    here = Regression({one(1, Source.STEP).key: one(1, Source.STEP)}, note="a", link="", owner="")
    there = Regression(
        {one(2, Source.VERDICT).key: one(2, Source.VERDICT)},
        is_confirmed=True,
        note="b",
        link="https://l",
        owner="Ana",
    )
    both = after(here, life.Absorbed(there))
    assert {key.series for key in both.indicators} == {1, 2}
    assert (both.is_confirmed, both.note, both.link, both.owner) == (True, "a\nb", "https://l", "Ana")
    assert (both.evidence, both.is_advice, here.is_advice) == (Source.VERDICT, False, True)
    other = after(there, life.Absorbed(replace(here, owner="Bob", link="https://m", note="b")))
    assert (other.is_confirmed, other.note, other.link, other.owner) == (True, "b", "https://l", "Ana")
    long = after(replace(here, note="x" * 1500), life.Absorbed(replace(there, note="y" * 1500)))
    assert len(long.note) == 2000


@pytest.mark.parametrize(("before", "later", "ratio"), [(2.0, 3.0, 1.5), (0.0, 3.0, None)])
def test_the_ratio_of_an_indicator(before, later, ratio):
    assert Indicator(IndicatorKey(1, "t"), Source.STEP, before, later).ratio == ratio


# --- threads ------------------------------------------------------------------------------------------------


def test_a_worker_waits_as_long_as_its_work_says(caplog):
    """A minute at most; and half a second in any case, as an import wakes it hundreds of times."""
    waits, answers = [], [None, 5.0, 600.0, ValueError("a bug"), RunCancelledError("over")]

    def work(ending):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    one = Worker("the test", work)
    one._wake = SimpleNamespace(wait=waits.append, clear=lambda: waits.append("clear"))
    one._ending = SimpleNamespace(wait=lambda s: waits.append(("ending", s)), is_set=lambda: False)
    one._run()
    debounced = ("ending", worker.DEBOUNCE_S)
    assert waits == [
        *("clear", 60.0, debounced, "clear", 5.0, debounced, "clear", 60.0, debounced),
        *("clear", 60.0, debounced, "clear"),
    ]
    assert caplog.messages == ["a bug of the test"]


def test_a_worker_ends_with_its_block():
    begun = threading.Event()

    def work(ending):
        begun.set()
        ending.wait(60)

    with Worker("the test", work) as one:
        assert begun.wait(60)
        assert one._thread.daemon
    assert not one._thread.is_alive()
