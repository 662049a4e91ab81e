"""Messages about outputs that are compared with golden outputs."""

import numpy as np
import pytest

from benchmarking.driver import metrics
from benchmarking.errors import CaseError, ToleranceError
from benchmarking.specs.model import ToleranceSpec


def check(output, golden, **tolerance):
    outputs, expected = ({"out": np.asarray(one, np.float64)} for one in (output, golden))
    metrics.check_tolerance(outputs, expected, ToleranceSpec(**tolerance) if tolerance else None)


@pytest.mark.parametrize(
    ("output", "golden", "tolerance"),
    [
        ([1.0, 2.0], [1.0, 2.0], {"atol": 0.0, "rtol": 0.0}),
        ([1.25, 2.0], [1.0, 2.0], {"atol": 0.25, "rtol": 0.0}),
        ([110.0], [100.0], {"atol": 0.0, "rtol": 0.1}),
        ([1.0, np.nan], [5.0, 5.0], {}),  # no tolerance: nothing is asked for
    ],
)
def test_within_the_tolerance(output, golden, tolerance):
    check(output, golden, **tolerance)


@pytest.mark.parametrize(
    ("output", "golden", "tolerance"),
    [
        ([1.25], [1.0], {"atol": 0.125, "rtol": 0.0}),
        ([110.0], [100.0], {"atol": 0.0, "rtol": 0.05}),
        # rtol is a part of the golden value, not of the output: 10 off 100 is a tenth, 10 off 110 is less.
        ([110.0], [100.0], {"atol": 0.0, "rtol": 0.095}),
        ([np.nan], [1.0], {"atol": 9.0, "rtol": 9.0}),
    ],
)
def test_beyond_the_tolerance(output, golden, tolerance):
    with pytest.raises(ToleranceError):
        check(output, golden, **tolerance)


def test_the_worst_value_is_named_with_what_it_should_be():
    with pytest.raises(ToleranceError) as failure:
        check([1.0, 7.5, 3.25], [1.0, 2.5, 3.0], atol=0.1, rtol=0.01)
    assert str(failure.value) == (
        "2 of 3 values of 'out' are beyond the tolerance (atol 0.1, rtol 0.01); "
        "the worst is number 1: 7.5, golden 2.5"
    )


def test_every_blob_is_named():
    outputs = {"a": np.zeros(1), "b": np.zeros(1), "c": np.zeros(1)}
    golden = {"a": np.ones(1), "b": np.zeros(1), "c": np.full(1, 2.0)}
    with pytest.raises(ToleranceError, match=r"'a' are beyond.* golden 1; .*'c' are beyond.* golden 2$"):
        metrics.check_tolerance(outputs, golden, ToleranceSpec(atol=0.0, rtol=0.0))


def test_errors_are_of_the_output_and_summaries_of_both():
    outputs, control, golden = ({"out": np.array([1.0, last])} for last in (4.0, 3.0, 2.0))
    (result,) = metrics.error_results(outputs, control, golden, {"out": "golden.txt"})
    assert (result.summary.p100, result.control_summary.p100, result.diff_summary.p100) == (4.0, 2.0, 2.0)
    assert (result.error.max_absolute, result.error.max_relative) == (2.0, 1.0)
    assert result.control_error.max_absolute == 1.0
    with pytest.raises(CaseError, match=r"golden\.txt"):
        metrics.error_results({"out": np.ones(1)}, {}, {"out": np.ones(2)}, {"out": "golden.txt"})


def test_golden_values_that_are_no_numbers_do_not_hide_the_size_of_the_others():
    golden = {"some": np.array([np.nan, -3.0, 2.0]), "all": np.array([np.nan])}
    some, every = metrics.error_results(golden, {}, golden, dict.fromkeys(golden, "golden.txt"))
    assert (some.control_summary.p0, some.control_summary.p100, some.control_summary.count) == (-3.0, 2.0, 2)
    assert (some.error.max_absolute, some.error.count) == (0.0, 3)
    assert np.isnan(every.control_summary.p50)
