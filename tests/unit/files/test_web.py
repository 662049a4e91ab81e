"""Every way in which a server can hold up or flood its client, on loopback."""

import gzip
import os
import socket
import threading
import time
import zlib
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace

import pytest

from benchmarking.errors import RunCancelledError
from benchmarking.files import web
from benchmarking.files.web import TransientError, WebError, WebLimits, gunzipped, retry_after_s
from benchmarking.programs.process import Cancellation
from tests.support import http_server
from tests.support.http_server import content, dripping, endless, packed, raw, redirect, truncated

QUICK = WebLimits(connect_s=0.2, silence_s=0.5, size_bytes=2**20)
PATIENT = WebLimits(connect_s=60, silence_s=60)


@pytest.fixture
def server():
    with http_server.running() as one:
        yield one


@pytest.fixture
def cancellation():
    with Cancellation() as one:
        yield one


@pytest.fixture
def silent_port():
    """Takes connections, and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def fetch(url, cancellation, limits=QUICK, method="GET"):
    with web.ask(method, url, limits, cancellation, body={} if method == "POST" else None) as answer:
        return answer.status, answer.text()


HOLD_UPS = {
    "silence": raw(b""),
    "a status line that does not end": dripping(b"HTTP/1.1 200 O"),
    "headers that do not end": dripping(b"HTTP/1.1 200 OK\r\nX-A: "),
    "interim answers without end": endless(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a body that drips": dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n"),
    "chunks that drip": dripping(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n",
    ),
    "a body that drips without a length": dripping(b"HTTP/1.1 200 OK\r\n\r\n"),
}


@pytest.mark.parametrize("name", HOLD_UPS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_server_that_holds_us_up_has_a_bounded_time(server, cancellation, name, method):
    with pytest.raises(WebError, match=r"too slow|timed out") as caught:
        fetch(server.on("/x", HOLD_UPS[name]), cancellation, method=method)
    assert caught.value.was_sent


@pytest.mark.parametrize("name", HOLD_UPS)
def test_a_cancellation_ends_every_hold_up_at_once(server, cancellation, name):
    url = server.on("/x", HOLD_UPS[name])
    threading.Thread(target=lambda: (server.reached.wait(30), cancellation.set())).start()
    with pytest.raises(RunCancelledError):
        fetch(url, cancellation, PATIENT)


@pytest.mark.parametrize("phase", ["tls", "connect", "name"])
def test_a_connection_that_is_not_made_ends_too(silent_port, cancellation, monkeypatch, phase):
    url = f"https://127.0.0.1:{silent_port}/x"
    if phase != "tls":
        hung = threading.Event()
        name = "getaddrinfo" if phase == "name" else "create_connection"
        module = socket if phase == "name" else __import__("urllib3").util.connection
        monkeypatch.setattr(module, name, lambda *_, **__: hung.wait(60))
    limits = WebLimits(connect_s=0.2, silence_s=0.2)
    with pytest.raises(WebError, match=r"too slow|timed out") as caught:
        fetch(url, cancellation, limits)
    assert not caught.value.was_sent
    timer = threading.Timer(0.2, cancellation.set)
    timer.start()
    with pytest.raises(RunCancelledError):
        fetch(url, cancellation, PATIENT)
    if phase != "tls":
        hung.set()


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (redirect("/x"), "more than 10 redirects"),
        (endless(b"x" * 2**16, b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n"), "more than 10 redirects"),
        (raw(b"HTTP/1.1 200 OK\r\nX-A: " + b"x" * 2**18), "header line"),
        (raw(b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 1000 + b"\r\n"), "headers"),
        (
            raw(b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nx"),
            "too slow|timed out|larger",
        ),
        (endless(b"x" * 2**16, b"HTTP/1.1 200 OK\r\n\r\n"), "larger than 1,048,576 bytes"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"), "larger than 1,048,576 bytes"),
        (packed(b"\0" * 2**24), "unpacked answer is larger than 1,048,576 bytes"),
        (packed(b"", body=gzip.compress(os.urandom(1000))[:500]), "ends early"),
        (packed(b"", body=b"no gzip"), "damaged"),
        (raw(b"\x1b]0;x\x07 nonsense\r\n\r\n"), "BadStatusLine"),
    ],
)
def test_answers_that_are_too_much_or_nonsense(server, cancellation, answer, part):
    patience = QUICK if "timed out" in part else WebLimits(60, 60, size_bytes=QUICK.size_bytes)
    with pytest.raises(WebError, match=part) as caught:
        fetch(server.on("/x", answer), cancellation, patience)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_a_server_that_is_not_there_has_surely_not_taken_a_post(cancellation):
    with pytest.raises(WebError, match=r"\[Errno \d+\] Connection refused$") as caught:
        fetch("http://127.0.0.1:9/x", cancellation, method="POST")
    assert not caught.value.was_sent
    assert caught.value.is_transient


def test_a_server_that_resets_the_connection_may_have_taken_it(server, cancellation):
    with pytest.raises(WebError, match=r"^[^()]*reset[^()]*$") as caught:
        fetch(server.on("/x", http_server.reset), cancellation, method="POST")
    assert caught.value.was_sent


def test_a_link_that_was_cut_may_pass(server, cancellation):
    with pytest.raises(WebError) as caught:
        fetch(server.on("/x", truncated(b"x" * 1000, 10)), cancellation)
    assert caught.value.is_transient


def test_redirects_are_followed_with_the_password_to_the_same_server_only(server, cancellation):
    seen = {}

    def remember(handler):
        seen[handler.headers["Host"]] = handler.headers["Authorization"]
        content(b"here")(handler)

    server.on("/end", remember)
    here = server.on("/x", redirect("/end"))
    there = server.on("/y", redirect(server.url("/end").replace("127.0.0.1", "localhost")))
    for url in (here, there):
        assert fetch(url.replace("//", "//user:word@"), cancellation) == (200, "here")
    port = server.server_port
    assert seen[f"127.0.0.1:{port}"].startswith("Basic ")
    assert seen[f"localhost:{port}"] is None


def test_a_redirect_of_a_post_is_the_answer(server, cancellation):
    server.on("/end", content(b"here"))
    assert fetch(server.on("/x", redirect("/end")), cancellation, method="POST")[0] == 302


def test_an_answer_that_was_packed_all_the_same_is_unpacked(server, cancellation):
    url = server.on("/x", packed("ünï".encode()))
    assert fetch(url, cancellation) == (200, "ünï")


def test_a_cancelled_run_asks_nobody(server, cancellation):
    cancellation.set()
    with pytest.raises(RunCancelledError):
        fetch(server.on("/x", content(b"")), cancellation)
    assert not server.requests


def test_reasons_of_statuses_are_harmless(server, cancellation):
    url = server.on("/x", raw(b"HTTP/1.1 500 \x1b[31m" + b"r" * 5000 + b"\r\nContent-Length: 0\r\n\r\n"))
    with web.ask("GET", url, QUICK, cancellation) as answer:
        assert answer.reason.isprintable()
        assert len(answer.reason) <= web.LONGEST_REASON


@pytest.mark.parametrize(
    "pieces",
    [
        [gzip.compress(b"a" * 10**6)],
        [gzip.compress(b"a" * 10**5), gzip.compress(b"a" * 9 * 10**5)],
        [zlib.compress(b"a" * 10**6)],
        [bytes([one]) for one in gzip.compress(b"a" * 10**6)],
    ],
    ids=["gzip", "members", "zlib", "bytes"],
)
def test_unpacking(pieces):
    assert b"".join(gunzipped([], 0)) == b""
    blocks = list(gunzipped(pieces, 10**6))
    assert b"".join(blocks) == b"a" * 10**6
    assert max(map(len, blocks)) <= web.BLOCK_BYTES
    with pytest.raises(WebError, match="larger"):
        list(gunzipped(pieces, 10**6 - 1))


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("0", 0, 0),
        (" 7 ", 7, 7),
        ("3600", 60, 60),
        ("9" * 5000, 60, 60),
        (timedelta(seconds=30), 20, 30),
        (timedelta(days=30), 60, 60),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0, 0),
        ("Fri, 31 Dec 1999 23:59:59 -0000", 0, 0),
    ],
)
def test_the_wish_of_a_server_to_be_left_alone(text, least, most):
    if isinstance(text, timedelta):
        text = format_datetime(datetime.now(UTC) + text, usegmt=True)
    assert least <= retry_after_s(text) <= most


@pytest.mark.parametrize("text", ["", "-1", "1.5", "soon", "٣", "Fri, 99 Dec 1999 99:99:99 GMT"])
def test_wishes_that_are_none(text):
    assert retry_after_s(text) is None


class Waits:
    """A cancellation that only notes for how long it was waited."""

    def __init__(self):
        self.seconds = []

    def wait(self, seconds):
        self.seconds.append(seconds)
        return False


def test_attempts_wait_as_the_server_wishes_and_else_longer_each_time():
    waits, attempts = Waits(), []

    def fail():
        attempts.append(1)
        raise TransientError("no", 7.0 if len(attempts) == 2 else None)

    with pytest.raises(TransientError):
        web.persistently(fail, 4, 0.5, waits)
    assert len(attempts) == 4
    assert len(waits.seconds) == 3
    assert waits.seconds[0] <= 0.5
    assert waits.seconds[1] == 7.0
    assert waits.seconds[2] <= 2.0


def test_a_slow_answer_that_moves_is_waited_for(server, cancellation):
    url = server.on("/x", http_server.trickled(b"x" * 20_000, 0.05))
    started = time.monotonic()
    assert len(fetch(url, cancellation, WebLimits(connect_s=0.1, silence_s=0.4))[1]) == 20_000
    assert time.monotonic() - started > 0.5


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
def test_a_server_that_is_not_public_is_not_asked(server, cancellation, host, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", server.url("/"))
    url = server.on("/hook", content(b"taken")).replace("127.0.0.1", host)
    with pytest.raises(WebError, match=r"^127\.0\.0\.1 is not a public address$"):
        fetch(url, cancellation, WebLimits(public_only=True), "POST")
    assert not server.requests


@pytest.mark.parametrize("public_only", [False, True])
def test_a_proxy_of_the_environment_is_not_asked_for_what_has_to_be_public(public_only):
    """It would resolve the name by itself, wherever that leads."""
    limits = WebLimits(public_only=public_only)
    session = web._session(SimpleNamespace(limits=limits))
    assert session.trust_env is not public_only
