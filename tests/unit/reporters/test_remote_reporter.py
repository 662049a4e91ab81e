"""The remote reporter against a real server on loopback."""

import gzip
import json
import os
import socket
import struct
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarking.errors import ReporterError, UsageError
from benchmarking.files.web import WebLimits
from benchmarking.programs.process import Cancellation
from benchmarking.reporters import remote_reporter
from benchmarking.reporters.remote_reporter import RemoteReporter
from tests.support.sample_results import AB, DELAY, ERROR, FAILED, NASTY, NASTY_NAME, REGRESSED, having

TOKEN = "s3cr3t-token"


class Collector(ThreadingHTTPServer):
    """Answers the steps in turn, the last one for ever: "ok", a status, a text, or a pause in seconds.

    What holds a word of ``poison`` is refused with 413, while ``is_open`` is not set everything.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self):
        self.steps = ["ok"]
        self.bodies = []
        self.accepted = []
        self.headers = {}
        self.poison = []
        self.is_open = True
        self.reached, self.released = threading.Event(), threading.Event()
        super().__init__(("127.0.0.1", 0), CollectorHandler)


class CollectorHandler(BaseHTTPRequestHandler):
    def do_POST(self):
        server = self.server
        step = server.steps.pop(0) if len(server.steps) > 1 else server.steps[0]
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server.bodies.append(body)
        logs = json.loads(body["logs"])
        answer = {"count": len(logs)}
        code = 200
        if isinstance(step, int):
            code, answer = step, {"error": TOKEN}
        elif isinstance(step, float):
            time.sleep(step)
        elif callable(step):
            step(self)
            return
        elif step == "created":
            code, step = 201, "ok"
        elif step != "ok":
            answer = step
        if not server.is_open or any(word in body["logs"] for word in server.poison):
            code, answer = 413, {"error": "too large"}
        elif step == "ok":
            server.accepted.append(logs)
        self.send_response(code)
        for name, value in server.headers.items():
            self.send_header(name, value)
        if code == 302:
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
        self.end_headers()
        with suppress(OSError):  # the reporter may not have waited so long
            self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    limits = WebLimits(connect_s=0.5, silence_s=0.5, size_bytes=2**16)
    monkeypatch.setattr(remote_reporter, "LIMITS", limits)
    monkeypatch.setattr(remote_reporter, "FIRST_WAIT_S", 0.01)
    collector = Collector()
    threading.Thread(target=collector.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield collector
    collector.released.set()
    collector.shutdown()
    collector.server_close()


@pytest.fixture
def cancellation():
    with Cancellation() as one:
        yield one


@pytest.fixture
def make(server, tmp_path, cancellation):
    def make_reporter(target=None, token=TOKEN, allow_http=False):
        target = target or f"http://127.0.0.1:{server.server_port}/logs|perf"
        return RemoteReporter(
            target,
            access_token=token,
            allow_http=allow_http,
            spool_directory=tmp_path / "spool",
            cancellation=cancellation,
        )

    return make_reporter


def messages(logs):
    return [json.loads(log["message"]) for log in logs]


def spooled(tmp_path):
    return sorted((tmp_path / "spool").rglob("[0-9]*.json"))


def test_a_post_is_what_the_contract_says(server, make):
    reporter = make()
    reporter.report(AB)
    (body,) = server.bodies
    assert set(body) == {"access_token", "logs"}
    assert body["access_token"] == TOKEN
    logs = json.loads(body["logs"])
    assert [set(log) for log in logs] == [{"category", "message", "line_escape"}] * len(AB.types)
    assert {(log["category"], log["line_escape"]) for log in logs} == {("perf", False)}
    net = messages(logs)[0]
    summary, control = AB.types[0].summary, AB.types[0].control_summary
    assert net["int"]["time"] == AB.provenance.time
    assert net["int"]["commit_time"] == AB.provenance.commit_time
    assert net["int"]["control_commit_time"] == AB.provenance.control_commit_time
    assert net["int"]["p50"] == round(summary.p50 * 1000)
    assert net["int"]["control_p90"] == round(control.p90 * 1000)
    assert net["int"]["diff_p50"] == round((summary.p50 - control.p50) * 1000)
    assert "regressed" not in net["int"]
    assert all(isinstance(value, int) for value in net["int"].values())
    assert all(isinstance(value, str) for value in net["normal"].values())
    assert net["normal"]["type"] == "NET_DELAY"
    assert net["normvector"]["values"] == list(AB.types[0].values)
    assert net["normvector"]["control_values"] == list(AB.types[0].control_values)
    assert "127.0.0.1" in reporter.destination


def test_each_entry_has_its_own_id_beside_those_of_result_and_run(server, make):
    first, again = (having(DELAY, uid=uid, run_uid="run") for uid in ("one", "two"))
    make().report(first)
    make().report(again)
    entries = [one["normal"] for logs in server.accepted for one in messages(logs)]
    assert len({one["result_id"] for one in entries}) == len(entries) == 2 * len(DELAY.types)
    assert {(one["uid"], one["run_uid"]) for one in entries} == {("one", "run"), ("two", "run")}


def test_names_whose_bytes_are_not_text_are_sent(server, make):
    make().report(having(NASTY, failure=None))
    ((_, operator),) = (messages(logs) for logs in server.accepted)
    assert operator["normal"]["type"] == NASTY_NAME.replace("\ud800", "?")


def test_a_regression_is_marked_and_small_errors_are_exact(server, make):
    make().report(REGRESSED)
    make().report(ERROR)
    regressed, errors = (messages(logs) for logs in server.accepted)
    assert regressed[0]["int"]["regressed"] == 1
    assert errors[0]["int"]["p100"] == 0
    assert errors[0]["exact"]["error"]["max_absolute"] == 2.5e-7


def test_failed_tests_are_not_sent_as_measurements(server, make):
    make().report(FAILED)
    assert server.bodies == []


@pytest.mark.parametrize("code", [503, 429])
def test_what_the_server_surely_refused_is_sent_again(server, make, tmp_path, code):
    server.steps = [code, code, "ok"]
    make().report(DELAY)
    assert len(server.bodies) == 3
    assert len(server.accepted) == 1
    assert spooled(tmp_path) == []


@pytest.mark.parametrize("code", [503, 429])
def test_how_often_it_is_sent_again_and_that_the_servers_wish_is_heeded(
    server, make, tmp_path, monkeypatch, cancellation, code
):
    waits = []
    monkeypatch.setattr(cancellation, "wait", waits.append)
    server.steps = [code]
    server.headers = {"Retry-After": "7"}
    with pytest.raises(ReporterError, match=f"kept in .*{code}"):
        make().report(DELAY)
    assert len(server.bodies) == 3
    assert waits == [7.0, 7.0]


def test_any_success_with_the_right_count_is_one(server, make, tmp_path):
    server.steps = ["created"]
    make().report(DELAY)
    assert spooled(tmp_path) == []


@pytest.mark.parametrize(
    "trouble", [500, 502, 404, 302, 413, 204, {"count": 1}, {"count": True}, "nonsense", 2.0], ids=str
)
def test_what_may_have_been_taken_is_not_sent_again_at_once_but_kept(server, make, tmp_path, trouble):
    server.steps = [trouble]
    with pytest.raises(ReporterError, match="kept in") as caught:
        make().report(DELAY)
    assert TOKEN not in str(caught.value)
    assert len(server.bodies) == 1
    (path,) = spooled(tmp_path)
    assert TOKEN not in path.read_text()


def test_what_was_kept_is_sent_before_the_next_result_with_the_same_ids(server, make, tmp_path):
    server.steps = [2.0, "ok"]
    with pytest.raises(ReporterError):
        make().report(DELAY)
    make().report(ERROR)
    assert spooled(tmp_path) == []
    late, new = (messages(logs) for logs in server.accepted)
    first_try = messages(json.loads(server.bodies[0]["logs"]))
    identities = [one["normal"]["result_id"] for one in late]
    assert identities == [one["normal"]["result_id"] for one in first_try]
    assert len(set(identities)) == len(DELAY.types)
    assert new[0]["normal"]["net_name"] == "lenet"


def test_an_absent_server_loses_nothing(make, server, tmp_path):
    away = make("http://127.0.0.1:9/logs|perf")
    for _ in range(2):
        with pytest.raises(ReporterError, match="kept in"):
            away.report(DELAY)
    assert away.destination is None
    assert len(spooled(tmp_path)) == 2
    make().report(DELAY)  # another target: it sends nothing of the first one's
    assert len(server.bodies) == 1


def reset(handler):
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


def drip(handler):
    handler.close_connection = True
    handler.send_response(200)
    handler.send_header("Content-Length", "4000")
    handler.end_headers()
    handler.server.reached.set()
    with suppress(OSError):
        while not handler.server.released.wait(0.05):
            handler.wfile.write(b" ")


def bomb(handler):
    body = gzip.compress(bytes(2**26))
    handler.send_response(200)
    handler.send_header("Content-Encoding", "gzip")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    with suppress(OSError):
        handler.wfile.write(body)


@pytest.mark.parametrize("step", [reset, drip, bomb])
def test_a_post_that_was_sent_is_not_sent_again_whatever_the_server_does_then(server, make, tmp_path, step):
    server.steps = [step]
    with pytest.raises(ReporterError, match=r"kept in .*did not answer"):
        make().report(DELAY)
    assert len(server.bodies) == 1
    assert len(spooled(tmp_path)) == 1


def test_a_cancellation_ends_the_wait_for_an_answer_and_the_post_is_kept(
    server, make, tmp_path, monkeypatch, cancellation
):
    monkeypatch.setattr(remote_reporter, "LIMITS", WebLimits(connect_s=60, silence_s=60))
    server.steps = [drip]
    threading.Thread(target=lambda: (server.reached.wait(30), cancellation.set())).start()
    with pytest.raises(ReporterError, match=r"kept in .*cancelled"):
        make().report(DELAY)
    with pytest.raises(ReporterError, match=r"kept in .*cancelled"):  # what is told after the interruption
        make().report(ERROR)
    assert len(server.bodies) == 1
    assert len(spooled(tmp_path)) == 2


def test_words_of_a_server_are_harmless_and_short(server, make):
    server.steps = ["\x1b[31m<html>\r\n" + "x" * 10_000]
    with pytest.raises(ReporterError) as caught:
        make().report(DELAY)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


# --- the spool ----------------------------------------------------------------------------------------------


def named(name, of=DELAY):
    return having(of, identifier=name)


def keep(make, *results):
    for one in results:
        with pytest.raises(ReporterError, match="kept in"):
            make().report(one)


def set_aside(tmp_path):
    """Maps the content of the post to the reason."""
    reasons = {}
    for path in (tmp_path / "spool").rglob("set_aside/*.json"):
        reasons[path.read_text()[:20_000]] = path.with_suffix(".reason.txt").read_text()
    return reasons


def test_a_post_that_is_refused_for_ever_is_set_aside_once_the_server_takes_others(
    server, make, tmp_path, caplog
):
    server.poison, server.is_open = ["bad one"], False
    keep(make, named("bad one"), named("good one"))
    assert set_aside(tmp_path) == {}  # it refuses everybody
    server.is_open = True
    make().report(named("new one"))
    identifiers = [messages(logs)[0]["normal"]["identifier"] for logs in server.accepted]
    assert identifiers == ["good one", "new one"]
    assert not list((tmp_path / "spool").glob("*/[0-9]*.json"))
    ((text, reason),) = set_aside(tmp_path).items()
    assert "bad one" in text
    assert "413" in reason
    assert caplog.text.count("is set aside as") == 1
    known = len(server.bodies)
    make().report(DELAY)
    assert len(server.bodies) == known + 1


def test_a_post_that_is_refused_is_set_aside_also_where_nothing_else_was_kept(server, make, tmp_path):
    server.poison = ["bad one"]
    keep(make, named("bad one"))
    make().report(DELAY)
    assert len(set_aside(tmp_path)) == 1
    assert len(server.accepted) == 1


def test_posts_that_fail_otherwise_go_behind_the_others(server, make, tmp_path):
    server.steps = [500]
    count = remote_reporter.SPOOL_FAILURES
    keep(make, *[named(f"odd {number}") for number in range(count)], named("good one"))
    known = len(server.bodies)
    server.steps = [*[500] * count, "ok"]
    make().report(DELAY)
    assert len(server.bodies) == known + count + 1  # it may be the server: no more than this
    make().report(DELAY)
    assert messages(server.accepted[1])[0]["normal"]["identifier"] == "good one"
    assert spooled(tmp_path) == []


@pytest.mark.parametrize("damage", ["{cut", "[]", "{}", "null", '["text"]', "[" * 10_000, "fifo", "large"])
def test_a_damaged_file_is_set_aside_and_holds_up_nothing(
    server, make, tmp_path, caplog, monkeypatch, damage
):
    server.is_open = False
    keep(make, named("damaged"), named("kept"))
    server.is_open = True
    first, second = spooled(tmp_path)
    if damage == "fifo":
        first.unlink()
        os.mkfifo(first)
    elif damage == "large":
        limit = second.stat().st_size
        monkeypatch.setattr(remote_reporter, "LARGEST_POST_BYTES", limit)
        first.write_text(first.read_text() + " " * limit)
    else:
        first.write_text(damage)
    make().report(ERROR)
    assert len(server.accepted) == 2
    assert not list(first.parent.glob("[0-9]*.json"))
    assert caplog.text.count("is set aside as") == 1
    assert "it is damaged" in caplog.text
    assert (first.parent / "set_aside" / first.name).exists()


def test_a_spool_that_cannot_be_changed_costs_a_warning(server, make, tmp_path, caplog):
    server.steps = [500, "ok"]
    keep(make, DELAY)
    (path,) = spooled(tmp_path)
    path.write_text("{")
    (path.parent / "set_aside").write_text("in the way")
    make().report(ERROR)
    assert "cannot be set aside" in caplog.text
    assert len(server.accepted) == 1


@pytest.mark.parametrize(
    ("target", "allow_http", "part"),
    [
        ("example.org/logs", False, "does not have the form"),
        ("|category", False, "does not have the form"),
        ("example.org/logs|", False, "does not have the form"),
        ("http://example.org/logs|perf", False, "--allow_http"),
        ("ftp://example.org/logs|perf", True, "not an http"),
        ("https://|perf", False, "not an http"),
    ],
)
def test_targets_that_are_refused(make, target, allow_http, part):
    with pytest.raises(UsageError, match=part):
        make(target, allow_http=allow_http)


@pytest.mark.parametrize(
    ("target", "allow_http", "url"),
    [
        ("example.org/logs|perf", False, "https://example.org/logs"),
        ("http://localhost:1/logs|perf", False, "http://localhost:1/logs"),
        ("http://[::1]/logs|perf", False, "http://[::1]/logs"),
        ("http://example.org/logs|perf", True, "http://example.org/logs"),
    ],
)
def test_targets_that_are_accepted(make, target, allow_http, url):
    assert make(target, allow_http=allow_http).destination == f"results sent to {url}"


def test_the_token_is_in_no_representation(make):
    assert TOKEN not in repr(make())
