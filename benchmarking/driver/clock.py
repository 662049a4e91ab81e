"""Chooses the clock for the times of a program's iterations. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarking.errors import CaseError
from benchmarking.programs.command import CpuUse
from benchmarking.programs.worker_protocol import IterationSample
from benchmarking.results.model import Clock, Fact
from benchmarking.results.plain_text import percent

SEVERAL_THREADS = 1.2
"""The ratio of CPU time to wall time from which on more than one thread must have computed."""
WAITS = 0.8
"""The ratio of CPU time, including waiting for a core, to wall time, below which a program waits for
something else.
"""
OTHERS = 0.2
"""As a fraction of a process's CPU time: threads other than its first that ran for longer also compute."""
COMPUTES = 0.5
"""The ratio of device time to wall time from which on the device does the computing."""
COARSE_STEPS = 100
"""An iteration with fewer steps of a clock is not timed with that clock."""


OPERATOR_STEP = "operator_resolution_ns"
"""The fact of programs whose runtime times operators with its own coarse clock."""


def shortest_operator_ns(*facts: Mapping[str, Fact]) -> float:
    """The shortest time of operators that can be compared: for shorter ones a step of the clock would look
    like a change.
    """
    steps = [step for one in facts if isinstance(step := one.get(OPERATOR_STEP), int | float)]
    return COARSE_STEPS * max(steps, default=0.0)


def suitable_clock(samples: Sequence[IterationSample], step_ns: float, threads: int = 1) -> tuple[Clock, str]:
    """CPU time if one thread computes all the time, otherwise wall time; with the reason.

    Args:
        samples: of programs that compute on the CPU; at least one.
        step_ns: of the clock of CPU time; 0 where it is not known.
        threads: that compute at once, as far as the programs say so or were seen to. Two that share a crowded
            core take as much CPU time as wall time, just as one that has it alone.
    """
    if any(one.cpu_ns is None for one in samples):
        return "wall", "the program does not report its CPU time"
    if threads > 1:
        return "wall", f"{threads} threads compute"
    wall_ns = sum(one.wall_ns for one in samples)
    cpu_ns = sum(one.cpu_ns or 0.0 for one in samples)
    if cpu_ns < COARSE_STEPS * step_ns * len(samples):
        return "wall", f"the clock of CPU time has steps of {step_ns / 1e3:g} us"
    if cpu_ns > SEVERAL_THREADS * wall_ns:
        return "wall", "several threads compute at once"
    waits_ns = [one.run_delay_ns for one in samples if one.run_delay_ns is not None]
    if cpu_ns + sum(waits_ns) < WAITS * wall_ns:
        reason = f"the CPU is used for only {percent(cpu_ns / wall_ns)} of the time"
        if len(waits_ns) < len(samples):
            reason += ", and the time that the program waited for a core is unknown"
        return "wall", reason
    return "cpu", "one thread computes all the time"


def process_clock(wall_s: float, cpu: CpuUse) -> tuple[Clock, str]:
    """As ``suitable_clock``, for a whole process with its children."""
    first_s, children_s = cpu.first_thread_s, cpu.children_s
    waited_s = None
    if first_s is not None and children_s is not None:
        if cpu.total_s - children_s - first_s > OTHERS * cpu.total_s:
            return "wall", "several threads compute"
        waited_s = cpu.waited_s if first_s >= (1 - OTHERS) * cpu.total_s else None
    sample = IterationSample(
        wall_ns=wall_s * 1e9,
        cpu_ns=cpu.total_s * 1e9,
        run_delay_ns=None if waited_s is None else waited_s * 1e9,
    )
    return suitable_clock([sample], step_ns=0.0)


def require_times(clock: Clock, times: Sequence[float | None]) -> None:
    """Checks that a program has the clock that was requested.

    Args:
        times: of its iterations, by this clock.

    Raises:
        CaseError: some are missing.
    """
    if times and None not in times:
        return
    lacks = {"cpu": "does not report its CPU time", "device": "reports no device time"}
    raise CaseError(f"--clock {clock}: the program {lacks.get(clock, 'reports no time')}")


def device_clock(wall: Sequence[float], device: Sequence[float | None]) -> tuple[Clock, str] | None:
    """The clock of a device that does most of the work, with the reason; None if there is none.

    Args:
        wall: times of iterations, in any unit.
        device: of the same iterations, by the device's clock.
    """
    known = [time for time in device if time]
    share = sum(known) / sum(wall) if any(wall) else 0.0
    if len(known) < len(wall) or share < COMPUTES:
        return None
    return "device", f"a device computes for {percent(min(share, 1.0))} of the time, by its own clock"
