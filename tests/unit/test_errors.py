"""The exit statuses, which are part of the interface, and how faults are shown."""

import pytest

from benchmarking import errors
from benchmarking.errors import (
    EXIT_STATUS_MEANING,
    FAULTS_SHOWN,
    LONGEST_FAULT,
    ExitStatus,
    Fault,
    SpecificationError,
    run_meaning,
)


def test_each_exit_status_has_its_number_and_its_meaning():
    assert {one.name: int(one) for one in ExitStatus} == {
        "OK": 0,
        "INTERNAL_ERROR": 1,
        "BAD_USAGE": 2,
        "BENCHMARK_FAILED": 3,
        "DEVICE_FAILED": 4,
        "REGRESSION_CONFIRMED": 5,
        "REPORTER_FAILED": 6,
        "BUILD_FAILED": 7,
        "INCONCLUSIVE": 8,
        "INTERRUPTED": 130,
    }
    assert {*EXIT_STATUS_MEANING} <= {*ExitStatus}


def test_each_error_ends_a_program_with_its_status():
    kinds = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, Exception)]
    assert {one.__name__: int(one.exit_status) for one in kinds} == {
        "BenchmarkError": 3,
        **dict.fromkeys(["UsageError", "SpecificationError", "UnknownCommitError"], 2),
        **dict.fromkeys(["CaseError", "ModelError", "DownloadError", "ChecksumError", "ToleranceError"], 3),
        **dict.fromkeys(["ProgramError", "ProgramStartError", "ProgramExitError"], 3),
        **dict.fromkeys(["ProgramTimeoutError", "ProgramOutputError"], 3),
        **dict.fromkeys(["DeviceError", "DeviceLostError", "DeviceBusyError", "NoDeviceError"], 4),
        **dict.fromkeys(["RepositoryError", "RemoteError", "CheckoutError", "StorageError"], 4),
        "BuildError": 7,
        "HarnessError": 1,
        "HarnessRefusedError": 2,
        "ReporterError": 6,
        "RunCancelledError": 130,
    }


def test_what_an_interrupted_run_means():
    assert run_meaning(ExitStatus.INTERRUPTED, has_results=False).startswith("interrupted before the first")
    assert (
        run_meaning(ExitStatus.INTERRUPTED, has_results=True)
        == "interrupted; the finished tests were reported"
    )
    assert run_meaning(ExitStatus.OK, has_results=False) == EXIT_STATUS_MEANING[ExitStatus.OK]


@pytest.mark.parametrize(
    ("fault", "shown"),
    [
        (Fault("a.json", "$.tests[0].iter", "is negative"), "a.json: $.tests[0].iter: is negative"),
        (Fault("a.json", "$", "is no object"), "a.json: is no object"),
        (Fault("", "$", "there is none"), "there is none"),
        (Fault("a\x1b[2J\n.json", "$.x\u202e", "y\r"), "a?[2J?.json: $.x?: y?"),
    ],
)
def test_a_fault_is_one_harmless_line(fault, shown):
    assert str(fault) == shown


def test_a_long_fault_keeps_both_of_its_ends():
    long = f"/begin{'x' * 10_000}end.json"
    shown = str(Fault(long, f"$.{'y' * 10_000}", long))
    assert len(shown) <= LONGEST_FAULT
    assert shown.startswith("/beginxxx")
    assert shown.endswith("xxxend.json")
    assert shown.count("...") == 3
    # The longest that is shown whole.
    half = LONGEST_FAULT // 6 - 5
    assert str(Fault("", "$", "z" * 2 * half)) == "z" * 2 * half
    assert str(Fault("", "$", "z" * (2 * half + 1))) == f"{'z' * half}...{'z' * half}"


@pytest.mark.parametrize(
    ("count", "more"),
    [(1, None), (FAULTS_SHOWN, None), (FAULTS_SHOWN + 1, "1"), (FAULTS_SHOWN + 1234, "1,234")],
)
def test_the_first_faults_are_shown_and_the_others_counted(count, more):
    error = SpecificationError([Fault("a.json", "$", f"number {number}") for number in range(count)])
    lines = str(error).split("\n")
    assert lines[: min(count, FAULTS_SHOWN)] == [
        f"a.json: number {number}" for number in range(min(count, FAULTS_SHOWN))
    ]
    assert lines[FAULTS_SHOWN:] == ([] if more is None else [f"... and {more} more faults"])
    assert len(error.faults) == count
