"""The exit statuses, which are part of the interface."""

from benchmarking.errors import EXIT_STATUS_MEANING, ExitStatus


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
