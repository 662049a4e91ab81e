import random
from dataclasses import replace

import pytest

from benchmarking.records.series import Point
from benchmarking.server.triage.findings import (
    MINIMUM_RUNS,
    NEWEST,
    Observation,
    SeriesHistory,
    Verdict,
    advice,
    changes,
    confirmed,
    is_back,
)
from benchmarking.server.triage.life import Indicator, IndicatorKey, Source

KEY = IndicatorKey(7, "NET_DELAY")


def history(values, **settings):
    """Commit 100 + n has the n-th value."""
    observations = [
        Observation(
            100 + number, (number, 0), Point(f"commit{number}", 1000 + number, value, position=number)
        )
        for number, value in enumerate(values)
    ]
    return SeriesHistory(KEY.series, KEY.type, observations, **settings)


def noisy(*levels, runs=20, scatter=0.01, seed=3):
    source = random.Random(seed)
    return [level * source.gauss(1, scatter) for level in levels for _ in range(runs)]


def step(before=100.0, after=110.0, last_good=None):
    return Indicator(KEY, Source.STEP, before, after, last_good=last_good)


def test_a_step_is_advice_at_its_commit():
    seen = history(noisy(100, 110))
    found = changes(seen)
    assert [(one.last_good, one.first_bad, one.is_creep) for one in found] == [(119, 120, False)]
    (located,) = advice(seen, found)
    assert (located.commit, located.indicator.source) == (120, Source.STEP)
    assert located.indicator.ratio == pytest.approx(1.1, rel=0.01)
    assert set(located.near) == {117, 118, 119, 121, 122, 123}


def test_an_improvement_is_a_change_but_no_advice():
    seen = history(noisy(110, 100))
    found = changes(seen)
    assert len(found) == 1
    assert list(advice(seen, found)) == []


def test_where_higher_is_better_less_is_worse():
    seen = history(noisy(110, 100), is_lower_better=False)
    assert [one.commit for one in advice(seen, changes(seen))] == [120]


def test_a_step_that_went_away_is_no_advice():
    seen = history(noisy(100, 110, 100))
    assert len(changes(seen)) == 2
    assert list(advice(seen, changes(seen))) == []


def test_a_step_of_last_year_is_no_advice():
    seen = history(noisy(100, 110) + noisy(110, runs=110, seed=4))
    assert list(advice(seen, changes(seen))) == []


def test_a_creep_is_one_advice():
    """Of four steps that are each too small."""
    seen = history(noisy(100, 100.9, 101.8, 102.7, 103.6, scatter=0.009))
    (one,) = advice(seen, changes(seen))
    assert (one.indicator.source, one.near) == (Source.CREEP, ())


BACK = {
    "the newest three are": ([100] * 10 + [110] * 5 + [101, 99, 100], True),
    "one of three is not": ([100] * 10 + [110] * 5 + [101, 106, 100], False),
    "two are too few": ([100] * 10 + [110] + [100, 100], False),
    "half way is not back": ([100] * 10 + [110] * 5 + [104.9] * 3, False),
    "nothing was measured since": ([100] * 10 + [110], False),
    "without any run before it": ([110, 110, 100, 100, 100], True),
}


@pytest.mark.parametrize(("values", "expected"), BACK.values(), ids=BACK)
def test_the_newest_values_are_back(values, expected):
    first_bad = values.index(110)
    for last_good in (None, 100 + first_bad - 1):
        assert is_back(history(values), (first_bad, 0), step(last_good=last_good)) is expected


def test_commits_before_the_verdict_may_have_had_the_regression():
    """The control is the commit 4; the commits 5 to 9 were slow but not judged."""
    seen = history([100] * 5 + [110] * 15)
    assert not is_back(seen, (10, 0), step(last_good=104))
    assert not is_back(seen, (10, 0), step())


def test_a_commit_that_was_not_measured_itself_is_between_its_neighbours():
    assert is_back(history([100] * 5 + [110] * 5 + [100] * 3), (4.5, 0), step())


def test_a_series_that_moved_as_a_whole_is_compared_with_its_own_level():
    """The indicator was found on another scale, for example relative to an older control."""
    assert is_back(history([1.0] * 10 + [1.1] * 5 + [1.01] * 3), (10, 0), step())


def test_an_error_that_was_zero_is_back_below_the_middle():
    seen = history([0.0, 0.0, 0.5, 0.1, 0.1, 0.1], is_error=True)
    assert is_back(seen, (2, 0), step(0.0, 0.5))


def test_ratios_to_the_control_of_the_week_do_not_hide_a_regression():
    """After the control moved behind the regression, the ratio is 1 again; the level is not."""
    observations = [
        Observation(
            number,
            (number, 0),
            Point(f"c{number}", number, value, ratio, None, f"c{control}", control, position=number),
        )
        for number, (value, ratio, control) in enumerate(
            [(100, 1.0, 0)] * 5 + [(110, 1.1, 0)] * 5 + [(110, 1.0, 9)] * 5
        )
    ]
    assert not is_back(SeriesHistory(7, "NET_DELAY", observations), (5, 0), step())


SERIES = history([])


def verdict(commit, control, time, types=("NET_DELAY",)):
    return Verdict(
        result=1000 + commit,
        commit=commit,
        order=(commit, 0),
        control=control,
        control_order=(control, 0),
        time=time,
        levels=dict.fromkeys(types, (1.0, 1.1)),
    )


def test_a_verdict_is_an_indicator_of_its_commit():
    (located,), moved = confirmed(SERIES, [verdict(20, 10, 1)])
    assert (located.commit, located.indicator.source, located.indicator.result) == (20, Source.VERDICT, 1020)
    assert moved == {}


@pytest.mark.parametrize("is_reversed", [False, True])
def test_the_loop_traces_a_regression_to_an_earlier_commit(is_reversed):
    verdicts = [verdict(20, 10, 1), verdict(15, 13, 2)]
    (located,), moved = confirmed(SERIES, verdicts[::-1] if is_reversed else verdicts)
    assert (located.commit, located.indicator.source) == (15, Source.BISECTION)
    assert moved == {20: 15}


def test_two_regressions_of_one_week_are_two():
    located, moved = confirmed(SERIES, [verdict(15, 10, 1), verdict(20, 10, 2)])
    assert [one.commit for one in located] == [15, 20]
    assert moved == {}


def test_a_verdict_on_an_older_week_does_not_explain_a_newer():
    located, moved = confirmed(SERIES, [verdict(20, 10, 1), verdict(8, 5, 2)])
    assert {one.commit for one in located} == {8, 20}
    assert moved == {}


def test_an_operator_has_its_own_cause():
    verdicts = [verdict(20, 10, 1, ("NET_DELAY", "MatMul")), verdict(15, 13, 2, ("MatMul",))]
    assert [one.commit for one in confirmed(SERIES, verdicts)[0]] == [20]
    assert [one.commit for one in confirmed(replace(SERIES, type="MatMul"), verdicts)[0]] == [15]


@pytest.mark.parametrize(
    ("last_good", "where"),
    [(None, slice(0, 0)), (99, slice(0, 0)), (100, slice(0, 1)), (119, slice(20 - MINIMUM_RUNS, 20))],
)
def test_the_runs_that_show_the_level_before(last_good, where):
    assert history([100.0] * 40).good(step(last_good=last_good)) == where


@pytest.mark.parametrize(
    ("index", "near"),
    [
        (5, (104, 106, 103, 107, 102, 108)),
        (0, (101, 102, 103)),
        (9, (108, 107, 106)),
    ],
)
def test_the_commits_that_may_also_be_meant_the_nearest_first(index, near):
    assert history([100.0] * 10).near(index) == near


@pytest.mark.parametrize(("newest", "expected"), [(0.24, True), (0.26, False)])
def test_half_way_from_an_error_that_was_zero(newest, expected):
    seen = history([0.0, 0.0, 0.5, *[newest] * 3], is_error=True)
    assert is_back(seen, (2, 0), step(0.0, 0.5)) is expected


def test_the_errors_of_a_series_are_no_ratios():
    observations = [
        replace(one, point=replace(one.point, ratio=7.0, control_commit="c0", control_commit_time=1))
        for one in history([0.5, 0.6]).observations
    ]
    assert SeriesHistory(7, "x", observations, is_error=True).levels.values == (0.5, 0.6)


@pytest.mark.parametrize(("runs_since", "is_advice"), [(NEWEST, True), (NEWEST + 1, False)])
def test_how_old_advice_may_be(runs_since, is_advice):
    seen = history(noisy(100) + noisy(110, runs=runs_since, seed=4))
    (change,) = changes(seen)
    assert (change.last_good, change.first_bad) == (119, 120)
    assert [one.commit for one in advice(seen, [change])] == [120] * is_advice
