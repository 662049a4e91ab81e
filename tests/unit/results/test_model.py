import math
from dataclasses import replace

import pytest

from benchmarking.results.model import NET_DELAY, Outcome, Verdict, by_test
from tests.support.sample_results import DELAY, JUDGED, decided, delays, errors, having, on_device


def staged(result, run_type, **changes):
    return having(result, run_type=run_type, **changes)


def test_the_stages_of_a_test_belong_together_and_nothing_else_does():
    first, second, third = (staged(JUDGED, one) for one in ("benchmark", "verify", "regress"))
    elsewhere = on_device(second, "phone", "another")
    other_metric = staged(JUDGED, "benchmark", metric="error")
    other_backend = staged(JUDGED, "benchmark", backend="mkl")
    assert by_test([first, elsewhere, other_metric, second, other_backend, third]) == [
        (first, second, third),
        (elsewhere,),
        (other_metric,),
        (other_backend,),
    ]


@pytest.mark.parametrize(
    ("own", "other", "ratio"),
    [
        (1e-3, 1e-3, 1.0),
        (0.0, 0.0, 1.0),
        (1e-3, 0.0, math.inf),
        (1e-3, 2e-3, 0.5),
        # As for the verdict, NaN counts as infinitely wrong.
        (math.nan, math.nan, 1.0),
        (math.inf, math.nan, 1.0),
        (math.nan, 1e-3, math.inf),
        (1e-3, math.nan, 0.0),
    ],
)
def test_the_ratio_of_errors_is_that_of_the_largest(own, other, ratio):
    found = replace(errors("y", own), control_error=errors("y", other).error)
    assert found.ratio == pytest.approx(ratio)


def test_a_test_that_a_suite_names_twice_is_two():
    assert by_test([DELAY, DELAY]) == [(DELAY,), (DELAY,)]
    verified = staged(JUDGED, "verify")
    assert by_test([JUDGED, verified, JUDGED, verified]) == [(JUDGED, verified)] * 2


@pytest.mark.parametrize(
    ("verdict", "is_confirmed", "known", "outcome"),
    [
        (Verdict.REGRESSED, False, False, Outcome.SUSPICIOUS),
        (Verdict.REGRESSED, True, False, Outcome.VERIFIED),
        (Verdict.REGRESSED, True, True, Outcome.KNOWN),
        (Verdict.IMPROVED, False, False, Outcome.IMPROVED),
        (Verdict.IMPROVED, True, False, Outcome.NOT_CONFIRMED),
    ],
)
def test_the_outcome_of_a_comparison(verdict, is_confirmed, known, outcome):
    one = decided(delays(NET_DELAY, 100.0), verdict, "by much")
    one = replace(one, known=known, confirmation=one.decision if is_confirmed else None)
    assert having(DELAY, types=(one,)).outcome is outcome


def test_the_times_of_the_clock_that_decided_are_shown_with_the_verdict():
    by_wall, by_clock = delays("x", 1.0).summary, delays("x", 2.0).summary
    one = replace(delays("x", 1.0), control_summary=by_wall)
    assert (one.judged_summary, one.judged_control_summary) == (one.summary, by_wall)
    one = replace(one, clock_summary=by_clock, control_clock_summary=by_clock)
    assert (one.judged_summary, one.judged_control_summary) == (by_clock, by_clock)
