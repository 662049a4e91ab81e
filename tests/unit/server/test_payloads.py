"""What --remote_reporter posts in the form of the contract, and what another FAI-PEP posts, as results."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from benchmarking.programs.process import Cancellation
from benchmarking.reporters.remote_reporter import RemoteReporter
from benchmarking.server import payloads
from benchmarking.server.admission import RefusedError
from tests.support import sample_results as samples
from tests.support.sample_results import having

FAI_PEP = {
    "int": {
        "time": 1_772_000_060,
        "commit_time": 1_772_000_000,
        "p0": 900,
        "p10": 950,
        "p50": 1000,
        "p90": 1100,
        "p100": 1200,
    },
    "normal": {
        "type": "NET_DELAY",
        "metric": "delay",
        "net_name": "squeezenet",
        "identifier": "squeezenet-1",
        "platform": "host",
        "framework": "caffe2",
        "commit": "a1" * 20,
        "command": "harness.py --platform 'host'",
    },
    "normvector": {"values": [], "control_values": []},
}


def logs_of(result):
    with Cancellation() as cancellation:
        reporter = RemoteReporter(
            "http://localhost/x|perf",
            access_token=None,
            allow_http=True,
            spool_directory=Path(),
            cancellation=cancellation,
        )
        return [reporter._log(result, one) for one in result.types]


def body(logs, token="t"):
    return json.dumps({"access_token": token, "logs": json.dumps(logs)}).encode()


def message(**changes):
    return [{"category": "c", "message": json.dumps({**FAI_PEP, **changes}), "line_escape": False}]


@pytest.mark.parametrize(
    "result", [samples.DELAY, samples.AB, samples.ERROR, samples.REGRESSED, samples.FELL_BACK]
)
def test_our_own_posts_are_read_back(result):
    result = having(result, uid="one", run_uid="run", branch="main", subject="[1]", position=7)
    post = payloads.read_post(body(logs_of(result)))
    assert (post.access_token, post.count) == ("t", len(result.types))
    (back,) = post.results
    assert (back.test, back.device, back.program, back.workload) == (
        result.test,
        result.device,
        result.program,
        result.workload,
    )
    assert back.provenance == result.provenance
    for own, given in zip(back.types, result.types, strict=True):
        assert (own.type, own.unit, own.values, own.regressed) == (
            given.type,
            given.unit,
            given.values,
            given.regressed,
        )
        assert own.summary == given.summary
        assert (own.comparison, own.error) == (given.comparison, given.error)


def test_the_post_of_another_fai_pep_is_read():
    (one,) = payloads.read_post(body(message())).results
    assert (one.test.net, one.test.device, one.provenance.command) == (
        "squeezenet",
        "host",
        ("harness.py", "--platform", "host"),
    )
    assert (one.net.summary.p50, one.net.summary.p100, one.net.values) == (1.0, 1.2, ())
    (again,) = payloads.read_post(body(message())).results
    assert again.provenance.uid == one.provenance.uid != ""


def test_the_types_of_one_test_are_one_result():
    other = {**FAI_PEP, "normal": {**FAI_PEP["normal"], "type": "Conv"}}
    logs = [
        *message(),
        {"message": json.dumps(other)},
        *message(normal={**FAI_PEP["normal"], "net_name": "lenet"}),
    ]
    results, count = payloads.results_of_logs(json.dumps(logs))
    assert ([[one.type for one in result.types] for result in results], count) == (
        [["NET_DELAY", "Conv"], ["NET_DELAY"]],
        3,
    )


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"{}", "logs: Field required"),
        (b'{"logs": "x"}', "not JSON"),
        (b'{"logs": "{}"}', "should be a list"),
        (body([{"message": "{}"}]), "Field required"),
        (body(message(normal={})), "not a result"),
        (body(message(int={"time": 1})), "not a result"),
        (body(message(int={**FAI_PEP["int"], "time": 2**70})), "not a result"),
    ],
)
def test_other_posts_are_refused_in_a_line(content, fault):
    with pytest.raises(RefusedError, match=fault) as caught:
        payloads.read_post(content)
    assert "\n" not in str(caught.value)


def test_values_make_the_summary():
    values = {"values": [1.0, 2.0, 30.0], "control_values": [2.0]}
    (one,) = payloads.read_post(body(message(normvector=values))).results
    assert (one.net.summary.p50, one.net.control_summary.p50, replace(one.net, values=()).summary.count) == (
        2.0,
        2.0,
        3,
    )


def test_what_another_fai_pep_does_not_send_is_made_up():
    control = {f"control_{name}": value * 2 for name, value in FAI_PEP["int"].items() if name.startswith("p")}
    whole = {**FAI_PEP, "int": {**FAI_PEP["int"], **control, "regressed": 1}}
    (one,) = payloads.read_post(body([{"message": json.dumps(whole)}])).results
    assert one.net.regressed
    assert (one.test.backend, one.provenance.run_type, one.provenance.control_commit) == (
        *(None, "benchmark", None),
    )
    for summary, scale in ((one.net.summary, 1), (one.net.control_summary, 2)):
        assert asdict(summary) == {
            "p0": 0.9 * scale,
            "p10": 0.95 * scale,
            "p50": 1.0 * scale,
            "p90": 1.1 * scale,
            "p95": 1.2 * scale,
            "p99": 1.2 * scale,
            "p100": 1.2 * scale,
            "count": 0,
            "mean": 1.0 * scale,
            "standard_deviation": 0.0,
            "median_interval": None,
        }
    (other,) = payloads.read_post(body(message(normal={**FAI_PEP["normal"], "command": "a 'b"}))).results
    assert other.provenance.command == ("a 'b",)
    assert not other.net.regressed


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"nonsense", "the post is not JSON: Expecting value: line 1 column 1 (char 0)"),
        (b'{"logs": 7}', "the post: logs: Input should be a valid string"),
        (body([{"message": "{}"}, 1]), "the post: logs.1: "),
        (body([*message(), {"message": "{"}]), "log 1: message is not JSON: "),
        (body([{"message": "{}"}] * 5000), "log 0: message: int: Field required"),
        (body([{"message": "{}"}] * 5001), "the post: logs: "),
    ],
)
def test_the_place_of_a_fault_is_named(content, fault):
    with pytest.raises(RefusedError) as raised:
        payloads.read_post(content)
    assert str(raised.value).startswith(fault)
    assert "http" not in str(raised.value)


def test_another_document_is_refused():
    with pytest.raises(RefusedError, match=r"^this is not a document of --json: "):
        payloads.results_of_document(b"[]")
