"""Regressions, devices and searches through a real server on loopback."""

import json
import re
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from urllib.parse import urlsplit
from xml.etree import ElementTree

import pytest
import requests
from sqlalchemy import select

from benchmarking.continuous.known_regressions import KnownRegressions
from benchmarking.programs.process import Cancellation
from benchmarking.results.model import NET_DELAY
from benchmarking.server.accounts import Access, Auth, Scope, create_token
from benchmarking.server.ingest import ingest
from benchmarking.server.store import open_store, sqlite_url
from benchmarking.server.tables import deliveries, events, webhooks
from benchmarking.server.triage import notices, records
from benchmarking.server.triage.decisions import decide, decision
from benchmarking.server.triage.notices import NoticeSettings
from tests.support import http_server
from tests.support.histories import commit_of, result
from tests.support.http_server import status
from tests.support.results_server import serving

NAUGHTY = "<script>alert(1)</script>"
PAGES = ["/regressions", "/regressions?show=all", "/regressions/1", "/devices", "/search?q=net", "/search"]
OTHERS = {
    "/regressions.json": "application/json",
    "/regressions.csv": "text/csv; charset=utf-8",
    "/regressions/1.json": "application/json",
    "/api/v1/regressions": "application/json",
    "/api/v1/regressions/1": "application/json",
    "/api/v1/webhooks": "application/json",
    "/devices.json": "application/json",
    "/devices.csv": "text/csv; charset=utf-8",
    "/search.json?q=net": "application/json",
    "/regressions.atom": "application/atom+xml",
    "/badge.svg": "image/svg+xml",
}
LIMIT_S = 60


def regression(position=3, net=NAUGHTY):
    """Results of a commit that is slower, and of the one before."""
    start = int(time.time()) - 3600 * position - 4000
    settings = {"net": net, "device": "=HYPERLINK", "start": start}
    slow = result(position, 110, control=0, ratio=1.1, run_type="regress", regressed=[NET_DELAY], **settings)
    who = {"subject": f"{NAUGHTY} & more", "author": "Olu <olu@example.org>"}
    results = [slow, result(position, 110, **settings), result(0, 100, **settings)]
    return [replace(one, provenance=replace(one.provenance, **who)) for one in results]


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A server with one regression, which is only read."""
    store = open_store(sqlite_url(tmp_path_factory.mktemp("shown") / "results.db"))
    ingest(store, regression())
    with serving(store) as address:
        wait_for(lambda: get(f"{address}/api/v1/regressions").json()["regressions"])
        yield address
    store.close()


def get(url, **headers):
    return requests.get(url, headers={"Accept": "text/html", **headers}, timeout=LIMIT_S)


def wait_for(condition):
    """What it returns as soon as that is true."""
    end = time.monotonic() + LIMIT_S
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.05)
    return found


@contextmanager
def opened(store, access=None, **settings):
    """A server with one open regression; calls with a path."""
    ingest(store, regression(net="squeezenet"))
    with serving(store, access, NoticeSettings(**settings) if settings else None) as address:
        yield address


@pytest.mark.parametrize("path", PAGES)
def test_pages_show_names_as_they_are_and_run_nothing(shown, path):
    answer = get(shown + path)
    assert answer.status_code == 200
    assert NAUGHTY not in answer.text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(("path", "kind"), OTHERS.items())
def test_the_same_for_programs(shown, path, kind):
    answer = get(shown + path)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, kind)


def test_a_regression_is_on_its_page_with_all_that_is_known(shown):
    text = get(f"{shown}/regressions/1").text
    for part in (
        "confirmed",
        "+10.0 %",
        "verdict",
        "nobody",
        commit_of(3)[:12],
        "Olu &lt;olu@example.org&gt;",
    ):
        assert part in text
    one = get(f"{shown}/regressions/1.json").json()
    assert one["regression"]["state"] == "confirmed"
    assert one["indicators"][0]["last_good"]["sha"] == commit_of(0)
    assert [event["kind"] for event in one["events"]] == ["opened"]


def test_names_in_tables_are_no_formulas(shown):
    assert "\r\n1,'=HYPERLINK," in get(f"{shown}/devices.csv").text


def test_the_feed_and_the_badge_are_xml(shown):
    feed = ElementTree.fromstring(get(f"{shown}/regressions.atom").content)
    (entry,) = feed.findall("{*}entry")
    assert entry.findtext("{*}id") == f"{shown}/regressions/1#event-1"
    assert NAUGHTY in entry.findtext("{*}title")
    badge = ElementTree.fromstring(get(f"{shown}/badge.svg").content)
    assert badge.get("aria-label") == "performance: 1 open regression"


def test_a_search_finds_models_commits_devices_and_regressions(shown):
    def kinds(text):
        return [
            one["kind"]
            for one in requests.get(f"{shown}/search.json", {"q": text}, timeout=LIMIT_S).json()["hits"]
        ]

    assert kinds("SCRIPT") == ["model", "regression", "commit", "commit"]
    assert kinds("hyperlink") == ["device"]
    assert kinds(commit_of(3)[:-1]) == ["regression", "commit", "commit"]
    assert kinds("olu@") == ["regression", "commit", "commit"]
    assert kinds("%") == kinds("__") == kinds("x") == []


@pytest.mark.parametrize(
    "path",
    [
        "/regressions/0",
        "/regressions/99999999999999999999",
        "/regressions/x",
        "/regressions/2",
        "/regressions/-1",
    ],
)
def test_there_is_no_such_regression(shown, path):
    answer = get(shown + path)
    assert answer.status_code == 404
    assert "text/html" in answer.headers["Content-Type"]


@pytest.mark.parametrize("path", ["/api/v1/regressions", "/regressions", "/regressions.csv"])
def test_a_state_that_does_not_exist_is_refused(shown, path):
    """It was taken for ``open``."""
    answer = get(f"{shown}{path}?show=opened", Accept="application/json")
    assert (answer.status_code, answer.json()["detail"].split(",")[0]) == (400, "show is one of open")


def test_the_api_answers_for_commits(shown):
    def asked(*commits):
        query = [("commit", one) for one in commits]
        return requests.get(f"{shown}/api/v1/regressions", query, timeout=LIMIT_S)

    assert [one["id"] for one in asked(commit_of(3), "f" * 40).json()["regressions"]] == [1]
    assert asked("f" * 40).json()["regressions"] == []
    assert asked(*(f"{n:040x}" for n in range(101))).status_code == 400


@pytest.mark.parametrize(("state", "silent"), [("expected", True), ("ignored", True), ("fixed", False)])
def test_the_loop_is_silent_about_what_is_explained(tmp_path, state, silent):
    store = open_store(sqlite_url(tmp_path / "results.db"))
    with opened(store) as address, Cancellation() as cancellation:
        wait_for(lambda: get(f"{address}/regressions/1").ok)
        known = KnownRegressions(f"{address}/api/v1/results", None, cancellation)
        assert known.silenced({commit_of(3), commit_of(4)}) == set()
        body = {"decision": state, "reason": "exact sums"}
        requests.post(f"{address}/api/v1/regressions/1", json=body, timeout=LIMIT_S)
        assert known.silenced({commit_of(3), commit_of(4)}) == ({commit_of(3)} if silent else set())
    store.close()


# --- decisions ----------------------------------------------------------------------------------------------


def form(address, number=1):
    """The hidden token of the forms."""
    found = re.search(r'name="token" value="([^"]+)"', get(f"{address}/regressions/{number}").text)
    return found.group(1)


def send(address, token, headers=None, **fields):
    return requests.post(
        f"{address}/regressions/1",
        data={"token": token, **fields},
        headers={"Accept": "text/html", "Origin": address, **(headers or {})},
        timeout=LIMIT_S,
        allow_redirects=False,
    )


def state(address):
    return get(f"{address}/api/v1/regressions/1").json()["regression"]


def test_forms_without_a_script(store):
    with opened(store) as address:
        wait_for(lambda: get(f"{address}/regressions/1").ok)
        token = form(address)
        answer = send(address, token, decision="acknowledge", owner="Ana")
        assert (answer.status_code, answer.headers["Location"]) == (303, "/regressions/1")
        assert (state(address)["state"], state(address)["owner"]) == ("acknowledged", "Ana")
        send(address, token, decision="annotate", note=f"one\n{NAUGHTY}", link="https://tracker.example/7")
        text = get(f"{address}/regressions/1").text
        assert 'href="https://tracker.example/7"' in text
        assert NAUGHTY not in text
        refused = send(address, token, decision="ignored", reason=" ")
        assert (refused.status_code, "the reason for ignored is missing" in refused.text) == (400, True)
        send(address, token, decision="ignored", reason="a new machine")
        assert (state(address)["state"], state(address)["reason"]) == ("ignored", "a new machine")
        send(address, token, decision="reopen")
        assert state(address)["state"] == "acknowledged"
    with store.reading() as connection:
        rows = connection.execute(select(events.c.actor, events.c.kind).order_by(events.c.id)).all()
    decided = ["opened", "acknowledged", "edited", "ignored", "reopened"]
    assert [tuple(one) for one in rows] == [
        ("server" if one == "opened" else "local", one) for one in decided
    ]


FORGED = {
    "another site": ({"Origin": "https://evil.example"}, None),
    "another site, without an origin": ({"Origin": "null", "Sec-Fetch-Site": "cross-site"}, None),
    "no token": ({}, ""),
    "another token": ({}, "0" * 64),
    "no text": ({}, "\udcff"),
}


def test_what_is_refused(tmp_path):
    store = open_store(sqlite_url(tmp_path / "results.db"))
    with opened(store) as address:
        wait_for(lambda: get(f"{address}/regressions/1").ok)
        token = form(address)
        for headers, other in FORGED.values():
            value = token if other is None else other.encode("utf-8", "surrogateescape")
            assert send(address, value, headers, decision="confirm").status_code == 403
        for fields in (
            {"decision": "explode"},
            {"decision": "annotate", "link": "javascript:alert(1)"},
            {"decision": "ignored", "reason": "x" * 2001},
            {"decision": "acknowledge", "owner": "a" * 201},
            {"decision": "annotate", "note": "a\0b"},
        ):
            assert send(address, token, **fields).status_code in (400, 422), fields
        assert send(address, token, decision="confirm", surprise="1").status_code == 422
        assert [one["kind"] for one in get(f"{address}/regressions/1.json").json()["events"]] == ["opened"]
    store.close()


def test_a_decision_needs_the_scope(store):
    with store.writing() as connection:
        tokens = {scope: create_token(connection, scope, scope) for scope in Scope}
    with opened(store, Access(auth=Auth.TOKEN)) as address:

        def ask(scope, path="/api/v1/regressions/1", **body):
            headers = {"Authorization": f"Bearer {tokens[scope]}"} if scope else {}
            method = "POST" if body else "GET"
            return requests.request(
                method, address + path, json=body or None, headers=headers, timeout=LIMIT_S
            )

        wait_for(lambda: ask(Scope.READ).ok)
        assert ask(None).status_code == 401
        assert ask(Scope.READ).status_code == 200
        for scope in (Scope.READ, Scope.WRITE):
            assert ask(scope, decision="confirm").status_code == 403
        decided = ask(Scope.TRIAGE, decision="expected", reason="exact sums")
        assert decided.json()["regression"]["state"] == "expected"
        assert decided.json()["events"][0]["actor"] == "triage"
        assert ask(Scope.TRIAGE, decision="expected").status_code == 400
        assert ask(Scope.TRIAGE, decision="confirm", also="this").status_code == 422
        assert ask(Scope.TRIAGE, "/api/v1/regressions/9", decision="confirm").status_code == 404
        assert ask(Scope.TRIAGE, "/api/v1/webhooks").status_code == 403
        assert ask(Scope.ADMIN, "/api/v1/webhooks").json() == {"webhooks": []}


# --- notices ------------------------------------------------------------------------------------------------


@pytest.fixture
def receiver():
    with http_server.running() as one:
        yield one


def taking(received):
    """Remembers the texts that it is sent."""

    def answer(handler):
        received.append(json.loads(handler.body)["text"])
        status(204)(handler)

    return answer


def add_webhook(address, url, *kinds):
    body = {"url": url, "kinds": kinds}
    return requests.post(f"{address}/api/v1/webhooks", json=body, timeout=LIMIT_S)


def test_a_webhook_learns_of_new_states(store, receiver):
    received = []
    url = receiver.on("/hook/secret", taking(received))
    with serving(store, None, NoticeSettings("https://bench.example", allow_private=True)) as address:
        added = add_webhook(address, url)
        assert added.json()["url"] == "http://127.0.0.1/..."
        post_results(store, address)
        wait_for(lambda: received)
        assert "regression opened" in received[0]
        assert received[0].endswith("1 series, +10.0 % at worst - https://bench.example/regressions/1")
        requests.post(
            f"{address}/api/v1/regressions/1",
            json={"decision": "ignored", "reason": "a new machine"},
            timeout=LIMIT_S,
        )
        wait_for(lambda: len(received) == 2)
        assert "regression ignored by local: a new machine" in received[1]


def test_a_webhook_passes_over_what_is_no_news(store, receiver, monkeypatch):
    monkeypatch.setattr(notices, "MOST_EVENTS", 2)
    received = []
    old = records.Change("server", 1, is_news=False)
    with serving(store, None, NoticeSettings(allow_private=True)) as address:
        add_webhook(address, receiver.on("/hook", taking(received)))
        post_results(store, address)
        wait_for(lambda: received)
        for turn in range(5):
            decide(store, 1, 1, decision("fixed" if turn % 2 else "reopen"), old)
            decide(store, 1, 1, decision("annotate", note=f'"is_news": true}} {turn}'), old)
        requests.post(f"{address}/api/v1/regressions/1", json={"decision": "fixed"}, timeout=LIMIT_S)
        wait_for(lambda: len(received) == 2)
    assert "regression fixed by local" in received[1]


def post_results(store, address):
    from benchmarking.errors import ExitStatus
    from benchmarking.results import documents
    from benchmarking.results.documents import Document

    whole = Document(tuple(regression(net="squeezenet")), ExitStatus.OK, 1.0, (), ())
    body = documents.dumps(documents.document_json(whole)).encode()
    assert requests.post(f"{address}/api/v1/results", data=body, timeout=LIMIT_S).ok


def test_a_webhook_that_fails_is_tried_again_and_given_up(store, receiver, monkeypatch):
    monkeypatch.setattr(notices, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(notices, "MOST_ATTEMPTS", 3)
    received = []
    flaky = receiver.on("/flaky", status(500), status(500), taking(received))
    broken = receiver.on("/broken", status(500))
    with serving(store, None, NoticeSettings(allow_private=True)) as address:
        add_webhook(address, broken)
        add_webhook(address, flaky)
        post_results(store, address)
        wait_for(lambda: received and receiver.requests["/broken"] >= 3)
        wait_for(
            lambda: (
                [one["last_error"] for one in get(f"{address}/api/v1/webhooks").json()["webhooks"]][1] == ""
            )
        )
        assert receiver.requests == {"/flaky": 3, "/broken": 3}
        shown = get(f"{address}/api/v1/webhooks").json()["webhooks"]
        assert [one["last_error"] for one in shown] == ["it answered 500 Internal Server Error", ""]


def test_a_webhook_to_a_private_network_is_not_asked(store, receiver):
    url = receiver.on("/hook", status(204))
    with serving(store) as address:
        assert add_webhook(address, url).status_code == 200
        post_results(store, address)
        shown = wait_for(
            lambda: [one for one in get(f"{address}/api/v1/webhooks").json()["webhooks"] if one["last_error"]]
        )
        assert "not a public address" in shown[0]["last_error"]
    assert not receiver.requests


@pytest.mark.parametrize(
    "url", ["ftp://example.org", "javascript:1", "https://", "", "http://[", "http://a b"]
)
def test_what_is_no_webhook(shown, url):
    assert add_webhook(shown, url).status_code == 400


def test_a_webhook_for_some_events_and_its_end(store, receiver):
    with serving(store) as address:
        assert add_webhook(address, "https://hooks.example/x", "exploded").status_code == 400
        number = add_webhook(address, "https://hooks.example/x", "fixed").json()["id"]
        url = f"{address}/api/v1/webhooks/{number}"
        assert requests.delete(url, timeout=LIMIT_S).json() == {"removed": number}
        assert requests.delete(url, timeout=LIMIT_S).status_code == 404
    with store.reading() as connection:
        assert connection.execute(select(webhooks)).all() == []
        kinds = connection.execute(select(events.c.kind).order_by(events.c.id)).scalars().all()
    assert kinds == ["webhook added", "webhook removed"]


def test_the_page_of_webhooks_adds_tests_and_removes_them(store, receiver):
    received = []
    url = receiver.on("/hook/secret", taking(received), status(500))
    with serving(store, None, NoticeSettings("https://bench.example", allow_private=True)) as address:
        page = f"{address}/webhooks"

        def send(path, **form):
            token = re.search(r'name="token" value="(\w+)"', get(page).text)[1]
            return requests.post(
                path, {"token": token, **form}, headers={"Accept": "text/html"}, timeout=LIMIT_S
            )

        assert "There is none" in get(page).text
        assert f'href="{urlsplit(page).path}"' in get(f"{address}/regressions").text
        assert "is an http or https address" in send(page, url="javascript:1").text
        shown = send(page, url=url, kinds=["opened", "fixed"]).text
        assert ("http://127.0.0.1/..." in shown, "secret" in shown, "opened, fixed" in shown) == (
            True,
            False,
            True,
        )
        assert "taken" in send(f"{page}/1", action="test").text
        assert received == ["a test of this webhook - https://bench.example/webhooks"]
        assert "it answered 500 Internal Server Error" in send(f"{page}/1", action="test").text
        api = requests.post(f"{address}/api/v1/webhooks/1/test", timeout=LIMIT_S).json()
        assert [bool(one["problem"]) for one in api["deliveries"]] == [True, True, False]
        post_results(store, address)
        wait_for(lambda: "regression opened" in get(page).text)
        assert requests.post(f"{page}/1", {"action": "remove"}, timeout=LIMIT_S).status_code == 403
        assert send(f"{page}/1", action="explode").status_code == 400
        assert "There is none" in send(f"{page}/1", action="remove").text
        assert send(f"{page}/1", action="test").status_code == 404
    with store.reading() as connection:
        assert connection.execute(select(deliveries)).all() == []


def test_only_the_newest_deliveries_are_remembered(store):
    with store.writing() as connection:
        row = records.add_webhook(connection, "https://hooks.example", (), records.change_of("ann"))
        for number in range(records.MOST_DELIVERIES + 3):
            records.add_delivery(connection, row, "test", f"text {number}", "")
        kept = connection.scalars(select(deliveries.c.text).order_by(deliveries.c.id)).all()
    assert (len(kept), kept[0]) == (records.MOST_DELIVERIES, "text 3")


def test_webhooks_belong_to_a_project(store, receiver):
    received = []
    with serving(store, None, NoticeSettings("https://bench.example", allow_private=True)) as address:
        add_webhook(f"{address}/p/other", receiver.on("/other", taking(received)))
        add_webhook(address, receiver.on("/default", status(204)))
        assert [
            len(get(f"{address}{path}/api/v1/webhooks").json()["webhooks"]) for path in ("", "/p/other")
        ] == [1, 1]
        assert requests.delete(f"{address}/api/v1/webhooks/1", timeout=LIMIT_S).status_code == 404
        post_results(store, f"{address}/p/other")
        wait_for(lambda: received)
        assert re.search(r" - https://bench\.example/p/other/regressions/\d+$", received[0])
        assert receiver.requests == {"/other": 1}


def test_a_command_learns_of_new_states(store, tmp_path):
    file = tmp_path / "events.jsonl"
    code = f"import sys; open({str(file)!r}, 'a').write(sys.stdin.read())"
    settings = NoticeSettings("https://bench.example", command=(sys.executable, "-c", code))
    with serving(store, None, settings) as address:
        post_results(store, address)
        wait_for(lambda: file.exists() and file.read_text().endswith("\n"))
    event = json.loads(file.read_text())
    assert (event["event"], event["actor"]) == ("regression_opened", "server")
    assert event["regression"]["commit"]["sha"] == commit_of(3)
    assert event["regression"]["url"] == "https://bench.example/regressions/1"


# --- live ---------------------------------------------------------------------------------------------------


def test_a_stream_tells_what_has_changed_and_ends_with_the_server(store):
    lines = []

    def listen(address):
        with requests.get(f"{address}/events", stream=True, timeout=LIMIT_S) as answer:
            lines.append(answer.headers["Content-Type"])
            lines.extend(answer.iter_lines(decode_unicode=True))
        lines.append("ended")

    with serving(store) as address:
        thread = threading.Thread(target=listen, args=[address])
        thread.start()
        wait_for(lambda: "retry: 5000" in lines)
        post_results(store, address)
        wait_for(lambda: "event: regressions" in lines)
        assert lines[0] == "text/event-stream; charset=utf-8"
        assert "event: results" in lines
    thread.join(LIMIT_S)
    assert lines[-1] == "ended"


def test_there_are_only_so_many_streams(store, monkeypatch):
    from benchmarking.server import live

    monkeypatch.setattr(live, "MOST_STREAMS", 0)
    with serving(store) as address:
        assert get(f"{address}/events").status_code == 503
