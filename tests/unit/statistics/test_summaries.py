import itertools
import math
import random
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, wilcoxon

from benchmarking.errors import CaseError
from benchmarking.results.model import Percentiles
from benchmarking.statistics import summaries

finite = st.floats(-1e6, 1e6)


@given(st.lists(finite, min_size=1, max_size=60))
def test_a_summary_agrees_with_numpy(values):
    summary = summaries.summarize(values)
    assert (summary.p0, summary.p10, summary.p50, summary.p90, summary.p100) == pytest.approx(
        tuple(np.percentile(values, [0, 10, 50, 90, 100]))
    )
    assert summary.count == len(values)
    assert summary.mean == pytest.approx(np.mean(values))
    assert (summary.p95, summary.p99) == pytest.approx(tuple(np.percentile(values, [95, 99])))
    of_the_sample = math.sqrt(
        math.fsum((one - summary.mean) ** 2 for one in values) / max(len(values) - 1, 1)
    )
    assert summary.standard_deviation == pytest.approx(of_the_sample, rel=1e-6, abs=1e-6)


def test_a_summary_in_numbers():
    summary = summaries.summarize(range(101))
    assert (summary.p10, summary.p50, summary.p90, summary.p95, summary.p99) == (10, 50, 90, 95, 99)
    assert summaries.summarize([1.0, 3.0]).standard_deviation == pytest.approx(math.sqrt(2))
    assert summaries.summarize([7.0]).standard_deviation == 0


@pytest.mark.filterwarnings("error")
def test_infinite_values_have_their_place_among_the_percentiles():
    """The mask in an output of a model: numpy's interpolation gives NaN between two infinities."""
    inf = math.inf
    summary = summaries.summarize([3.0, 2.0, inf, -inf, inf, -inf, 1.0])
    assert (summary.p0, summary.p10, summary.p50, summary.p90, summary.p100) == (-inf, -inf, 2.0, inf, inf)
    assert summaries.percentiles(np.array([1.0, inf, 2.0])).p90 == inf
    assert summaries.percentiles(np.array([1.0, inf, 2.0])).p50 == 2.0
    assert summaries.percentiles(np.array([-inf, 1.0, 2.0])).p10 == -inf
    assert math.isnan(summaries.percentiles(np.array([-inf, inf])).p50)
    assert math.isnan(summaries.summarize([1.0, math.nan, inf]).p0)


def test_the_interval_of_the_median_covers_it_as_often_as_it_says():
    generator = random.Random(1)
    hits = 0
    for _ in range(4000):
        interval = summaries.summarize([generator.expovariate(1.0) for _ in range(20)]).median_interval
        hits += interval.low <= math.log(2) <= interval.high
    assert interval.confidence >= 0.95
    assert hits / 4000 == pytest.approx(interval.confidence, abs=0.012)


def test_the_interval_of_the_median_in_numbers():
    assert summaries.summarize([1, 2, 3, 4, 5]).median_interval is None
    interval = summaries.summarize([6, 5, 4, 3, 2, 1]).median_interval
    assert (interval.low, interval.high) == (1, 6)
    assert interval.confidence == pytest.approx(1 - 2 / 2**6)
    # Tabulated for n = 20: the 6th and the 15th value, 95.86 %.
    interval = summaries.summarize(range(1, 21)).median_interval
    assert (interval.low, interval.high) == (6, 15)
    assert interval.confidence == pytest.approx(0.9586, abs=1e-4)
    # The ranks that are not looked at have no probability that a number could hold.
    for count in (1000, 1599, 1600, 1601, 5000, 100_000):
        interval = summaries.summarize(range(1, count + 1)).median_interval
        below = int(binom.ppf(0.025, count, 0.5))  # the smallest with a probability above 2.5 %
        assert (interval.low, interval.high) == (below, count + 1 - below)
        assert interval.confidence == pytest.approx(1 - 2 * binom.cdf(below - 1, count, 0.5), abs=1e-7)


def test_samples_of_one_process_do_not_pass_for_independent_ones():
    generator = random.Random(4)
    hits = 0
    for _ in range(1000):
        values, processes = [], []
        for process in range(9):
            center = generator.gauss(100, 5)
            values += [generator.gauss(center, 1) for _ in range(30)]
            processes += [process] * 30
        interval = summaries.summarize(values, processes).median_interval
        hits += interval.low <= 100 <= interval.high
    assert interval.confidence == pytest.approx(0.9609, abs=1e-3)
    assert hits / 1000 == pytest.approx(interval.confidence, abs=0.025)
    assert summaries.summarize([1, 2] * 5, [0, 1] * 5).median_interval is None


def test_the_contracts_difference():
    treatment, control = Percentiles(10, 20, 30, 40, 50), Percentiles(1, 2, 3, 4, 5)
    assert summaries.difference_percentiles(treatment, control) == Percentiles(5, 16, 27, 38, 49)


@pytest.mark.parametrize("count", range(1, 9))
def test_the_null_distribution_of_the_signed_rank(count):
    """Against all 2^n ways of giving signs to the ranks."""
    frequencies = np.zeros(count * (count + 1) // 2 + 1)
    for signs in itertools.product((0, 1), repeat=count):
        frequencies[sum(rank * sign for rank, sign in zip(range(1, count + 1), signs, strict=True))] += 1
    assert summaries.signed_rank_probabilities(count) == pytest.approx(frequencies / 2**count)


@given(st.lists(st.integers(-3, 3), max_size=9))
def test_the_signed_rank_p_value_agrees_with_all_patterns_of_signs(values):
    """Also with ties, which get their mean rank, and zeros, which are ranked and have no sign."""
    magnitudes = sorted(abs(value) for value in values)
    last = {magnitude: place for place, magnitude in enumerate(magnitudes, start=1)}
    ranks = [last[abs(value)] - (magnitudes.count(abs(value)) - 1) / 2 for value in values if value]
    positive = [value > 0 for value in values if value]
    observed = sum(itertools.compress(ranks, positive))
    sums = [sum(itertools.compress(ranks, signs)) for signs in itertools.product((0, 1), repeat=len(ranks))]
    assert summaries.signed_rank_p_value(values) == sum(one >= observed for one in sums) / len(sums)


@settings(deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30, unique_by=abs).filter(all))
def test_the_signed_rank_p_value_agrees_with_scipy(values):
    expected = wilcoxon(values, alternative="greater", method="exact").pvalue
    assert summaries.signed_rank_p_value(values) == pytest.approx(expected, rel=1e-9)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=8))
def test_many_pairs_with_ties_keep_the_level_of_the_test(magnitudes):
    """For each of these magnitudes in this order, over all patterns of signs: p is seldom small."""
    with mock.patch.object(summaries, "MOST_WITH_MEAN_RANKS", 0):
        p_values = [
            summaries.signed_rank_p_value([size * sign for size, sign in zip(magnitudes, signs, strict=True)])
            for signs in itertools.product((-1, 1), repeat=len(magnitudes))
        ]
    for level in p_values:
        assert sum(one <= level for one in p_values) <= level * len(p_values)


@given(st.lists(st.integers(1, 99), min_size=1, max_size=9, unique=True), st.data())
def test_many_pairs_without_ties_have_the_usual_p_value(magnitudes, data):
    values = [size * data.draw(st.sampled_from([-1, 1])) for size in magnitudes]
    usual = summaries.signed_rank_p_value(values)
    with mock.patch.object(summaries, "MOST_WITH_MEAN_RANKS", 0):
        assert summaries.signed_rank_p_value(values) == usual


def test_ties_among_many_pairs_have_the_one_distribution_of_all():
    """A distribution for each pattern of ties takes seconds for a thousand pairs and hundreds of operators."""
    generator = np.random.default_rng(1)
    rounded = [np.round(generator.normal(0.1, 1.0, 101), 1) for _ in range(5)]
    summaries.signed_rank_p_value(rounded[0])
    before = summaries._upper_tail.cache_info().misses
    p_values = [summaries.signed_rank_p_value(one) for one in rounded]
    assert summaries._upper_tail.cache_info().misses == before
    of_scipy = [
        wilcoxon(one, alternative="greater", zero_method="pratt", method="approx").pvalue for one in rounded
    ]
    assert p_values == pytest.approx(of_scipy, abs=0.03)


@pytest.mark.parametrize("count", range(1, 9))
@pytest.mark.parametrize("level", [0.0, 1 / 256, 0.01, 0.25, 0.5, 1.0])
def test_the_cut_of_the_signed_rank_is_the_largest_that_the_level_allows(count, level):
    sums = [
        sum(itertools.compress(range(1, count + 1), signs))
        for signs in itertools.product((0, 1), repeat=count)
    ]
    shares = [sum(one <= largest for one in sums) / len(sums) for largest in range(max(sums) + 1)]
    allowed = [share for share in shares if share <= level]
    assert summaries.signed_rank_cut(count, level) == (len(allowed), allowed[-1] if allowed else 0.0)


def compare(treatment, control):
    pairs = list(range(len(treatment)))
    return summaries.compare(treatment, pairs, control, pairs)


def test_a_comparison_of_a_constant_ratio():
    comparison = compare([110.0] * 6, [100.0] * 6)
    assert comparison.ratio == pytest.approx(1.1)
    assert (comparison.ratio_interval.low, comparison.ratio_interval.high) == pytest.approx((1.1, 1.1))
    assert comparison.ratio_interval.confidence == pytest.approx(1 - 2 / 2**6)


def test_few_pairs_say_what_they_cover():
    assert compare([110.0], [100.0]).ratio_interval is None
    assert compare([110.0] * 5, [100.0] * 5).ratio_interval.confidence == pytest.approx(0.9375)


@settings(deadline=None)
@given(st.lists(st.floats(0.5, 2.0), min_size=6, max_size=12))
def test_a_comparison_agrees_with_the_slow_way(ratios):
    comparison = compare([100 * ratio for ratio in ratios], [100.0] * len(ratios))
    logs = [math.log(ratio) for ratio in ratios]
    walsh = sorted((a + b) / 2 for a, b in itertools.combinations_with_replacement(logs, 2))
    assert comparison.ratio == pytest.approx(math.exp(np.median(walsh)))
    # The interval holds those shifts that the signed-rank test does not refuse: dropping k averages at
    # each end refuses with the probability of W < k, on either side. By all 2^n patterns of signs:
    ranks = range(1, len(ratios) + 1)
    sums = [sum(itertools.compress(ranks, signs)) for signs in itertools.product((0, 1), repeat=len(ratios))]
    dropped = 0
    while sum(one <= dropped for one in sums) / len(sums) <= 0.025:
        dropped += 1
    interval = comparison.ratio_interval
    assert (interval.low, interval.high) == pytest.approx(
        (math.exp(walsh[dropped - 1]), math.exp(walsh[-dropped]))
    )
    assert interval.confidence == pytest.approx(1 - 2 * sum(one < dropped for one in sums) / len(sums))
    assert interval.confidence >= 0.95


def test_the_interval_of_the_ratio_covers_it_as_often_as_it_says():
    generator = random.Random(2)
    hits = 0
    for _ in range(3000):
        comparison = compare([100 * math.exp(generator.gauss(0.03, 0.1)) for _ in range(9)], [100.0] * 9)
        hits += comparison.ratio_interval.low <= math.exp(0.03) <= comparison.ratio_interval.high
    assert hits / 3000 == pytest.approx(comparison.ratio_interval.confidence, abs=0.012)


def test_only_complete_pairs_are_compared():
    comparison = summaries.compare([10, 12, 99], [0, 0, 7], [10, 10, 10], [0, 0, 8])
    assert comparison.pairs == 1
    assert comparison.ratio == pytest.approx(1.1)
    assert summaries.compare([1.0], [0], [1.0], [1]) is None
    assert summaries.compare([0.0], [0], [1.0], [0]) is None


def test_error_statistics_in_numbers():
    error = summaries.error_statistics(np.array([1.0, 2.0, 3.5]), np.array([1.0, 2.5, 3.0]))
    assert error.count == 3
    assert error.max_absolute == 0.5
    assert error.max_relative == pytest.approx(0.2)
    assert error.root_mean_square == pytest.approx(math.sqrt(0.5 / 3))
    assert error.cosine_similarity == pytest.approx(16.5 / math.sqrt(17.25 * 16.25))


def test_errors_of_special_values():
    assert summaries.error_statistics(np.zeros(2), np.zeros(2)).cosine_similarity == 1.0
    assert summaries.error_statistics(np.ones(2), np.zeros(2)).max_relative == math.inf
    assert math.isnan(summaries.error_statistics(np.array([math.nan, 1]), np.ones(2)).max_absolute)
    same = np.array([math.nan, math.inf, 1])
    assert summaries.error_statistics(same, same).max_absolute == 0


def test_another_length_is_reported():
    with pytest.raises(CaseError, match=r"3 values instead of 2"):
        summaries.error_statistics(np.zeros(3), np.zeros(2))
    with pytest.raises(CaseError, match="no values"):
        summaries.error_statistics(np.zeros(0), np.zeros(0))


def test_tolerance():
    golden = np.array([1.0, -100.0, 0.0])
    assert summaries.beyond_tolerance(golden + np.array([0.1, 1.0, 0.0]), golden, 0.2, 0.01)[0] == 0
    assert summaries.beyond_tolerance(golden + np.array([0.3, 9.0, 0.0]), golden, 0.2, 0.01) == (2, 1)
    assert summaries.beyond_tolerance(np.array([1.0, math.nan, 0.0]), golden, 1e9, 0) == (1, 1)
    assert summaries.beyond_tolerance(np.array([math.nan]), np.array([math.nan]), 0, 0)[0] == 0
    assert summaries.beyond_tolerance(np.array([math.inf]), np.array([math.inf]), 0, 0)[0] == 0
