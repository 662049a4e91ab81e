"""Counters of the system for this process, which show whether an iteration was disturbed; the resolution of
clocks.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_TASKS = "/proc/self/task"
_STEPS = 20
_LIMIT_NS = 50_000_000


class Counters(NamedTuple):
    involuntary_switches: int | None
    """The number of times that a thread lost its core to another thread; None: the system does not count
    this.
    """
    run_delays_ns: dict[str, int] | None
    """Maps each thread to the time for which it was ready to run and waited for a core; None: the system does
    not count this.
    """


def read() -> Counters:
    switches = None if resource is None else resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
    return Counters(switches, _run_delays_ns())


def _run_delays_ns() -> dict[str, int] | None:
    delays, ran_ns = {}, 0
    try:
        tasks = os.listdir(_TASKS)
    except OSError:
        return None
    for task in tasks:
        try:
            with open("%s/%s/schedstat" % (_TASKS, task), "rb") as stream:
                run_ns, delay_ns, _ = map(int, stream.read().split())
        except (OSError, ValueError):
            continue  # the thread has ended meanwhile, or no thread has such a file
        delays[task] = delay_ns
        ran_ns += run_ns
    return delays if ran_ns else None  # all zero where the kernel does not keep them


def difference(before: Counters, after: Counters) -> dict[str, int | None]:
    """The differences, with the keys of the worker protocol."""
    switches, delay = None, None
    if before.involuntary_switches is not None and after.involuntary_switches is not None:
        switches = after.involuntary_switches - before.involuntary_switches
    if before.run_delays_ns is not None and after.run_delays_ns is not None:
        earlier = before.run_delays_ns
        delay = sum(value - earlier.get(task, 0) for task, value in after.run_delays_ns.items())
    return {"involuntary_switches": switches, "run_delay_ns": delay}


def resident_bytes() -> int | None:
    """The memory that the process uses now (or, if the system does not report it, the most that
    it has used).
    """
    try:
        with open("/proc/self/statm", "rb") as stream:
            return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return peak_resident_bytes()


def peak_resident_bytes() -> int | None:
    """The most memory that the process has used."""
    if resource is None:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def resolution_ns(clock: Callable[[], int]) -> int:
    """The smallest step of the clock that was observed: some systems count CPU time in ticks of 10 ms."""
    start = time.perf_counter_ns()
    smallest, steps = _LIMIT_NS, 0
    previous = clock()
    while steps < _STEPS and time.perf_counter_ns() - start < _LIMIT_NS:
        now = clock()
        if now != previous:
            smallest = min(smallest, now - previous)
            steps += 1
            previous = now
    return smallest
