import gzip
import itertools
import json
import math
import random
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, norm

from benchmarking.errors import UsageError
from benchmarking.results.model import NET_DELAY, SequentialDecision, Verdict
from benchmarking.statistics import summaries
from benchmarking.statistics.sequential import (
    MOST_PAIRS,
    NEIGHBOURS,
    SequentialPlan,
    canary_alarms,
    confirm,
    decide,
    decide_all,
    decide_once,
    forecast,
    holm,
    pair_log_ratio,
    smallest_change,
    void,
)

TRACES = Path(__file__).parents[2] / "data/regression/iteration_level_pairs.jsonl.gz"
PLAN = SequentialPlan()
NO_GATE = 1e-9
MIRRORED = {
    Verdict.REGRESSED: Verdict.IMPROVED,
    Verdict.IMPROVED: Verdict.REGRESSED,
    Verdict.UNCHANGED: Verdict.UNCHANGED,
    Verdict.INCONCLUSIVE: Verdict.INCONCLUSIVE,
}

log_ratios = st.one_of(
    st.lists(st.floats(-0.1, 0.1), min_size=40, max_size=40),
    st.lists(st.sampled_from([-0.04, -0.02, 0.0, 0.02, 0.04, 0.06, math.nan]), min_size=40, max_size=40),
    st.builds(
        lambda seed, center, scale: [random.Random(seed + i).gauss(center, scale) for i in range(40)],
        st.integers(0, 10**6),
        st.floats(-0.05, 0.05),
        st.floats(0.001, 0.05),
    ),
)


def gaussian(center, scale, count=40, seed=1):
    generator = random.Random(seed)
    return [generator.gauss(center, scale) for _ in range(count)]


def verdict_of(plan, values, **options):
    decision = decide(plan, values, **options)
    return decision and decision.verdict


# The plan


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("minimum_effect", (0, -0.01, math.nan, math.inf)),
        ("target_change", (0.01, 0.0, -1, math.nan, math.inf)),
        ("alpha", (0, -0.1, 0.5, 1, math.nan)),
        ("beta", (0, -0.1, 0.5, 1, math.nan)),
        ("max_pairs", (0, -1, 6, 1001)),
    ],
)
def test_a_faulty_plan_names_the_option(option, values):
    for value in values:
        with pytest.raises(UsageError, match=f"^--{option} {value}: "):
            SequentialPlan(**{option: value})


@pytest.mark.parametrize(
    ("target", "minimum_effect", "max_pairs"),
    [(0.03, 0.01, 40), (0.05, 0.01, 40), (0.02, 0.01, MOST_PAIRS), (0.01, 0.005, MOST_PAIRS)],
)
def test_a_target_says_what_counts_and_how_long_to_go_on(target, minimum_effect, max_pairs):
    plan = SequentialPlan.for_target(target)
    assert (plan.minimum_effect, plan.max_pairs) == (minimum_effect, max_pairs)
    assert plan.target_change == target
    given = SequentialPlan.for_target(target, minimum_effect=0.001, max_pairs=33, alpha=0.02, beta=0.1)
    assert given == SequentialPlan(0.001, target, 0.02, 0.1, 33)


@pytest.mark.parametrize(("change", "verdict"), [(0.01, Verdict.REGRESSED), (0.0, Verdict.UNCHANGED)])
def test_one_per_cent_is_found_or_ruled_out(change, verdict):
    plan = SequentialPlan.for_target(0.01)
    found = []
    for seed in range(100):
        values = normal_values(seed, math.log1p(change), 0.012)
        pairs = next(look.pairs for look in plan.looks if decide(plan, values[: look.pairs]))
        found.append((verdict_of(plan, values[:pairs]), pairs))
    assert sum(one is verdict for one, _ in found) >= 90
    assert np.mean([pairs for _, pairs in found]) < 60


@pytest.mark.parametrize("scatter", [0.005, 0.012, 0.03])
def test_the_forecast_is_about_what_it_takes(scatter):
    plan = SequentialPlan.for_target(0.01)
    forecasts, taken = [], []
    for seed in range(40):
        values = normal_values(seed, math.log1p(0.01), scatter)
        forecasts.append(forecast(plan, values[:6]))
        taken.append(next(look.pairs for look in plan.looks if decide(plan, values[: look.pairs])))
    assert np.percentile(taken, 20) <= np.median(forecasts) <= 2.5 * np.percentile(taken, 80)


def test_too_few_pairs_for_a_forecast():
    assert forecast(PLAN, [0.1, 0.2, 0.3, math.nan]) is None
    assert forecast(PLAN, [0.0] * 6) == 8
    assert forecast(PLAN, [1.0, -1.0] * 3) == PLAN.max_pairs


def normal_values(seed, center, scale):
    generator = random.Random(seed)
    return [generator.gauss(center, scale) for _ in range(MOST_PAIRS)]


def test_the_fewest_pairs_can_decide_everything():
    with pytest.raises(UsageError, match="between 7 and"):
        SequentialPlan(max_pairs=6)
    plan = SequentialPlan(max_pairs=7)
    assert verdict_of(plan, [0.05] * 7) is Verdict.REGRESSED
    assert verdict_of(plan, [-0.05] * 7) is Verdict.IMPROVED
    assert verdict_of(plan, [0.0] * 7) is Verdict.UNCHANGED


@settings(deadline=None)
@given(st.floats(1e-6, 0.4), st.floats(1e-6, 0.4), st.integers(20, 200))
def test_the_looks_spend_what_there_is_and_no_more(alpha, beta, max_pairs):
    looks = SequentialPlan(alpha=alpha, beta=beta, max_pairs=max_pairs).looks
    pairs = [look.pairs for look in looks]
    assert pairs == sorted(set(pairs))
    assert pairs[-1] == max_pairs
    for spent, level in (([look.alpha for look in looks], alpha), ([look.beta for look in looks], beta)):
        assert sum(spent) <= level * (1 + 1e-9)
        # At the last look so much is left that only the step of its levels keeps it from spending all.
        assert sum(spent) > level * 0.8 or max_pairs < 2 - math.log2(level)
        for one, count in zip(spent, pairs, strict=True):
            assert one == 0 or one >= 2.0**-count * (1 - 1e-9)


def test_the_default_looks():
    assert [look.pairs for look in PLAN.looks] == [6, 8, 12, 18, 26, 40]
    assert [look.pairs for look in SequentialPlan(max_pairs=100).looks] == [6, 8, 12, 18, 26, 40, 60, 100]
    assert [look.pairs for look in SequentialPlan(max_pairs=20).looks] == [6, 8, 12, 20]
    assert PLAN.looks[1].alpha == 2**-8
    assert PLAN.looks[0].beta == 2**-6


@pytest.mark.parametrize(("tests", "first_pairs"), [(1, 8), (5, 12), (20, 12), (50, 18), (500, 18)])
def test_operators_spend_alpha_when_they_can_share_it(tests, first_pairs):
    looks = PLAN.looks_until(40, limit_reached=False, tests=tests)
    assert next(look.pairs for look in looks if look.alpha) == first_pairs
    assert 0.9 * PLAN.alpha < sum(look.alpha for look in looks) <= PLAN.alpha
    assert [look.beta for look in looks] == [look.beta for look in PLAN.looks]
    ratios = {f"operator {number}": [0.0] * 40 for number in range(tests - 1)} | {"slower": [0.1] * 40}
    assert decide_all(PLAN, ratios)["slower"].pairs == first_pairs


def test_a_run_of_many_tests_asks_more_of_each():
    assert PLAN.for_run(1) == PLAN.for_run(5) == PLAN
    for tests in (6, 50, 1000):
        assert 2 * tests * PLAN.for_run(tests).alpha ** 2 == pytest.approx(0.001)
    with pytest.raises(ValueError, match="0 tests"):
        PLAN.for_run(0)
    with pytest.raises(UsageError, match="--max_pairs 8"):
        SequentialPlan(max_pairs=8).for_run(1000)


def test_a_verification_takes_its_time_to_pass_but_not_to_confirm():
    plan = PLAN.for_verification()
    assert [look.alpha for look in plan.looks] == [look.alpha for look in PLAN.looks]
    assert [look.pairs for look in plan.looks if look.beta] == [18, 26, 40]
    assert 0.9 * PLAN.beta < sum(look.beta for look in plan.looks) <= PLAN.beta
    assert decide(plan, [0.0] * 17) is None
    assert decide(plan, [0.0] * 18).verdict is Verdict.UNCHANGED
    assert decide(plan, [0.05] * 8).verdict is Verdict.REGRESSED
    assert decide(SequentialPlan(max_pairs=10).for_verification(), [0.0] * 10).verdict is Verdict.UNCHANGED


# One number per pair

times = st.lists(st.floats(0.5, 2.0), min_size=1, max_size=12)


@given(times, st.data())
def test_a_pairs_number_agrees_with_the_slow_way(treatment, data):
    control = data.draw(st.lists(st.floats(0.5, 2.0), min_size=len(treatment), max_size=len(treatment)))
    ratios = [
        math.log(treatment[i] / control[j])
        for i in range(len(treatment))
        for j in range(len(control))
        if abs(i - j) <= NEIGHBOURS
    ]
    value = pair_log_ratio(treatment, control)
    assert value == pytest.approx(float(np.median(ratios)), abs=1e-12)
    assert pair_log_ratio(control, treatment) == -value
    assert pair_log_ratio([2 * one for one in treatment], control) == pytest.approx(value + math.log(2))


def test_times_below_the_clocks_resolution_are_left_out():
    assert pair_log_ratio([0.0, 2.0, 2.0, 2.0], [1.0, 1.0, 0.0, 1.0]) == pytest.approx(math.log(2))
    assert pair_log_ratio([math.inf, 2.0, math.nan, 2.0], [1.0] * 4) == pytest.approx(math.log(2))
    assert math.isnan(pair_log_ratio([0.0, 0.0, 1.0], [1.0, 1.0, 1.0]))
    assert math.isnan(pair_log_ratio([], []))
    with pytest.raises(ValueError, match="2 values of the treatment, 1 of the control"):
        pair_log_ratio([1.0, 2.0], [1.0])


def test_a_drift_that_hits_both_arms_cancels():
    drifting = [math.exp(0.02 * step) for step in range(50)]
    value = pair_log_ratio([1.03 * one for one in drifting[::2]], drifting[::2])
    assert value == pytest.approx(math.log(1.03))


# The decision


def slow_p_value(values):
    """By all patterns of signs."""
    magnitudes = sorted(abs(value) for value in values)

    def rank(value):
        places = [place for place, one in enumerate(magnitudes, start=1) if one == abs(value)]
        return sum(places) / len(places)

    ranks = [rank(value) for value in values if value != 0]
    observed = sum(rank(value) for value in values if value > 0)
    sums = [sum(itertools.compress(ranks, signs)) for signs in itertools.product((0, 1), repeat=len(ranks))]
    return sum(one >= observed for one in sums) / len(sums)


def slow_verdict(plan, values):
    target, least = math.log(1 + plan.target_change), math.log(1 + plan.minimum_effect)
    for look in plan.looks:
        seen = values[: look.pairs]
        averages = [(a + b) / 2 for a, b in itertools.combinations_with_replacement(seen, 2)]
        estimate = float(np.median(averages))
        if slow_p_value(seen) <= look.alpha and estimate >= least:
            return Verdict.REGRESSED
        if slow_p_value([-one for one in seen]) <= look.alpha and estimate <= -least:
            return Verdict.IMPROVED
        excluded = [slow_p_value([target + sign * one for one in seen]) for sign in (1, -1)]
        if abs(estimate) < least and max(excluded) <= look.beta:
            return Verdict.UNCHANGED
    return Verdict.INCONCLUSIVE


@settings(deadline=None, max_examples=60)
@given(
    st.one_of(
        st.lists(st.floats(-0.06, 0.06), min_size=10, max_size=10),
        st.lists(st.sampled_from([-0.02, 0.0, 0.005, 0.02, 0.04]), min_size=10, max_size=10),
    )
)
def test_verdicts_agree_with_the_slow_way(values):
    plan = SequentialPlan(max_pairs=10)
    assert verdict_of(plan, values) is slow_verdict(plan, values)


MAGNITUDES = {
    "distinct": [0.001 * 1.3**step for step in range(10)],
    "equal": [0.02] * 10,
    "ties and zeros": [0.0, 0.0, 0.01, 0.01, 0.01, 0.02, 0.02, 0.03, 0.04, 0.04],
}


@pytest.mark.parametrize("magnitudes", MAGNITUDES.values(), ids=MAGNITUDES)
def test_the_level_is_exact_whatever_the_magnitudes(magnitudes):
    """Under exchangeability every pattern of signs is equally likely; here are all of them."""
    plan = SequentialPlan(minimum_effect=NO_GATE, alpha=0.02, max_pairs=10)
    random.Random(3).shuffle(shuffled := list(magnitudes))
    counts = dict.fromkeys(Verdict, 0)
    for signs in itertools.product((-1, 1), repeat=10):
        counts[verdict_of(plan, [sign * one for sign, one in zip(signs, shuffled, strict=True)])] += 1
    assert 1 <= counts[Verdict.REGRESSED] <= plan.alpha * 2**10
    assert counts[Verdict.IMPROVED] == counts[Verdict.REGRESSED]


def test_a_change_of_the_target_passes_no_more_often_than_beta():
    plan = SequentialPlan(minimum_effect=0.029, max_pairs=10)
    target = math.log1p(plan.target_change)
    magnitudes = [0.001 * 1.3**step for step in range(10)]
    passed = sum(
        verdict_of(plan, [target + sign * one for sign, one in zip(signs, magnitudes, strict=True)])
        is Verdict.UNCHANGED
        for signs in itertools.product((-1, 1), repeat=10)
    )
    assert 1 <= passed <= plan.beta * 2**10


def test_the_level_over_forty_pairs():
    repetitions = 800
    plan = SequentialPlan(minimum_effect=NO_GATE, alpha=0.05)
    false = sum(
        verdict_of(plan, gaussian(0, 0.1, seed=seed)) is Verdict.REGRESSED for seed in range(repetitions)
    )
    assert binom.ppf(1e-4, repetitions, 0.02) <= false <= binom.ppf(1 - 1e-4, repetitions, plan.alpha)


@settings(deadline=None)
@given(log_ratios, st.integers(0, 40), st.booleans())
def test_labels_swapped_give_the_mirrored_verdict(values, pairs, limit_reached):
    values = values[:pairs]
    decision = decide(PLAN, values, limit_reached=limit_reached)
    mirrored = decide(PLAN, [-value for value in values], limit_reached=limit_reached)
    if decision is None:
        assert mirrored is None
        return
    assert mirrored.verdict is MIRRORED[decision.verdict]
    assert (mirrored.p_slower, mirrored.p_faster) == (decision.p_faster, decision.p_slower)
    assert mirrored.pairs == decision.pairs
    assert mirrored.smallest_change == decision.smallest_change
    if decision.comparison:
        assert mirrored.comparison.ratio == pytest.approx(1 / decision.comparison.ratio)


@settings(deadline=None, max_examples=40)
@given(log_ratios)
def test_asking_after_every_pair_or_once_is_the_same(values):
    asked = [decide(PLAN, values[:pairs]) for pairs in range(41)]
    first = next(pairs for pairs, decision in enumerate(asked) if decision)
    assert first in [look.pairs for look in PLAN.looks]
    assert asked[first] == asked[40]


def test_the_outcomes():
    assert verdict_of(PLAN, gaussian(0.05, 0.01)) is Verdict.REGRESSED
    assert verdict_of(PLAN, gaussian(-0.05, 0.01)) is Verdict.IMPROVED
    assert verdict_of(PLAN, gaussian(0.0, 0.01)) is Verdict.UNCHANGED
    undecided = decide(PLAN, gaussian(0.0, 0.2))
    assert undecided.verdict is Verdict.INCONCLUSIVE
    assert undecided.pairs == 40
    assert undecided.smallest_change > PLAN.target_change


def test_a_change_below_the_minimum_effect_is_none_however_sure():
    values = gaussian(0.006, 0.0005)
    decision = decide(PLAN, values)
    assert decision.verdict is Verdict.UNCHANGED
    assert decision.p_slower == 2.0**-6
    assert verdict_of(SequentialPlan(minimum_effect=0.005), values) is Verdict.REGRESSED


def test_an_estimate_from_the_minimum_effect_on_does_not_pass():
    values = [0.0105, 0.0095] * 10 + [-0.02] * 20
    assert decide(PLAN, values[:6]) is None
    assert verdict_of(SequentialPlan(minimum_effect=0.02), values[:6]) is Verdict.UNCHANGED


def test_undecided_is_never_unchanged():
    for pairs in range(6):
        decision = decide(PLAN, [0.0] * pairs, limit_reached=True)
        assert decision.verdict is (Verdict.UNCHANGED if pairs == 5 else Verdict.INCONCLUSIVE)
    assert decide(PLAN, [0.0] * 5) is None


def test_a_limit_spends_what_is_left():
    assert decide(PLAN, [0.05] * 7) is None
    assert verdict_of(PLAN, [0.05] * 7, limit_reached=True) is Verdict.REGRESSED
    assert verdict_of(PLAN, [0.05] * 6, limit_reached=True) is Verdict.INCONCLUSIVE
    for pairs in range(41):
        looks = PLAN.looks_until(pairs, limit_reached=True)
        assert looks[-1].pairs == pairs
        assert sum(look.alpha for look in looks) <= PLAN.alpha * (1 + 1e-9)
        assert sum(look.beta for look in looks) <= PLAN.beta * (1 + 1e-9)


@pytest.mark.parametrize("useless", [math.nan, math.inf, -math.inf])
def test_pairs_that_say_nothing_are_left_out(useless):
    nothing = decide(PLAN, [useless] * 40)
    assert nothing.verdict is Verdict.INCONCLUSIVE
    assert nothing.comparison is nothing.smallest_change is None
    assert "none of 40 pairs" in nothing.reason
    some = decide(PLAN, [useless, *[0.05] * 11])
    assert (some.verdict, some.pairs, some.comparison.pairs) == (Verdict.REGRESSED, 12, 11)
    assert some.p_slower == 2.0**-11
    assert "12 pairs, 1 of them unusable" in some.reason


def test_reasons_in_full():
    values = [0.031, 0.028, 0.034, 0.025, 0.03, 0.027, 0.033, 0.029]
    assert decide(PLAN, values).reason == (
        "+2.99 % (96.1 % interval +2.74 % to +3.30 %) after 8 pairs; p 0.0039"
    )
    assert decide(PLAN, [one - 0.03 for one in values]).reason == (
        "-0.10 % (96.9 % interval -0.50 % to +0.40 %) after 6 pairs; a change of 3 % or more is ruled out"
    )
    assert decide(PLAN, values[:3], limit_reached=True).reason == (
        "+3.15 % (75 % interval +2.84 % to +3.46 %) after 3 pairs; too few pairs to detect any change"
    )
    noisy = decide(PLAN, gaussian(0.01, 0.05))
    assert noisy.reason.endswith(f"a change below {100 * noisy.smallest_change:.2g} % can go unnoticed")


# The smallest change


def test_the_smallest_change_agrees_with_the_normal_theory():
    count, scale = 200, 0.02
    scores = scale * norm.ppf((np.arange(count) + 0.5) / count)
    # The signed-rank test needs pi / 3 times the pairs of the t-test.
    standard_error = scale * math.sqrt(math.pi / 3 / count)
    expected = (norm.ppf(0.99) + norm.ppf(0.95)) * standard_error
    plan = SequentialPlan(minimum_effect=1e-4)
    assert math.log1p(smallest_change(plan, scores, 0.01)) == pytest.approx(expected, rel=0.03)
    assert smallest_change(plan, scores + 0.05, 0.01) == pytest.approx(smallest_change(plan, scores, 0.01))


def test_the_smallest_change_is_not_below_the_minimum_effect():
    assert smallest_change(PLAN, np.array([0.01] * 10), 0.01) == pytest.approx(0.01)
    assert smallest_change(PLAN, np.array([0.01] * 6), 0.01) is None


def test_a_change_of_the_smallest_size_is_found():
    look = SequentialPlan().looks[-2]
    found, repetitions = 0, 400
    for seed in range(repetitions):
        values = np.array(gaussian(0, 0.02, look.pairs, seed))
        size = smallest_change(PLAN, values, look.alpha)
        fresh = gaussian(math.log1p(size), 0.02, look.pairs, seed + 10**6)
        found += summaries.signed_rank_p_value(fresh) <= look.alpha
    # Less than 1 - beta, as the size is estimated, and from few pairs.
    assert 0.88 < found / repetitions < 0.98


# What was measured


@pytest.fixture(scope="module")
def measured_blocks():
    """Blocks of 30 pairs, each of one program in one session, in the order of the time."""
    blocks = defaultdict(list)
    with gzip.open(TRACES, "rt", encoding="utf-8") as lines:
        for row in sorted(map(json.loads, lines), key=lambda row: row["t"]):
            blocks[row["wl"], row["sess"]].append(row["cpu"])
    return list(blocks.values())


@pytest.mark.parametrize(
    ("treatment", "control", "expected"),
    [
        ("t", "c", Verdict.UNCHANGED),
        ("c2", "c", Verdict.UNCHANGED),
        ("c2", "t", Verdict.UNCHANGED),
        ("t3", "c", Verdict.REGRESSED),
        ("t3", "c2", Verdict.REGRESSED),
        ("c", "t3", Verdict.IMPROVED),
    ],
)
def test_measured_programs_are_distinguished(measured_blocks, treatment, control, expected):
    """CPU times on a busy machine; t3 really does 3 % more work, the others are identical."""
    plan = SequentialPlan(max_pairs=30)
    verdicts = Counter(
        verdict_of(plan, [pair_log_ratio(pair[treatment], pair[control]) for pair in block])
        for block in measured_blocks
    )
    assert verdicts == {expected: 32}


# Many types


@given(st.lists(st.sampled_from([0.0, 0.001, 0.004, 0.01, 0.02, 0.03, 0.2, 1.0]), max_size=6))
def test_holm_agrees_with_the_closed_test(p_values):
    """Refused is what every intersection with it refuses by Bonferroni (Marcus, Peritz and Gabriel 1976)."""
    level = 0.05
    named = dict(enumerate(p_values))
    closed = {
        name
        for name in named
        if all(
            min(named[one] for one in subset) <= level / len(subset)
            for size in range(1, len(named) + 1)
            for subset in itertools.combinations(named, size)
            if name in subset
        )
    }
    assert holm(named, level) == closed


def test_false_alarms_are_controlled_over_the_operators():
    plan = SequentialPlan(minimum_effect=NO_GATE, alpha=0.05, max_pairs=12)
    repetitions, operators = 400, 10
    generator = random.Random(5)
    false = 0
    for _ in range(repetitions):
        ratios = {str(name): [generator.gauss(0, 0.2) for _ in range(12)] for name in range(operators)}
        decisions = decide_all(plan, ratios)
        false += any(one.verdict is Verdict.REGRESSED for one in decisions.values())
    assert 0 < false <= binom.ppf(1 - 1e-4, repetitions, plan.alpha)


def test_operators_do_not_keep_a_test_from_ending():
    ratios = {NET_DELAY: gaussian(0, 0.005), "noisy": gaussian(0, 0.3, seed=2), "quiet": gaussian(0, 0.005)}
    decisions = decide_all(PLAN, {name: values[:6] for name, values in ratios.items()})
    assert list(decisions) == list(ratios)
    assert {name: one.verdict for name, one in decisions.items()} == {
        NET_DELAY: Verdict.UNCHANGED,
        "noisy": Verdict.INCONCLUSIVE,
        "quiet": Verdict.UNCHANGED,
    }


def test_a_test_continues_until_an_operator_explains_the_net():
    ratios = {NET_DELAY: gaussian(0.05, 0.005), "slower": gaussian(0.2, 0.01)}
    ratios |= {f"same {number}": gaussian(0, 0.2, seed=10 + number) for number in range(8)}
    eight = {name: values[:8] for name, values in ratios.items()}
    assert verdict_of(PLAN, eight[NET_DELAY]) is Verdict.REGRESSED
    assert decide_all(PLAN, eight) is None
    decisions = decide_all(PLAN, ratios)
    assert decisions[NET_DELAY].pairs == 8
    assert decisions["slower"].verdict is Verdict.REGRESSED
    assert decisions["slower"].pairs > 8


def test_a_test_continues_for_a_suspicious_operator():
    ratios = {
        NET_DELAY: gaussian(0, 0.005),
        "faster": gaussian(-0.1, 0.01),
        "same": gaussian(0, 0.01, seed=3),
    }
    assert decide_all(PLAN, {name: values[:6] for name, values in ratios.items()}) is None
    decisions = decide_all(PLAN, ratios)
    assert decisions["faster"].verdict is Verdict.IMPROVED
    assert decisions[NET_DELAY].verdict is Verdict.UNCHANGED


def test_suspects_alone_go_on_until_all_are_decided():
    ratios = {"a": gaussian(0.05, 0.005), "b": gaussian(0, 0.3, seed=2)}
    assert decide_all(PLAN, {name: values[:26] for name, values in ratios.items()}) is None
    decisions = decide_all(PLAN, ratios)
    assert (decisions["a"].verdict, decisions["b"].verdict) == (Verdict.REGRESSED, Verdict.INCONCLUSIVE)


def test_an_operator_without_times_does_not_keep_a_test_from_ending():
    ratios = {NET_DELAY: [0.05] * 8, "slower": [0.1] * 8, "missing": [math.nan] * 8}
    assert decide_all(PLAN, ratios) is None
    twelve = {name: values[:1] * 12 for name, values in ratios.items()}
    decisions = decide_all(PLAN, twelve)
    assert decisions["slower"].verdict is Verdict.REGRESSED
    assert decisions["missing"].verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(("operators", "pairs", "verdict"), [(1, 7, "regressed"), (2, 7, "inconclusive")])
def test_a_single_look_spends_everything_and_operators_share_it(operators, pairs, verdict):
    """2^-7 is below 1 %, and above half of it."""
    ratios = {f"ID_{number}": [0.05] * pairs for number in range(operators)}
    assert {one.verdict for one in decide_once(SequentialPlan(), ratios).values()} == {Verdict(verdict)}


def test_a_single_look_takes_no_more_pairs_than_it_can_count():
    (one,) = decide_once(SequentialPlan(), {NET_DELAY: [0.0] * (MOST_PAIRS + 1)}).values()
    assert one.pairs == MOST_PAIRS


def test_a_single_look_at_identical_programs_is_rarely_wrong():
    generator = random.Random(5)
    found = Counter(
        decide_once(SequentialPlan(), {NET_DELAY: [generator.gauss(0, 0.02) for _ in range(20)]})[
            NET_DELAY
        ].verdict
        for _ in range(1000)
    )
    assert found[Verdict.REGRESSED] <= 20
    assert found[Verdict.IMPROVED] <= 20
    assert found[Verdict.UNCHANGED] > 500


def test_every_type_has_every_pair():
    with pytest.raises(ValueError, match=r"\[1, 2\]"):
        decide_all(PLAN, {"a": [0.0], "b": [0.0, 0.0]})


# Two stages, and the canary


def decision(verdict):
    return SequentialDecision(verdict, f"numbers of {verdict.value}", 8, None, None, 0.5, 0.5)


@pytest.mark.parametrize("first", Verdict)
@pytest.mark.parametrize("second", Verdict)
def test_both_stages_must_agree(first, second):
    confirmation = confirm(decision(first), decision(second))
    assert confirmation.verdict is (first if first is second else Verdict.INCONCLUSIVE)
    assert confirmation.reason.startswith(f"{first.value} in both" if first is second else "not confirmed")
    assert (confirmation.first, confirmation.second) == (decision(first), decision(second))
    assert decision(first).reason in confirmation.reason
    assert decision(second).reason in confirmation.reason


@pytest.mark.parametrize("verdict", Verdict)
def test_a_canary_that_differs_from_its_copy_voids_the_runs_verdicts(verdict):
    canary = decision(verdict)
    assert canary_alarms(canary) == (verdict in (Verdict.REGRESSED, Verdict.IMPROVED))
    for judged in (decide(PLAN, [0.05] * 8), confirm(decision(verdict), decision(verdict))):
        voided = void(judged, canary)
        assert voided.verdict is Verdict.INCONCLUSIVE
        assert canary.reason in voided.reason
        assert judged.reason in voided.reason
        assert judged.verdict.value in voided.reason
        assert type(voided) is type(judged)
