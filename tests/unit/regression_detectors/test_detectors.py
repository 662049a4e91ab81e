from benchmarking import stats
from benchmarking.regression_detectors.regression_detectors import DETECTORS, make_detector
from benchmarking.results import ErrorStatistics, Percentiles, TypeResult, Verdict


def delay(center, *, difference=None):
    values = [center + offset for offset in range(-5, 6)]
    diff = None if difference is None else Percentiles(*[difference + step for step in (-4, -2, 0, 2, 4)])
    return TypeResult("NET_DELAY", "us", stats.summarize(values), values=tuple(values), diff_summary=diff)


def error(max_absolute, control=None):
    def statistics(value):
        return None if value is None else ErrorStatistics(10, value, value, value, 1.0)

    return TypeResult(
        "softmax",
        "",
        stats.summarize([0.0]),
        error=statistics(max_absolute),
        control_error=statistics(control),
    )


def test_every_detector_is_registered_under_its_metric():
    assert {name: type(make_detector(name)) for name in DETECTORS} == DETECTORS


def test_delay_verdicts():
    history = [delay(100), delay(101), delay(99), delay(100)]
    decide = make_detector("delay").decide
    assert decide(history, delay(100)).verdict is Verdict.UNCHANGED
    assert decide(history, delay(120)).verdict is Verdict.REGRESSED
    assert decide(history, delay(80)).verdict is Verdict.IMPROVED
    assert decide(history[:2], delay(120)).verdict is Verdict.INCONCLUSIVE
    assert "120" in decide(history, delay(120)).reason


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
