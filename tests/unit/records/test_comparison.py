import json
import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarking.records.comparison import (
    CHANGED,
    FALSE_ALARMS,
    Evidence,
    Finding,
    PairedVerdict,
    Scatter,
    Sides,
    common_scatter,
    judge,
    run_to_run_scatter,
)
from benchmarking.results.model import Interval, Verdict

RECORDED = Path(__file__).parents[3] / "benchmarks/measured/saved_runs.jsonl"
QUIET = Scatter(0.01, 50)
RUNS_US = (2217, 2189, 2243, 2201, 2264, 2178, 2232, 2208, 2251, 2195, 2226, 2239)
"""The median delays of twelve runs that scatter by 1.2 %."""


def one(base, head, **more):
    (judgement,) = judge([Sides((base,), (head,), **more)])
    return judgement


def runs(count, noise=0.0124, seed=0):
    return np.exp(np.random.default_rng(seed).normal(7, noise, count)).tolist()


# --- the evidence -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "finding"),
    [
        (Verdict.REGRESSED, Finding.SLOWER),
        (Verdict.IMPROVED, Finding.FASTER),
        (Verdict.UNCHANGED, Finding.NO_DIFFERENCE),
        (Verdict.INCONCLUSIVE, Finding.UNKNOWN),
    ],
)
def test_a_b_is_the_best_evidence_whatever_the_saved_times_say(verdict, finding):
    interval = Interval(1.01, 1.05, 0.96)
    judgement = one(100, 200, paired=PairedVerdict(verdict, 1.03, interval), scatter=QUIET)
    assert (judgement.finding, judgement.evidence) == (finding, Evidence.AB)
    assert (judgement.ratio, judgement.interval) == (1.03, interval)


@pytest.mark.parametrize(
    ("head", "finding"),
    [(100, Finding.NO_DIFFERENCE), (103, Finding.NO_DIFFERENCE), (110, Finding.SLOWER), (90, Finding.FASTER)],
)
def test_without_a_b_the_scatter_of_the_series_decides(head, finding):
    judgement = one(100, head, scatter=QUIET)
    assert (judgement.finding, judgement.evidence) == (finding, Evidence.SCATTER)
    assert judgement.ratio == head / 100
    assert math.isclose(judgement.interval.low * judgement.interval.high, judgement.ratio**2)
    assert "scatter by 1.0 %" in judgement.reason


def test_without_any_evidence_nothing_is_told_but_the_ratio():
    judgement = one(100, 300)
    assert (judgement.finding, judgement.evidence, judgement.ratio) == (Finding.UNKNOWN, Evidence.NONE, 3)
    assert judgement.interval is None


@pytest.mark.parametrize("base", [(), (0.0,), (math.nan, -1.0), (math.inf,)])
def test_values_that_are_no_times(base):
    (judgement,) = judge([Sides(base, (1.0,), scatter=QUIET)])
    assert (judgement.finding, judgement.ratio) == (Finding.UNKNOWN, None)


def test_less_than_one_per_cent_is_no_difference_however_small_the_scatter():
    exact = Scatter(0.0, 50)
    assert one(1000, 1009, scatter=exact).finding is Finding.NO_DIFFERENCE
    assert one(1000, 1011, scatter=exact).finding is Finding.SLOWER


def test_several_runs_of_a_side_count_as_their_median():
    single = one(100, 104, scatter=QUIET)
    (several,) = judge([Sides((99, 100, 150), (104,) * 9, scatter=QUIET)])
    assert several == single


def test_the_reverse_of_an_a_b_run():
    paired = PairedVerdict(Verdict.REGRESSED, 1.25, Interval(1.0, 2.0, 0.95))
    assert paired.reversed() == PairedVerdict(Verdict.IMPROVED, 0.8, Interval(0.5, 1.0, 0.95))
    assert PairedVerdict(Verdict.INCONCLUSIVE, None).reversed() == PairedVerdict(Verdict.INCONCLUSIVE, None)
    # 1 / 0 is not a number.
    from_0 = PairedVerdict(Verdict.INCONCLUSIVE, 1.25, Interval(0.0, 2.0, 0.95))
    assert from_0.reversed() == PairedVerdict(Verdict.INCONCLUSIVE, 0.8, None)


# --- the order ----------------------------------------------------------------------------------------------


def test_changes_come_first_by_a_b_and_then_by_their_size_in_scatter():
    interval = Interval(1.01, 1.03, 0.96)
    compared = {
        "no evidence": Sides((100,), (300,)),
        "scatter, more": Sides((100,), (160,), scatter=QUIET),
        "unchanged": Sides((100,), (100,), PairedVerdict(Verdict.UNCHANGED, 1.0, interval)),
        "scatter": Sides((100,), (140,), scatter=QUIET),
        "A/B": Sides((100,), (100,), PairedVerdict(Verdict.IMPROVED, 1.02, interval)),
    }
    judged = dict(zip(compared, judge(list(compared.values())), strict=True))
    assert sorted(judged, key=lambda name: judged[name].rank) == [
        *("A/B", "scatter, more", "scatter"),
        *("unchanged", "no evidence"),
    ]


# --- the scatter --------------------------------------------------------------------------------------------


def test_the_scatter_is_that_of_the_difference_of_two_runs():
    found = [run_to_run_scatter(runs(50, seed=seed)) for seed in range(50)]
    assert {one.runs for one in found} == {50}
    mean = np.mean([one.deviation for one in found])
    assert mean == pytest.approx(0.0124 * math.sqrt(2), rel=0.1)


def test_a_step_or_a_drift_of_the_series_is_not_scatter():
    quiet = runs(50)
    stepped = [value * (1.5 if index >= 20 else 1) for index, value in enumerate(quiet)]
    drifting = [value * 1.05**index for index, value in enumerate(quiet)]
    for changed in (stepped, drifting):
        assert run_to_run_scatter(changed).deviation == pytest.approx(
            run_to_run_scatter(quiet).deviation, rel=0.1
        )


def test_only_the_newest_runs_count_and_there_have_to_be_eight():
    assert run_to_run_scatter([*runs(100, noise=0.5), *runs(50)]) == run_to_run_scatter(runs(50))
    assert run_to_run_scatter(runs(7)) is None


def test_two_series_have_a_common_scatter():
    found = common_scatter(Scatter(0.03, 20), Scatter(0.04, 10))
    assert found == Scatter(pytest.approx(0.05 / math.sqrt(2)), 10)
    assert common_scatter(found, None) is None


def test_the_interval_grows_with_the_number_of_series():
    alone, *_ = judge([Sides((100,), (106,), scatter=QUIET)])
    among = judge([Sides((100,), (106,), scatter=QUIET)] * 50)
    assert alone.finding is Finding.SLOWER
    assert {one.finding for one in among} == {Finding.NO_DIFFERENCE}
    assert among[0].interval.confidence == pytest.approx(1 - FALSE_ALARMS / 50)


# --- false alarms -------------------------------------------------------------------------------------------


def test_of_all_pairs_of_twelve_processes_of_one_program_at_most_one_is_marked():
    scatter = run_to_run_scatter(RUNS_US)
    pairs = list(combinations(RUNS_US, 2))
    alone = [one(base, head, scatter=scatter) for base, head in pairs]
    together = judge([Sides((base,), (head,), scatter=scatter) for base, head in pairs])
    assert len(pairs) == 66
    assert sum(judgement.finding in CHANGED for judgement in alone) <= 1
    assert all(judgement.finding not in CHANGED for judgement in together)


def test_of_real_runs_of_one_program_none_is_marked():
    """Although the intervals within them are disjoint for many pairs."""
    lines = [json.loads(line) for line in RECORDED.read_text().splitlines()][:12]
    disjoint = 0
    for name in lines[0]["runs"]:
        runs = [line["runs"][name] for line in lines]
        scatter = run_to_run_scatter([run["p50_us"] for run in runs])
        pairs = list(combinations(runs, 2))
        sides = [Sides((base["p50_us"],), (head["p50_us"],), scatter=scatter) for base, head in pairs]
        assert all(judgement.finding not in CHANGED for judgement in judge(sides))
        disjoint += sum(
            base["high_us"] < head["low_us"] or head["high_us"] < base["low_us"] for base, head in pairs
        )
    assert disjoint > 100


@pytest.mark.parametrize("draw", ["normal", "laplace", "standard_t"])
@pytest.mark.parametrize("count", [12, 50])
def test_identical_runs_are_rarely_marked(draw, count):
    generator = np.random.default_rng(3)
    make = getattr(generator, draw)
    marked = 0
    for _ in range(1000):
        noise = make(3, size=count) if draw == "standard_t" else make(size=count)
        values = np.exp(7 + 0.01 * noise).tolist()
        base, head = generator.choice(count, 2, replace=False)
        marked += one(values[base], values[head], scatter=run_to_run_scatter(values)).finding in CHANGED
    assert marked <= 25


@given(
    base=st.floats(1e-3, 1e9),
    head=st.floats(1e-3, 1e9),
    scatter=st.none() | st.builds(Scatter, st.floats(0, 0.5), st.integers(8, 50)),
)
def test_exchanging_the_sides_exchanges_the_finding(base, head, scatter):
    there, back = one(base, head, scatter=scatter), one(head, base, scatter=scatter)
    opposite = {Finding.SLOWER: Finding.FASTER, Finding.FASTER: Finding.SLOWER}
    assert back.finding is opposite.get(there.finding, there.finding)
    assert there.ratio * back.ratio == pytest.approx(1)
    assert (there.finding in CHANGED) <= (there.strength >= 1)
