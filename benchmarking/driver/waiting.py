"""Measures from outside how long a program waited for a core, if it does not report this. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarking.platforms.platform_base import ThreadTimes
from benchmarking.programs.worker_protocol import IterationSample

Times = Mapping[int, ThreadTimes]
"""Maps the thread to its times."""

SEEN = 0.5
"""As a fraction of an iteration's CPU time: if the watched threads ran for less, other threads have computed.
"""
COMPUTES = 0.2
"""As a fraction of the busiest thread's time: a thread that ran more also computes."""


@dataclass(frozen=True)
class Watched:
    """The threads of a process, between readings before and after an iteration."""

    ran_ns: tuple[int, ...]
    """The times of each thread that ran."""
    waited_ns: int
    """The total of all threads; a small part of it may be before and after the iteration."""

    @classmethod
    def between(cls, before: Times | None, after: Times | None) -> Watched | None:
        """None if one of the readings is unknown."""
        if before is None or after is None:
            return None
        none = ThreadTimes(0, 0)
        ran = [one.ran_ns - before.get(thread, none).ran_ns for thread, one in after.items()]
        waited = [one.waited_ns - before.get(thread, none).waited_ns for thread, one in after.items()]
        return cls(tuple(one for one in ran if one > 0), sum(max(one, 0) for one in waited))

    @property
    def computing(self) -> int:
        """The number of threads that computed."""
        busiest = max(self.ran_ns, default=0)
        return sum(one >= COMPUTES * busiest for one in self.ran_ns)

    def completed(self, sample: IterationSample) -> IterationSample:
        """The sample with the waiting time of its threads, if the worker does not report it and these threads
        computed.
        """
        computed_ns = sample.wall_ns if sample.cpu_ns is None else sample.cpu_ns
        if sample.run_delay_ns is not None or sum(self.ran_ns) < SEEN * computed_ns:
            return sample
        waited_ns: float = self.waited_ns
        if self.computing == 1 and sample.cpu_ns is not None:
            waited_ns = min(waited_ns, max(sample.wall_ns - sample.cpu_ns, 0.0))
        return sample.model_copy(update={"run_delay_ns": waited_ns})
