"""Numbers and short texts as people see them."""

from dataclasses import replace

import pytest

from benchmarking.reporters import numbers
from benchmarking.reporters.reporter_base import RunSummary
from benchmarking.results.model import Comparison, Cost, Interval, Kernel, Program
from tests.support.sample_results import AB, DELAY, ERROR, FELL_BACK, JUDGED, SAMPLING, having, on_backends


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (numbers.memory(81.4 * 2**20), "81.4 MiB"),
        (numbers.memory(812 * 2**20), "812 MiB"),
        (numbers.duration(999.4), "999 us"),
        (numbers.duration(1000), "1.00 ms"),
        (numbers.duration(1e6), "1.00 s"),
        (numbers.duration(-2e6), "-2.00 s"),
        (numbers.duration(0.5), "0.50 us"),
        (numbers.duration(9.994), "9.99 us"),
        (numbers.duration(10), "10.0 us"),
        (numbers.duration(100), "100 us"),
        (numbers.duration_range(Interval(-2e6, 1e3, 0.9)), "-2000 to 1.00 ms"),
        (numbers.percent_interval(Interval(1.02, 0.958, 0.9)), "[+2.0 %, -4.2 %]"),
        (numbers.change(Comparison(3, 1.031, Interval(1.02, 1.042, 0.9))), "+3.1 % [+2.0 %, +4.2 %]"),
        (numbers.change(Comparison(3, 1.031, None)), "+3.1 %"),
        (numbers.short_commit("a1" * 20), "a1a1a1a1a1a1"),
        (numbers.short_commit("a1" * 19), "a1" * 19),
        (
            numbers.short_commit("a-name-that-is-as-long-as-a-hash-of-a-git"),
            "a-name-that-is-as-long-as-a-hash-of-a-git",
        ),
        (numbers.error(0.00012345), "0.000123"),
        (numbers.throughput(Cost(1000, 71_300_000, 0), 1000.0), "71.3 GFLOP/s"),
        (numbers.throughput(Cost(1000, 0, 5), 1000.0), ""),
        (numbers.throughput(Cost(1000, 5, 5), 0.0), ""),
        (numbers.operator("ID_0_Conv_conv1"), ("Conv", "conv1")),
        (numbers.operator("conv1"), ("", "conv1")),
        (numbers.shape((1, 3)), "1x3"),
        (numbers.shape(()), "scalar"),
        (numbers.counted(0, "pair"), "0 pairs"),
        (numbers.counted(1, "pair"), "1 pair"),
        (numbers.counted(2, "pair"), "2 pairs"),
        (numbers.counts({"passed": 3, "failed": 0, "known": 1}), "3 passed, 1 known"),
        (numbers.counts({"passed": 0}), "no tests"),
        (numbers.threads(having(DELAY, program=Program("", {"threads": 1}))), "1 thread"),
        (numbers.threads(having(DELAY, program=Program("", {"threads": 4}))), "4 threads"),
        (numbers.threads(having(DELAY, program=Program("", {"threads": "many"}))), ""),
        (numbers.versions(DELAY), ""),
        (numbers.overview_delay(ERROR), ""),
        (numbers.largest_error(DELAY), ""),
        (numbers.test_name(DELAY), "squeezenet delay delay-0 on Linux-x86_64-Example"),
        (
            numbers.test_name(having(AB, run_type="verify")),
            "squeezenet delay delay-ab on Linux-x86_64-Example (verify)",
        ),
        (
            numbers.test_name(on_backends("delay-0", 1.0)[1]),
            "squeezenet delay delay-0 with nnpack on Linux-x86_64-Example",
        ),
        (numbers.guarantee([DELAY, ERROR]), ""),
        (
            numbers.guarantee([DELAY, JUDGED]),
            "with identical programs, at most 0.1 % of such runs confirm a regression",
        ),
        (numbers.closing([DELAY, ERROR], RunSummary(0, 1.26)), "2 passed in 1.3 s"),
        (numbers.closing([], RunSummary(3, 2.0)), "no tests in 2.0 s; at least one test failed"),
        (
            numbers.closing([], RunSummary(130, 2.0)),
            "no tests in 2.0 s; interrupted before the first test was finished",
        ),
        (
            numbers.closing([DELAY], RunSummary(130, 2.0)),
            "1 passed in 2.0 s; interrupted; the finished tests were reported",
        ),
        (numbers.ran_on(DELAY), ""),
    ],
)
def test_what_is_shown(shown, expected):
    assert shown == expected


PEAKS = {"peak_flops_per_s": 1e11, "peak_bytes_per_s": 1e10}


@pytest.mark.parametrize(
    ("cost", "time_us", "peaks", "expected"),
    [
        (Cost(0, 62_000_000, 1_000_000), 1000.0, PEAKS, "62 % compute"),
        (Cost(0, 10_000_000, 8_000_000), 1000.0, PEAKS, "80 % memory"),
        (Cost(0, 10_000_000, 8_000_000), 1000.0, {"peak_flops_per_s": 1e11}, "10 % compute"),
        (Cost(0, 10_000_000, 8_000_000), 1000.0, {"peak_flops_per_s": 0, "peak_bytes_per_s": "fast"}, ""),
        (Cost(0, 10_000_000, 8_000_000), 0.0, PEAKS, ""),
    ],
)
def test_the_share_of_the_peak(cost, time_us, peaks, expected):
    assert numbers.share_of_peak(cost, time_us, peaks) == expected


def with_kernels(**kernels):
    known = {f"ID_{at}_{name}": Kernel(*kernel) for at, (name, kernel) in enumerate(kernels.items())}
    return having(DELAY, backend="nnpack", program=replace(FELL_BACK.program, facts={}, kernels=known))


@pytest.mark.parametrize(
    ("count", "line"),
    [
        (1, "Conv c1 fell back to gemm"),
        (3, "Conv c1, Conv c2, Conv c3 fell back to gemm"),
        (4, "Conv c1, Conv c2, Conv c3 and 1 more fell back to gemm"),
        (6, "Conv c1, Conv c2, Conv c3 and 3 more fell back to gemm"),
    ],
)
def test_operators_that_fell_back_are_named_by_the_kernel_that_ran_instead(count, line):
    others = {f"Conv_c{number}": ("gemm", False) for number in range(1, count + 1)}
    result = with_kernels(
        Conv_c0=("winograd", True), Relu_r=("relu", False), Relu_s=("relu", False), **others
    )
    assert numbers.fallbacks(result) == [line]
    assert numbers.without_kernels(result) == "no kernels for 2 Relu"
    assert numbers.ran_on(result) == f"nnpack: 1 of {count + 3} operators"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "12 pairs of 5 iterations in turn on core 2, 3.5 s, by CPU time: it computes"),
        ({"core": None}, "12 pairs of 5 iterations in turn, 3.5 s, by CPU time: it computes"),
        (
            {"level": "process", "clock": "wall"},
            "12 pairs of whole processes (process-level: no workers), 3.5 s, by wall time: it computes",
        ),
    ],
)
def test_how_programs_were_compared(changes, line):
    how = replace(
        SAMPLING,
        level="iteration",
        level_reason="no workers",
        pairs=12,
        rounds=5,
        core=2,
        duration_s=3.46,
        clock="cpu",
        clock_reason="it computes",
        canary="",
    )
    assert numbers.sampling(replace(how, **changes)) == [line]
    assert numbers.sampling(replace(how, canary="sound"))[1:] == ["canary: sound"]
