"""Takes turns running whole processes of several arms, for programs that do not run single iterations on
demand.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from itertools import zip_longest
from random import Random
from typing import ClassVar

from benchmarking.driver.clock import device_clock, process_clock, require_times, shortest_operator_ns
from benchmarking.driver.conditions import Conditions
from benchmarking.driver.sampler import ArmSamples, LogRatios, RunProgram, Sampler, blaming, joined
from benchmarking.driver.settings import ClockChoice
from benchmarking.frameworks.framework_base import ProgramReport
from benchmarking.results.model import NET_DELAY, Clock, Fact, Measurement, SamplingLevel

MORE_LOOKS, SHORT_US = 2, 1e6
"""The clock of a process that took less than this is decided by up to so many more runs."""


class ProcessSampler(Sampler[RunProgram]):
    """In each block one process of each arm."""

    level: ClassVar[SamplingLevel] = "process"

    def __init__(
        self,
        random: Random,
        read_conditions: Callable[[], Conditions],
        why: str,
        clock: ClockChoice = "auto",
        *,
        computes_on_cpu: bool = True,
        goes_on_without_failed: bool = False,
    ) -> None:
        super().__init__(random, read_conditions, why, clock, goes_on_without_failed=goes_on_without_failed)
        self._computes_on_cpu = computes_on_cpu

    def _open(self, stack: ExitStack) -> None:
        self._by_arm: dict[str, dict[int, ProgramReport]] = {arm: {} for arm in self._sources}

    def _measure(self, block: int, order: Sequence[str], before: Conditions) -> Mapping[str, Fact]:
        for arm in order:
            if block not in self._by_arm[arm]:  # otherwise it had its turn before another arm failed
                with blaming(arm):
                    self._by_arm[arm][block] = self._sources[arm]()
                    if block == 0:
                        self._clocks[arm] = self._steady_clock(arm, self._by_arm[arm][block])
        return {}

    def _steady_clock(self, arm: str, report: ProgramReport) -> tuple[Clock, str]:
        """Something else may have held up a single short process, so that it seems to wait by itself."""
        chosen = self._clock(report)
        is_open = self._clock_choice == "auto" and self._computes_on_cpu and report.cpu is not None
        for _ in range(MORE_LOOKS if is_open else 0):
            if chosen[0] != "wall" or report.measurements[0].values[0] > SHORT_US:
                break
            report = self._sources[arm]()
            chosen = self._clock(report)
        return chosen

    def _clock(self, report: ProgramReport) -> tuple[Clock, str]:
        """The clock of a device if one does the work; of a process that is an iteration, what it shows to
        suit; otherwise the clock that programs print anyway.

        Raises:
            CaseError: the program does not have the clock that was requested.
        """
        if self._clock_choice != "auto":
            if self._clock_choice != "wall":
                require_times(self._clock_choice, _by_clock(report.measurements, self._clock_choice))
            return self._clock_choice, "requested by --clock"
        wall = [value for one in report.measurements if one.type == NET_DELAY for value in one.values]
        by_device = device_clock(wall, _by_clock(report.measurements, "device"))
        if by_device or report.cpu is None:
            return by_device or ("wall", "programs print wall time")
        if not self._computes_on_cpu:
            return "wall", "the CPU does not do the work"
        return process_clock(wall[0] / 1e6, report.cpu)

    def _log_ratios(self, block: int, arms: Sequence[str]) -> LogRatios:
        baseline = self._by_arm.get(self._baseline, {}).get(block)
        if baseline is None:
            return {}
        return {
            arm: _log_ratios(self._by_arm[arm][block], baseline, self._clock_of(arm)[0])
            for arm in arms
            if arm != self._baseline
        }

    def _samples(self, arm: str) -> ArmSamples:
        return joined(list(self._by_arm[arm].items()))


def _log_ratios(treatment: ProgramReport, control: ProgramReport, clock: Clock) -> dict[str, float]:
    """By type that both have, except for operators that are too short to be timed; NaN if a time is 0."""
    theirs = {one.type: _median(one, clock) for one in control.measurements}
    ours = {one.type: _median(one, clock) for one in treatment.measurements}
    shortest_us = shortest_operator_ns(treatment.facts, control.facts) / 1e3
    return {
        name: math.log(value / theirs[name]) if value > 0 and theirs[name] > 0 else math.nan
        for name, value in ours.items()
        if name in theirs and (name == NET_DELAY or min(value, theirs[name]) >= shortest_us)
    }


def _median(measurement: Measurement, clock: Clock) -> float:
    """By this clock; of operators, which it may not time, otherwise by wall time. NaN: it did not time the
    net, whose other pairs are timed by it.
    """
    times = _times(measurement, clock) or (measurement.values if measurement.type != NET_DELAY else ())
    return statistics.median(times) if times else math.nan


def _times(measurement: Measurement, clock: Clock) -> Sequence[float]:
    return {"device": measurement.device_values, "cpu": measurement.cpu_values, "wall": measurement.values}[
        clock
    ]


def _by_clock(measurements: Sequence[Measurement], clock: Clock) -> list[float | None]:
    """The times of the net's iterations; None where this clock did not time one."""
    return [
        time
        for one in measurements
        if one.type == NET_DELAY
        for _, time in zip_longest(one.values, _times(one, clock))
    ]
