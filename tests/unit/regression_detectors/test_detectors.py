import math
import re
from dataclasses import replace

import pytest

from benchmarking.regression_detectors.error_detector import ErrorDetector
from benchmarking.regression_detectors.regression_detectors import DETECTORS, detector_names, make_detector
from benchmarking.results.model import Comparison, ErrorStatistics, Percentiles, TypeResult, Verdict
from benchmarking.statistics import summaries


def delay(center, *, difference=None):
    values = [center + offset for offset in range(-5, 6)]
    diff = None if difference is None else Percentiles(*[difference + step for step in (-4, -2, 0, 2, 4)])
    return TypeResult("NET_DELAY", "us", summaries.summarize(values), values=tuple(values), diff_summary=diff)


def error(max_absolute, control=None, *, root_mean_square=None, golden=1.0):
    def statistics(value, rms=None):
        return None if value is None else ErrorStatistics(10, value, value, rms or value, 1.0)

    return TypeResult(
        "softmax",
        "",
        summaries.summarize([0.0]),
        control_summary=summaries.summarize([0.0, golden]),
        error=statistics(max_absolute, root_mean_square),
        control_error=statistics(control),
    )


def test_every_detector_has_its_name():
    for metric, detectors in DETECTORS.items():
        for name, detector in detectors.items():
            assert (detector.metric, detector.name) == (metric, name)
            assert type(make_detector(metric, name)) is detector
    assert detector_names() == ("p50_p90", "change_points")


def test_a_metric_without_a_choice_has_its_detector_whatever_is_chosen():
    assert isinstance(make_detector("error", "change_points"), ErrorDetector)
    with pytest.raises(KeyError):
        make_detector("nonesuch")


def test_delay_verdicts():
    history = [delay(100), delay(101), delay(99), delay(100)]
    decide = make_detector("delay").decide
    assert decide(history, delay(100)).verdict is Verdict.UNCHANGED
    assert decide(history, delay(120)).verdict is Verdict.REGRESSED
    assert decide(history, delay(80)).verdict is Verdict.IMPROVED
    assert decide(history[:2], delay(120)).verdict is Verdict.INCONCLUSIVE
    assert "120" in decide(history, delay(120)).reason


def test_delay_verdicts_at_the_limits():
    decide = make_detector("delay").decide
    history = [delay(100)] * 10  # p10 96, p90 104
    assert decide(history, delay(104)).verdict is Verdict.UNCHANGED
    assert decide(history, delay(104.1)).verdict is Verdict.REGRESSED
    assert decide(history, delay(96)).verdict is Verdict.UNCHANGED
    assert decide(history, delay(95.9)).verdict is Verdict.IMPROVED
    assert (
        decide([*history, delay(90)], delay(95)).verdict is Verdict.IMPROVED
    )  # a single low run is not a limit
    assert decide([*history, delay(110)], delay(105)).verdict is Verdict.REGRESSED


def test_in_an_ab_run_the_difference_to_the_control_counts_not_the_delay():
    history = [delay(100, difference=0), delay(90, difference=1), delay(110, difference=-1)]
    decide = make_detector("delay").decide
    assert decide(history, delay(500, difference=0)).verdict is Verdict.UNCHANGED
    assert decide(history, delay(100, difference=20)).verdict is Verdict.REGRESSED
    plain_history = [delay(100)] * 5
    assert decide(plain_history, delay(100, difference=20)).verdict is Verdict.INCONCLUSIVE


def test_error_verdicts():
    decide = make_detector("error").decide
    assert decide([], error(1e-3)).verdict is Verdict.INCONCLUSIVE
    assert decide([error(1e-3)], error(1e-3)).verdict is Verdict.UNCHANGED
    assert decide([error(1e-3)], error(2e-3)).verdict is Verdict.REGRESSED
    assert decide([error(1e-3)], error(1e-4)).verdict is Verdict.IMPROVED
    assert decide([], error(2e-3, control=1e-3)).verdict is Verdict.REGRESSED
    assert decide([error(1e-3)], error(float("nan"))).verdict is Verdict.REGRESSED


@pytest.mark.parametrize(
    ("treatment", "control", "verdict"),
    [
        (2.5e-7, 1e-7, Verdict.UNCHANGED),  # units in the last place
        (1e-5, 1e-7, Verdict.REGRESSED),
        (1.3e-3, 1e-3, Verdict.UNCHANGED),  # another order of sums, in half precision
        (0.0, 0.0, Verdict.UNCHANGED),
        (1e-3, 0.0, Verdict.REGRESSED),
        (0.0, 1e-3, Verdict.IMPROVED),
        (math.nan, 1e-3, Verdict.REGRESSED),
        (math.inf, 1e-3, Verdict.REGRESSED),
        (math.nan, math.nan, Verdict.UNCHANGED),
        (1e-3, math.nan, Verdict.IMPROVED),
    ],
)
def test_an_error_is_judged_by_the_controls_beyond_rounding(treatment, control, verdict):
    decision = make_detector("error").decide([], error(treatment, control))
    assert decision.verdict is verdict
    assert "the control's" in decision.reason


def test_rounding_is_of_the_size_of_the_golden_values():
    decide = make_detector("error").decide
    assert decide([], error(1e-3, 1e-4, golden=1000.0)).verdict is Verdict.UNCHANGED
    assert decide([], error(1e-3, 1e-4, golden=1.0)).verdict is Verdict.REGRESSED


@pytest.mark.parametrize("golden", [0.0, 1e-320, math.nan])
def test_golden_values_without_a_size_allow_rounding_too(golden):
    """Only zeros: any error is infinitely many times the control's 0."""
    decide = make_detector("error").decide
    assert decide([], error(1e-12, 0.0, golden=golden)).verdict is Verdict.UNCHANGED
    assert decide([], error(0.0, 1e-12, golden=golden)).verdict is Verdict.UNCHANGED
    assert decide([], error(2e-8, 0.0, golden=golden)).verdict is Verdict.REGRESSED
    assert decide([], error(1e-12, 0.0, golden=1e-20)).verdict is Verdict.REGRESSED


@pytest.mark.parametrize("infinite", [-math.inf, math.inf])
def test_a_mask_in_the_golden_values_does_not_hide_their_size(infinite):
    """A tenth of the golden values are infinite, as those of a mask are; the others are up to 1."""
    golden = [infinite] * 10 + [value / 90 for value in range(1, 91)]
    newest, wrong = (
        replace(error(size, 1e-7), control_summary=summaries.summarize(golden)) for size in (3e-7, 1e-4)
    )
    decide = make_detector("error").decide
    assert decide([], newest).verdict is Verdict.UNCHANGED
    assert decide([], wrong).verdict is Verdict.REGRESSED


def test_many_larger_errors_count_though_the_largest_is_the_same():
    decide = make_detector("error").decide
    newest = replace(error(1e-2, 1e-2, root_mean_square=9e-3))
    newest = replace(newest, control_error=ErrorStatistics(10, 1e-2, 1e-2, 1e-3, 1.0))
    assert decide([], newest).verdict is Verdict.REGRESSED


def test_with_a_control_the_history_does_not_count():
    decide = make_detector("error").decide
    assert decide([error(1e-3)], error(2e-3, control=2e-3)).verdict is Verdict.UNCHANGED
    assert decide([error(9e-3)], error(2e-3, control=1e-3)).verdict is Verdict.REGRESSED


# --- change points ------------------------------------------------------------------------------------------


def runs(*levels, in_ab=False):
    """Newest first. The given number of runs of each level, with a noise of half a percent."""
    values = [
        level * (1 + 0.005 * ((7 * number) % 5 - 2) / 2) for level, count in levels for number in range(count)
    ]
    found = [
        TypeResult(
            "NET_DELAY",
            "us",
            summaries.summarize([5.0 if in_ab else value]),
            comparison=Comparison(6, value, None) if in_ab else None,
        )
        for value in values
    ]
    return found[::-1]


@pytest.mark.parametrize("in_ab", [False, True])
def test_a_step_is_reported_once_when_enough_runs_show_it(in_ab):
    decide = make_detector("delay", "change_points").decide
    series = runs((100, 15), (103, 20), in_ab=in_ab)[::-1]
    verdicts = [decide(series[:number][::-1], series[number]).verdict for number in range(len(series))]
    assert verdicts[:15] == [Verdict.INCONCLUSIVE] * 15
    assert verdicts.count(Verdict.REGRESSED) == 1
    told = verdicts.index(Verdict.REGRESSED)
    assert 21 <= told <= 24
    reason = decide(series[:told][::-1], series[told]).reason
    assert re.match(
        r"a step from [\d.]+ to [\d.]+ \(\+[23]\.\d%\) shown by the newest [789] of 2\d runs, p ", reason
    )


@pytest.mark.parametrize("newest", [math.inf, math.nan])
def test_a_run_without_a_finite_value_is_not_judged_by_those_before_it(newest):
    """They show a step, which was reported with the last of them."""
    decide = make_detector("delay", "change_points").decide
    history = [one for level in (5.0, 1.0) for one in [delays_of(level)] * 8]
    assert decide(history[1:], history[0]).verdict is Verdict.REGRESSED
    assert decide(history, delays_of(newest)).verdict is Verdict.INCONCLUSIVE


def test_a_step_from_nothing_is_a_step():
    """Times that a coarse clock could not tell from 0 before."""
    history = [one for level in (5.0, 0.0) for one in [delays_of(level)] * (7 if level else 8)]
    decision = make_detector("delay", "change_points").decide(history, delays_of(5.0))
    assert decision.verdict is Verdict.REGRESSED
    assert decision.reason.startswith("a step from 0 to 5 shown by the newest 8 of 16 runs")


def delays_of(level):
    return TypeResult("ID_0_Relu_a", "us", summaries.summarize([level]))


def test_a_step_down_is_an_improvement():
    decide = make_detector("delay", "change_points").decide
    series = runs((100, 15), (90, 20))[::-1]
    verdicts = [decide(series[:number][::-1], series[number]).verdict for number in range(len(series))]
    assert verdicts.count(Verdict.IMPROVED) == 1
    assert Verdict.REGRESSED not in verdicts


def test_a_creep_is_also_reported_once():
    decide = make_detector("delay", "change_points").decide
    series = runs(*((100 * 1.0004**number, 1) for number in range(60)))[::-1]
    decisions = [decide(series[:number][::-1], series[number]) for number in range(len(series))]
    (creep,) = (one for one in decisions if one.reason.startswith("a creep"))
    assert creep.verdict is Verdict.REGRESSED


def test_in_an_ab_run_only_runs_with_a_control_count():
    decide = make_detector("delay", "change_points").decide
    (newest,) = runs((1.0, 1), in_ab=True)
    assert decide(runs((100, 40)), newest).verdict is Verdict.INCONCLUSIVE
