"""The remote reporter against a real server on loopback."""

import json
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarking.errors import ReporterError, UsageError
from benchmarking.reporters import remote_reporter
from benchmarking.reporters.remote_reporter import RemoteReporter
from tests.support.sample_results import AB, DELAY, ERROR, FAILED, REGRESSED

TOKEN = "s3cr3t-token"


class Collector(ThreadingHTTPServer):
    """Answers the steps in turn, the last one for ever: "ok", a status, a text, or a pause in seconds."""

    daemon_threads = True
    block_on_close = False

    def __init__(self):
        self.steps = ["ok"]
        self.bodies = []
        self.accepted = []
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
        elif step != "ok":
            answer = step
        if code == 200 and step == "ok":
            server.accepted.append(logs)
        self.send_response(code)
        if code == 302:
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
        self.end_headers()
        with suppress(OSError):  # the reporter may not have waited so long
            self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(remote_reporter, "READ_TIMEOUT_S", 0.5)
    monkeypatch.setattr(remote_reporter, "FIRST_WAIT_S", 0.01)
    collector = Collector()
    threading.Thread(target=collector.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield collector
    collector.shutdown()
    collector.server_close()


@pytest.fixture
def make(server, tmp_path):
    def make_reporter(target=None, token=TOKEN, allow_http=False):
        target = target or f"http://127.0.0.1:{server.server_port}/logs|perf"
        return RemoteReporter(
            target, access_token=token, allow_http=allow_http, spool_directory=tmp_path / "spool"
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
    assert net["int"]["time"] == AB.meta.time
    assert net["int"]["commit_time"] == AB.meta.commit_time
    assert net["int"]["control_commit_time"] == AB.meta.control_commit_time
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


@pytest.mark.parametrize("trouble", [500, 404, 302, {"count": 1}, "nonsense", 2.0], ids=str)
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


def test_a_damaged_file_of_the_spool_is_told_and_the_new_result_is_sent(server, make, tmp_path, caplog):
    server.steps = [500, "ok"]
    with pytest.raises(ReporterError):
        make().report(DELAY)
    spooled(tmp_path)[0].write_text("{")
    make().report(ERROR)
    assert len(server.accepted) == 1
    assert "cannot be read" in caplog.text


@pytest.mark.parametrize(
    ("target", "allow_http", "part"),
    [
        ("example.org/logs", False, "is not like"),
        ("|category", False, "is not like"),
        ("example.org/logs|", False, "is not like"),
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
