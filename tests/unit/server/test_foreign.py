"""Files of other tools, written by hand in the shapes that the tools document."""

import json
import math

import pytest

from benchmarking.errors import UsageError
from benchmarking.results.model import NET_DELAY
from benchmarking.server import foreign
from benchmarking.server.foreign import Context

SHA = "a1" * 20
GITHUB_BENCH = {"name": "fib(20)", "unit": "ns/iter", "value": 1500, "range": "± 100"}
GITHUB_COMMIT = {
    "id": SHA,
    "timestamp": "2026-03-01T10:00:00+01:00",
    "message": "faster\n\nmore",
    "author": {"name": "Ann", "email": "ann@example.org"},
}
GOOGLE = {
    "context": {"host_name": "board", "date": "2026-03-01T10:00:00+00:00", "num_cpus": 4},
    "benchmarks": [
        {
            "name": "conv/8",
            "run_name": "conv/8",
            "run_type": "iteration",
            "real_time": 2.0,
            "time_unit": "ms",
        },
        {
            "name": "conv/8",
            "run_name": "conv/8",
            "run_type": "iteration",
            "real_time": 3.0,
            "time_unit": "ms",
        },
        {"name": "conv/8_mean", "run_name": "conv/8", "run_type": "aggregate", "real_time": 9.0},
        {
            "name": "bad",
            "run_name": "bad",
            "run_type": "iteration",
            "error_occurred": True,
            "error_message": "no",
        },
    ],
}
ASV = {
    "version": 2,
    "commit_hash": SHA,
    "date": 1_772_000_000_000,
    "env_name": "virtualenv-py3.12",
    "params": {"machine": "board"},
    "result_columns": ["result", "params", "version", "samples"],
    "results": {
        "suite.time_conv": [[0.001, None, "NaN"], [["8", "16", "32"]], "v", [[0.001, 0.002], None, None]],
        "suite.peakmem_conv": [[1000.0], [], "v"],
    },
}
LOADGEN = """:::MLLOG {"key": "effective_scenario", "value": "SingleStream", "time_ms": 1.0}
:::MLLOG {"key": "result_validity", "value": "VALID", "time_ms": 2.0}
:::MLLOG {"key": "result_50.00_percentile_latency_ns", "value": 2000000, "time_ms": 2.0}
:::MLLOG {"key": "result_99.90_percentile_latency_ns", "value": 3000000, "time_ms": 2.0}
"""
PYTEST = {
    "machine_info": {"node": "board", "python_version": "3.12.1"},
    "commit_info": {"id": SHA, "time": "2026-03-01T10:00:00+01:00", "branch": "main"},
    "datetime": "2026-03-01T11:00:00+00:00",
    "benchmarks": [{"fullname": "test_a.py::test_conv", "stats": {"data": [0.001, 0.003]}}],
}
CONBENCH = {
    "stats": {"data": [10.0, 12.0], "unit": "i/s"},
    "tags": {"name": "read", "size": 8},
    "github": {"commit": SHA},
    "machine_info": {"name": "board"},
    "timestamp": "2026-03-01T10:00:00Z",
}
LNT = {
    "format_version": "2",
    "machine": {"name": "board"},
    "run": {"end_time": "2026-03-01T10:00:00", "llvm_project_revision": SHA},
    "tests": [{"name": "conv", "execution_time": [0.1, 0.2], "score": 7.0}],
}
HUD = [
    {
        "benchmark": {"name": "nightly", "mode": "inference", "dtype": "bfloat16"},
        "model": {"name": "resnet50"},
        "metric": {"name": "latency(ms)", "benchmark_values": [2.0, 4.0]},
        "runners": [{"name": "a100"}],
    }
]


def results(document, **context):
    content = document if isinstance(document, str) else json.dumps(document)
    return foreign.read(content.encode(), Context(**context))


def shown(result):
    """What matters of it: name, test, device, commit, unit and the median."""
    test, origin = result.test, result.provenance
    kind = [(one.type, one.unit, round(one.summary.p50, 3)) for one in result.types]
    return (test.framework, test.net, test.metric, test.identifier, result.device.name, origin.commit, *kind)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (
            {"conv": {"latency": {"value": 2000, "lower_value": 1000, "upper_value": 3000}}},
            [("bencher", "conv", "delay", "conv", "unknown", "interactive", (NET_DELAY, "us", 2.0))],
        ),
        (
            [GITHUB_BENCH],
            [
                (
                    "github_action_benchmark",
                    "fib(20)",
                    "delay",
                    "fib(20)",
                    "unknown",
                    "interactive",
                    (NET_DELAY, "us", 1.5),
                )
            ],
        ),
        (
            "window.BENCHMARK_DATA = "
            + json.dumps(
                {"entries": {"suite": [{"commit": GITHUB_COMMIT, "date": 1, "benches": [GITHUB_BENCH]}]}}
            )
            + ";",
            [
                (
                    "github_action_benchmark",
                    "fib(20)",
                    "delay",
                    "suite",
                    "unknown",
                    SHA,
                    (NET_DELAY, "us", 1.5),
                )
            ],
        ),
        (
            GOOGLE,
            [
                (
                    "google_benchmark",
                    "conv/8",
                    "delay",
                    "conv/8",
                    "board",
                    "interactive",
                    (NET_DELAY, "us", 2500.0),
                ),
                ("google_benchmark", "bad", "delay", "bad", "board", "interactive"),
            ],
        ),
        (
            {
                "results": [
                    {
                        "command": "sleep 1",
                        "times": [1.0, 1.5],
                        "exit_codes": [0, 0],
                        "parameters": {"n": "1"},
                    }
                ]
            },
            [
                (
                    "hyperfine",
                    "sleep 1",
                    "delay",
                    "n=1",
                    "unknown",
                    "interactive",
                    (NET_DELAY, "us", 1_250_000.0),
                )
            ],
        ),
        (
            PYTEST,
            [
                (
                    "pytest_benchmark",
                    "test_a.py::test_conv",
                    "delay",
                    "test_a.py::test_conv",
                    "board",
                    SHA,
                    (NET_DELAY, "us", 2000.0),
                )
            ],
        ),
        (
            ASV,
            [
                ("asv", "suite.time_conv", "delay", "8", "board", SHA, (NET_DELAY, "us", 1500.0)),
                ("asv", "suite.time_conv", "delay", "16", "board", SHA),
                (
                    "asv",
                    "suite.peakmem_conv",
                    "value",
                    "suite.peakmem_conv",
                    "board",
                    SHA,
                    ("value", "", 1000.0),
                ),
            ],
        ),
        (CONBENCH, [("conbench", "read", "i/s", "size=8", "board", SHA, ("value", "i/s", 11.0))]),
        (
            LNT,
            [
                ("lnt", "conv", "delay", "conv", "board", SHA, (NET_DELAY, "us", 150_000.0)),
                ("lnt", "conv", "score", "score", "board", SHA, ("score", "", 7.0)),
            ],
        ),
        (
            LOADGEN,
            [
                (
                    "loadgen",
                    "SingleStream",
                    "delay",
                    "SingleStream",
                    "unknown",
                    "interactive",
                    (NET_DELAY, "us", 2000.0),
                )
            ],
        ),
        (
            HUD,
            [
                (
                    "pytorch_hud",
                    "resnet50",
                    "delay",
                    "nightly, inference, bfloat16",
                    "a100",
                    "interactive",
                    (NET_DELAY, "us", 3000.0),
                )
            ],
        ),
    ],
    ids=[
        "bencher",
        "github",
        "github history",
        "google",
        "hyperfine",
        "pytest",
        "asv",
        "conbench",
        "lnt",
        "loadgen",
        "hud",
    ],
)
def test_a_file_is_known_by_its_content(document, expected):
    assert [shown(one) for one in results(document)] == expected


def test_more_is_better_of_rates_and_scores():
    facts = [
        one.program.facts.get("higher_is_better", False)
        for one in (*results(CONBENCH), *results(LNT), *results(HUD))
    ]
    assert facts == [True, False, True, False]


def test_a_history_has_its_commits_and_their_authors():
    text = "window.BENCHMARK_DATA = " + json.dumps(
        {
            "entries": {
                "suite": [{"commit": GITHUB_COMMIT, "date": 1_772_000_000_000, "benches": [GITHUB_BENCH]}]
            }
        }
    )
    (one,) = results(text)
    origin = one.provenance
    assert (origin.author, origin.subject, origin.commit_time, origin.time) == (
        "Ann",
        "faster",
        1_772_355_600,
        1_772_000_000,
    )
    assert one.types[0].summary.median_interval.low == pytest.approx(1.4)


@pytest.mark.parametrize(
    ("document", "failure"),
    [
        (GOOGLE, "no"),
        (ASV, "the benchmark failed"),
        (LOADGEN.replace("VALID", "INVALID"), "LoadGen calls the run INVALID"),
        ({"results": [{"command": "false", "times": [1.0], "exit_codes": [1]}]}, "exit status 1"),
        ({"results": [{"command": "x", "times": [1.0], "exit_codes": [0, None]}]}, "ended by a signal"),
    ],
)
def test_what_failed_is_a_failure(document, failure):
    assert failure in [one.failure.message for one in results(document) if one.failure]


@pytest.mark.parametrize(
    ("spread", "unit", "width"),
    [
        ("± 2.5", "ns/iter", 0.0025),
        ("± 1,234.5", "ns/iter", 1.2345),
        ("+/- 3e-1", "us", 0.3),
        ("±0.74%", "ops/sec", 1.48),
        ("±10 %", "us", 20),
        ("stddev: 6.7e-7", "iter/sec", 0.0268),
        ("stddev: 6.7e-7", "us", 6.7e-7),
        ("1.2.3", "us", 1.2),
        ("± 0", "us", None),
        (".", "us", None),
        (None, "us", None),
    ],
)
def test_the_spread_of_a_benchmark_is_in_its_unit(spread, unit, width):
    value = 200_000 if unit.startswith("ns") else 200
    (one,) = results([{"name": "sort", "value": value, "unit": unit, "range": spread}])
    interval = one.types[0].summary.median_interval
    if width is None:
        assert interval is None
    else:
        assert (interval.low, interval.high) == pytest.approx((200 - width, 200 + width), rel=1e-12)


def test_the_user_says_what_a_file_does_not():
    (one,) = results([GITHUB_BENCH], commit="b" * 40, commit_time=1_772_000_000, device="laptop")
    assert (one.provenance.commit, one.provenance.time, one.device.name) == (
        "b" * 40,
        1_772_000_000,
        "laptop",
    )


def test_the_same_file_has_the_same_ids():
    first, again, other = results(GOOGLE), results(GOOGLE), results(PYTEST)
    assert [one.provenance.uid for one in first] == [one.provenance.uid for one in again]
    assert len({one.provenance.uid for one in (*first, *other)}) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[1, 2]", "form is not known"),
        (b'{"benchmarks": [{"real_time": "x"}]}', "damaged"),
        (b'{"results": [{"command": "x", "times": "y"}]}', "damaged"),
        (b'[{"benchmark": 1, "metric": 2}]', "damaged"),
        (b'{"a": {"b": {"value": null}}}', "damaged"),
    ],
)
def test_other_files_are_refused_in_a_line(content, message):
    with pytest.raises(UsageError, match=message) as caught:
        foreign.read(content, Context())
    assert "\n" not in str(caught.value)


def test_a_format_can_be_named():
    with pytest.raises(UsageError, match="there is no format 'x'; these are read: google_benchmark"):
        foreign.read(b"{}", Context(format="x"))
    assert math.isfinite(results(GOOGLE, format="google_benchmark")[0].net.summary.p50)
