import math
from itertools import combinations, pairwise, product
from statistics import mean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from benchmarking.statistics import change_points
from benchmarking.statistics.change_points import (
    MINIMUM_RUNS,
    ChangePoint,
    divergence,
    find_change_points,
    find_creep,
)


def noisy(*levels, noise=0.01, seed=0):
    """A series around the levels, each given with its number of values."""
    random = np.random.default_rng(seed)
    level = np.concatenate([np.full(count, value, dtype=float) for value, count in levels])
    return (level * np.exp(random.normal(0, noise, len(level)))).tolist()


def indexes(values, links=()):
    return [one.index for one in find_change_points(values, links)]


@pytest.mark.parametrize("size", [5e-324, 1e-200, 1e-160, 1e99])
def test_sizes_whose_squares_are_not_finite(size):
    assert indexes([0.0, size] * 20) == []
    for values in ([0.0] * 20 + [size] * 20, [0.0, 0.0, size] * 7 + [size] * 21):
        assert find_creep(values, find_change_points(values)) is not None
    assert indexes([1e-99] * 20 + [1e99] * 20) == [20]


@pytest.mark.parametrize(
    ("links", "needed"), [((), 2.0), ((40,), 13**0.5), ((37, 43), 22**0.5), ((36,), 2.0)]
)
def test_a_step_near_links_needs_three_deviations_more_for_each_as_the_hypotenuse(links, needed):
    certain = [
        change_points._is_certain(ChangePoint(40, 1.0, 2.0, 0.0, one * needed), links) for one in (0.99, 1.01)
    ]
    assert certain == [False, True]


# --- the statistic ------------------------------------------------------------------------------------------


def slow_divergence(values, split, end):
    """As the paper writes it, sum by sum."""
    left, right = values[:split], values[split:end]
    across = mean(abs(a - b) for a, b in product(left, right))
    inside = [mean(abs(a - b) for a, b in combinations(side, 2)) for side in (left, right)]
    return len(left) * len(right) / (len(left) + len(right)) * (2 * across - sum(inside))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(-20, 20), min_size=4, max_size=14), st.integers(2, 4))
def test_the_split_is_the_best_of_all_that_there_are(values, minimum):
    if len(values) < 2 * minimum:
        return
    split, end, q = divergence(np.array(values, dtype=float), minimum)
    every = {
        (one, other): slow_divergence(values, one, other)
        for one in range(minimum, len(values) - minimum + 1)
        for other in range(one + minimum, len(values) + 1)
    }
    assert (split, end) in every
    assert q == pytest.approx(every[split, end], abs=1e-9)
    assert q == pytest.approx(max(every.values()), abs=1e-9)


@given(
    st.lists(st.floats(-5, 5), min_size=2, max_size=20), st.lists(st.floats(-5, 5), min_size=2, max_size=20)
)
def test_students_t_is_scipys(left, right):
    left, right = np.array(left), np.array(right)
    if min(np.var(left), np.var(right)) < 1e-6:
        return
    assert change_points._p_value(left, right) == pytest.approx(scipy_stats.ttest_ind(left, right).pvalue)


# --- steps --------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    st.integers(10, 60),
    st.integers(10, 60),
    st.sampled_from([0.5, 0.9, 1.05, 1.2, 4.0]),
    st.integers(0, 1000),
)
def test_a_step_is_found_where_it_is(before, after, size, seed):
    values = noisy((100, before), (100 * size, after), noise=0.005, seed=seed)
    (one,) = find_change_points(values)
    assert one.index == before
    assert one.after / one.before == pytest.approx(size, rel=0.02)
    assert one.p_value < 1e-6
    assert one.deviations > 2
    assert find_creep(values, [one]) == ()


@given(st.floats(-1e6, 1e6), st.integers(1, 100))
def test_what_never_changes_has_no_change(value, count):
    assert find_change_points([value] * count) == ()
    assert find_creep([value] * count, ()) == ()


def test_a_step_without_any_noise():
    (one,) = find_change_points([5.0] * 10 + [6.0] * 10)
    assert (one.index, one.before, one.after, one.p_value, one.deviations) == (10, 5.0, 6.0, 0.0, math.inf)


@settings(max_examples=30, deadline=None)
@given(st.integers(-20, 20), st.integers(0, 1000))
def test_the_unit_does_not_matter(power, seed):
    values = noisy((100, 30), (104, 40), (99, 30), seed=seed)
    scaled = [value * 2.0**power for value in values]
    assert indexes(scaled) == indexes(values)


def test_values_that_are_not_positive_are_compared_as_they_are():
    random = np.random.default_rng(1)
    values = np.concatenate([random.normal(-3, 1, 40), random.normal(5, 1, 40)])
    assert indexes(values.tolist()) == [40]
    assert indexes((values * 8).tolist()) == [40]


def test_several_steps_also_there_and_back():
    values = noisy((100, 40), (105, 30), (100, 50), (90, 12), (100, 40))
    assert indexes(values) == [40, 70, 120, 132]
    assert indexes(values[::-1]) == [40, 52, 102, 132]


def test_short_or_small_changes_and_outliers_are_not_levels():
    short = MINIMUM_RUNS // 2
    assert indexes(noisy((100, 40), (130, short), (100, 40), noise=0.001)) == []
    assert indexes(noisy((100, 40), (130, short), noise=0.001)) == []
    assert indexes(noisy((100, 40), (130, MINIMUM_RUNS), noise=0.001)) == [40]
    assert indexes(noisy((100, 40), (100.5, 40), noise=0.0001)) == []
    assert indexes(noisy((100, 40), (102, 40), noise=0.0001)) == [40]
    assert indexes(noisy((100, 500), (101.5, 500), noise=0.02)) == []
    for count in range(2 * MINIMUM_RUNS):
        assert indexes([1.0] * (count // 2) + [2.0] * (count - count // 2)) == []


def test_a_long_series_is_searched_in_windows_that_miss_nothing():
    places = [370, 395, 420, 800, 1300]
    edges = [0, *places, 1400]
    levels = [(100 + 10 * (number % 2), end - first) for number, (first, end) in enumerate(pairwise(edges))]
    assert indexes(noisy(*levels)) == places


def test_noise_alone_gives_no_alarm():
    for seed in range(10):
        random = np.random.default_rng(seed)
        for values in (random.normal(0, 1, 1000), random.lognormal(0, 1, 1000), random.standard_t(2, 1000)):
            found = find_change_points(values.tolist())
            assert found == ()
            assert find_creep(values.tolist(), found) == ()


def test_where_another_control_begins_a_change_has_to_be_larger():
    small, large = noisy((100, 40), (102.5, 40)), noisy((100, 40), (110, 40))
    assert indexes(small) == indexes(small, links=[20, 60]) == [39]
    assert indexes(small, links=[40]) == indexes(small, links=[38]) == []
    assert indexes(large, links=[40, 41]) == [40]


# --- creep --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", [1, -1])
def test_steps_too_small_for_themselves_are_a_creep(direction):
    weeks = [(100 * math.exp(direction * 0.002 * week), 10) for week in range(20)]
    values = noisy(*weeks)
    steps = find_change_points(values)
    assert steps == ()
    (one,) = find_creep(values, steps)
    assert one.last_good == 24
    assert 25 < one.first_bad < 150
    assert one.after / one.before == pytest.approx(math.exp(direction * 0.002 * 17), rel=0.01)
    assert np.sign(one.after - one.before) == direction


def test_half_a_percent_a_week_is_found_in_any_noise():
    for noise in (0.001, 0.003, 0.01, 0.02):
        for seed in range(5):
            values = noisy(*((100 * 1.005**week, 10) for week in range(30)), noise=noise, seed=seed)
            (first, *_) = creeps = find_creep(values, find_change_points(values))
            assert all(one.after > one.before for one in creeps)
            assert first.last_good < first.first_bad


def test_stairs_are_a_creep_from_the_first_to_the_last():
    values = noisy((100, 30), (103, 30), (106, 30), (110, 30))
    steps = find_change_points(values)
    (one,) = find_creep(values, steps)
    assert (one.last_good, one.first_bad) == (steps[0].index - 1, steps[-1].index)
    assert (one.before, one.after) == (steps[0].before, steps[-1].after)
    down_between = noisy((100, 30), (103, 30), (98, 30), (103, 30))
    assert find_creep(down_between, find_change_points(down_between)) == ()


def test_every_other_control_on_the_way_lets_a_creep_say_less():
    values = noisy(*((100 * math.exp(0.002 * week), 10) for week in range(20)))
    assert find_creep(values, ())
    assert find_creep(values, (), links=[150]) == ()
    assert find_creep(values, (), links=[5, 195])
