"""From samples to results."""

from dataclasses import replace

import pytest

from benchmarking.driver import metrics
from benchmarking.driver.sampler import ArmSamples, Samples, TypeSamples
from benchmarking.results.model import NET_DELAY, Comparison
from tests.support.sample_results import JUDGED, SAMPLING


def arm(wall_us, **others):
    """Four iterations of the net in two pairs, and an operator of which only wall time is known."""
    pairs = (0, 0, 1, 1)
    times = {name: (one,) * 4 for name, one in others.items() if one}
    return ArmSamples(
        (
            TypeSamples(NET_DELAY, "us", (wall_us,) * 4, pairs, **times),
            TypeSamples("conv", "us", (1.0,), (0,)),
        )
    )


@pytest.mark.parametrize("clock", ["cpu", "device"])
def test_beside_wall_time_there_is_the_summary_of_what_the_verdict_rests_on(clock):
    """The busy machine of a report: +25 % by CPU time, and medians of wall time that say the opposite."""
    samples = Samples(
        arm(3270.0, **{f"{clock}_values": 2500.0}),
        arm(8110.0, **{f"{clock}_values": 2000.0}),
        sampling=replace(SAMPLING, clock=clock),
    )
    net, operator = metrics.delay_results(samples)
    assert (net.summary.p50, net.control_summary.p50) == (3270.0, 8110.0)
    assert (net.judged_summary.p50, net.judged_control_summary.p50) == (2500.0, 2000.0)
    # Not judged, because the sampling failed or other types were the suspects; by the clock that is shown.
    assert (net.comparison.pairs, net.comparison.ratio) == (2, pytest.approx(1.25))
    decision = replace(JUDGED.types[0].decision, comparison=Comparison(12, 1.3, None))
    net, _ = metrics.delay_results(replace(samples, decisions={NET_DELAY: decision}))
    assert (net.decision, net.comparison) == (decision, decision.comparison)
    assert net.judged_summary.p50 == 2500.0
    assert operator.clock_summary is None
    assert operator.judged_summary is operator.summary


@pytest.mark.parametrize(("step_ns", "too_short"), [(None, False), (5.0, False), (1000.0, True)])
def test_an_operator_of_few_steps_of_its_clock_is_not_compared(step_ns, too_short):
    facts = {"operator_resolution_ns": step_ns} if step_ns else {}
    arms = arm(3.0), replace(arm(4.0), facts=facts)
    net, operator = metrics.delay_results(Samples(*arms, sampling=replace(SAMPLING, clock="wall")))
    assert (operator.too_short, operator.comparison is None) == (too_short, too_short)
    assert (net.too_short, net.comparison is None) == (False, False)


@pytest.mark.parametrize("clock", ["cpu", "wall"])
def test_without_cpu_time_or_where_wall_time_decides_there_is_one_summary(clock):
    cpu_us = None if clock == "cpu" else 2.0
    arms = arm(3.0, cpu_values=cpu_us), arm(4.0, cpu_values=cpu_us)
    net = metrics.delay_results(Samples(*arms, sampling=replace(SAMPLING, clock=clock)))[0]
    assert net.clock_summary is None
    assert net.judged_summary is net.summary


def test_a_suspect_that_the_treatment_no_longer_reports_is_an_error():
    """Its verdict would have no place, and the test would pass without it."""
    decision = JUDGED.types[0].decision
    samples = Samples(arm(3.0), arm(4.0), decisions={"conv": decision})
    assert metrics.unreported(samples) is None
    gone = replace(samples, decisions={"conv": decision, "fc\n1": decision})
    assert str(metrics.unreported(gone)) == "the treatment no longer reports what looked regressed: fc?1"
