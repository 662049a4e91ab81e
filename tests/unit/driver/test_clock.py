import pytest

from benchmarking.driver.clock import process_clock
from benchmarking.programs.command import CpuUse

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
