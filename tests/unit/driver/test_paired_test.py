"""What people read while they wait for pairs."""

from dataclasses import replace

import pytest

from benchmarking.driver import paired_test
from benchmarking.driver.paired_test import PairedTest
from benchmarking.driver.plan import Comparing
from benchmarking.results.model import NET_DELAY, Verdict
from benchmarking.statistics.sequential import SequentialPlan
from tests.support.sample_results import JUDGED, SAMPLING


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(paired_test.time, "monotonic", lambda: now[0])
    return now


def news(caplog, clock, comparing, pair_s, pairs):
    caplog.set_level("INFO", logger="benchmarking")
    test = PairedTest(comparing, what="phone: comparing treatment and control")
    for number in range(pairs):
        clock[0] += pair_s
        if test.add({"NET_DELAY": (0.02, -0.02)[number % 2]}) is not None:
            break
    return [record.getMessage().strip() for record in caplog.records]


def test_a_quick_comparison_says_nothing(caplog, clock):
    assert news(caplog, clock, Comparing(), 0.2, 40) == []


def test_a_long_one_says_ever_more_rarely_how_far_it_is_and_what_is_left(caplog, clock):
    lines = news(caplog, clock, Comparing(max_seconds=200.0), 5.0, 39)
    assert (
        lines[0]
        == "phone: comparing treatment and control: 2 of at most 40 pairs after 10 s; at most 190 s left"
    )
    assert lines[1].endswith("3 of at most 40 pairs after 15 s; at most 185 s left")
    assert 3 <= len(lines) < 10


def test_a_fixed_number_of_pairs_has_no_time_limit(caplog, clock):
    (line, *_) = news(caplog, clock, Comparing(fixed_pairs=30, max_seconds=60.0), 10.0, 30)
    assert line.endswith("1 of 30 pairs after 10 s; about 290 s left")


@pytest.mark.parametrize("pairs", [1, 3, 30, 60])
def test_a_fixed_number_of_pairs_is_judged_by_all_of_them(pairs):
    """Also where fewer would have been enough, or where ``max_pairs`` are fewer."""
    test = PairedTest(Comparing(fixed_pairs=pairs))
    for number in range(pairs - 1):
        assert test.add({NET_DELAY: 0.05 if number < 8 else 0.001 * (number % 2), "conv": 0.05}) is None
    decisions = test.add({NET_DELAY: 0.0, "conv": 0.05})
    assert {one.pairs for one in decisions.values()} == {pairs}
    assert decisions[NET_DELAY].verdict == ("unchanged" if pairs > 8 else "inconclusive")
    assert decisions["conv"].verdict == ("regressed" if pairs > 6 else "inconclusive")
    assert decisions["conv"].comparison.pairs == pairs


@pytest.mark.parametrize(
    ("limit_s", "end"), [(400.0, "(60 pairs)"), (100.0, "(60 pairs); the limit of 100 s comes before that")]
)
def test_a_small_target_is_announced_with_the_time_that_it_takes(caplog, clock, limit_s, end):
    caplog.set_level("INFO", logger="benchmarking")
    comparing = Comparing(SequentialPlan.for_target(0.01), max_seconds=limit_s)
    test = PairedTest(comparing, what="phone: comparing")
    for number in range(6):
        clock[0] += 2.0
        test.add({"NET_DELAY": (0.015, -0.015)[number % 2]})
    (line,) = [text for text in caplog.messages if "ruling out" in text]
    assert line.strip() == f"phone: comparing: finding or ruling out 1 % will take about 120 s {end}"


@pytest.mark.parametrize(("clock", "doubtful"), [("cpu", ["ID_0_Conv"]), ("wall", [NET_DELAY, "ID_0_Conv"])])
def test_on_a_busy_machine_what_is_timed_by_the_wall_is_not_trusted_to_be_unchanged(clock, doubtful):
    """Operators always are."""
    unchanged = replace(JUDGED.types[0].decision, verdict=Verdict.UNCHANGED)
    sampling = replace(SAMPLING, clock=clock, conditions=({"load_1_min": 60.0},) * 2)
    trusted = paired_test._trusted({NET_DELAY: unchanged, "ID_0_Conv": unchanged}, sampling, 2)
    assert [name for name, one in trusted.items() if one.verdict is Verdict.INCONCLUSIVE] == doubtful
