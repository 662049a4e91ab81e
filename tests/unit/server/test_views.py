"""What is said of a device in one line."""

import pytest

from benchmarking.server.triage.views import DeviceView


@pytest.mark.parametrize(
    ("results", "failed", "tainted", "problem"),
    [
        (0, 0, 0, ""),
        (8, 0, 1, ""),
        (8, 0, 2, "2 of the newest 8 results are tainted"),
        (7, 0, 2, "2 of the newest 7 results are tainted"),
        (9, 0, 2, ""),
        (8, 3, 8, "8 of the newest 8 results are tainted"),
        (8, 4, 8, "4 of the newest 8 results failed"),
        (7, 4, 0, "4 of the newest 7 results failed"),
    ],
)
def test_the_problem_of_a_device(results, failed, tainted, problem):
    device = DeviceView("1", "d", "h", 1, results, tainted, failed, (), 0, 0, {}, {})
    assert device.problem == problem
