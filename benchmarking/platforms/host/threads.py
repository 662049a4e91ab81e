"""The system's counters for the threads of a process on this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress

from benchmarking.platforms.platform_base import ThreadTimes


def thread_times(pid: int) -> Mapping[int, ThreadTimes] | None:
    """None if the system does not count (not Linux, or no CONFIG_SCHED_INFO), or if there is no
    such process.
    """
    directory = f"/proc/{pid}/task"
    times: dict[int, ThreadTimes] = {}
    try:
        threads = os.listdir(directory)  # noqa: PTH208 - twice as fast, and it is read around each iteration
    except OSError:
        return None
    for thread in threads:
        with suppress(OSError, ValueError):  # it has ended meanwhile
            with open(f"{directory}/{thread}/schedstat", "rb") as stream:  # noqa: PTH123 - as above
                ran_ns, waited_ns, _ = map(int, stream.read().split())
            times[int(thread)] = ThreadTimes(ran_ns, waited_ns)
    # All zero where the kernel does not keep them.
    return times if any(one.ran_ns for one in times.values()) else None
