"""Which clock tells how long a program's iterations take. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarking.results import Clock
from benchmarking.worker_protocol import IterationSample

SEVERAL_THREADS = 1.2
"""CPU time over wall time from which on more than one thread must have computed."""
WAITS = 0.8
"""CPU time, with the waiting for a core, over wall time below which a program waits for something else."""
COARSE_STEPS = 100
"""An iteration that is shorter than so many steps of a clock is not timed with it."""


def suitable_clock(samples: Sequence[IterationSample], step_ns: float) -> tuple[Clock, str]:
    """CPU time where one thread computes all the time, else wall time; and why.

    Args:
        samples: of programs that compute on the CPU; at least one.
        step_ns: of the clock of CPU time; 0 where it is not known.
    """
    if any(one.cpu_ns is None for one in samples):
        return "wall", "the program does not tell its CPU time"
    wall_ns = sum(one.wall_ns for one in samples)
    cpu_ns = sum(one.cpu_ns or 0.0 for one in samples)
    waited_ns = sum(one.run_delay_ns or 0 for one in samples)
    if cpu_ns < COARSE_STEPS * step_ns * len(samples):
        return "wall", f"the clock of CPU time has steps of {step_ns / 1e3:g} us"
    if cpu_ns > SEVERAL_THREADS * wall_ns:
        return "wall", "several threads compute at once"
    if cpu_ns + waited_ns < WAITS * wall_ns:
        return "wall", f"the CPU is used for {cpu_ns / wall_ns:.0%} of the time only".replace("%", " %")
    return "cpu", "one thread computes all the time"
