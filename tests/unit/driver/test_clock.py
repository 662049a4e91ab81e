import pytest

from benchmarking.driver.clock import (
    OPERATOR_STEP,
    device_clock,
    process_clock,
    shortest_operator_ns,
    suitable_clock,
)
from benchmarking.programs.command import CpuUse
from benchmarking.programs.worker_protocol import IterationSample

ALONE = CpuUse(0.1, children_s=0.0, first_thread_s=0.1, waited_s=0.0)
UNKNOWN = "and the time that the program waited for a core is unknown"


@pytest.mark.parametrize(
    ("wall_s", "cpu", "clock", "reason"),
    [
        (0.1, ALONE, "cpu", "one thread computes all the time"),
        (0.5, CpuUse(0.1, 0.0, 0.1, waited_s=0.4), "cpu", "one thread computes all the time"),
        (0.5, ALONE, "wall", "the CPU is used for only 20 % of the time"),
        (0.1, CpuUse(0.1, children_s=0.09, first_thread_s=0.001, waited_s=0.0), "cpu", "one thread computes"),
        (0.5, CpuUse(0.1, children_s=0.09, first_thread_s=0.001, waited_s=0.4), "wall", UNKNOWN),
        (0.5, CpuUse(0.1, children_s=0.0, first_thread_s=0.05, waited_s=0.4), "wall", "several threads compute"),
        (0.1, CpuUse(0.19, children_s=0.18, first_thread_s=0.0, waited_s=0.0), "wall", "several threads compute"),
        (0.1, CpuUse(0.1), "cpu", "one thread computes all the time"),
        (0.5, CpuUse(0.1), "wall", UNKNOWN),
    ],
)  # fmt: skip
def test_the_clock_of_a_process(wall_s, cpu, clock, reason):
    chosen, why = process_clock(wall_s, cpu)
    assert chosen == clock
    assert reason in why


@pytest.mark.parametrize(("steps", "clock"), [(99, "wall"), (101, "cpu")])
def test_each_iteration_has_to_be_long_enough_for_the_clock_not_all_together(steps, clock):
    samples = [IterationSample(wall_ns=steps * 10.0, cpu_ns=steps * 10.0)] * 10
    assert suitable_clock(samples, step_ns=10.0)[0] == clock


def test_the_coarser_clock_of_two_programs_says_what_can_be_compared():
    assert shortest_operator_ns({OPERATOR_STEP: 5}, {OPERATOR_STEP: 10.0}, {}) == 1000
    assert shortest_operator_ns({}) == 0


def test_a_device_that_did_not_time_all_iterations_is_not_the_clock():
    assert device_clock([1.0, 1.0, 1.0], [0.9, 0.9, 0.9])[0] == "device"
    assert device_clock([1.0, 1.0, 1.0], [0.9, 0.9, None]) is None
