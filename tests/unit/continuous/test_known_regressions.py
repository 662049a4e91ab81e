import json

import pytest

from benchmarking.continuous.known_regressions import RESULTS_PATH, KnownRegressions, known_regressions
from benchmarking.programs.process import Cancellation
from tests.support import http_server
from tests.support.http_server import content, endless, raw, status

COMMITS = {"a" * 40: "expected", "b" * 40: "ignored", "c" * 40: "acknowledged"}


@pytest.fixture
def server():
    with http_server.running() as one:
        yield one


@pytest.fixture
def ask(server):
    with Cancellation() as cancellation:
        yield lambda: KnownRegressions(server.url(RESULTS_PATH), "mlb_secret", cancellation).silenced(
            {*COMMITS, "d" * 40}
        )


def answer(found):
    return json.dumps({"regressions": found}).encode()


def test_expected_and_ignored_ones_are_silent(server, ask):
    seen = []

    def behaviour(handler):
        seen.append((handler.path, handler.headers["Authorization"]))
        rows = [
            {"commit": {"sha": commit}, "state": state, "owner": "Ana"} for commit, state in COMMITS.items()
        ]
        content(answer([*rows, {"commit": {"sha": "e" * 40}, "state": "ignored"}]))(handler)

    server.on("/api/v1/regressions", behaviour)
    assert ask() == {"a" * 40, "b" * 40}
    ((path, token),) = seen
    assert path.count("commit=") == 4
    assert token == "Bearer mlb_secret"


ANSWERS = {
    "nothing there": status(404),
    "not allowed": status(401),
    "no JSON": content(b"<html>"),
    "something else": content(b'{"regressions": [{"commit": 1}]}'),
    "a list": content(b"[]"),
    "without end": endless(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "nothing": raw(b""),
}


@pytest.mark.parametrize("behaviour", ANSWERS.values(), ids=ANSWERS)
def test_without_an_answer_nothing_is_silent(server, ask, behaviour, caplog, monkeypatch):
    from benchmarking.continuous import known_regressions as module
    from benchmarking.files.web import WebLimits

    monkeypatch.setattr(module, "LIMITS", WebLimits(connect_s=0.3, silence_s=0.3, size_bytes=1000))
    server.on("/api/v1/regressions", behaviour)
    assert ask() == set()
    assert "which regressions are known is unknown" in caplog.text
    assert "mlb_secret" not in caplog.text


@pytest.mark.parametrize(
    ("target", "url"),
    [
        ("bench.example/api/v1/results|nightly", "https://bench.example/api/v1/results"),
        ("http://localhost:8080/api/v1/results", "http://localhost:8080/api/v1/results"),
        ("https://bench.example/team/api/v1/results/|x", "https://bench.example/team/api/v1/results"),
        ("https://bench.example/benchmarks|nightly", None),
        (None, None),
    ],
)
def test_only_a_server_of_ours_is_asked(target, url):
    with Cancellation() as cancellation:
        found = known_regressions(target, None, cancellation)
    assert (found.results_url if found else None) == url
