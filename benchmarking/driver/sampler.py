"""How the samples of a case are taken: once, or in pairs of whole processes of treatment and control."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from benchmarking.driver.clock import device_clock
from benchmarking.driver.paired_test import PairedTest
from benchmarking.errors import CaseError, DeviceError
from benchmarking.frameworks.framework_base import ProgramReport
from benchmarking.options import ClockChoice
from benchmarking.results.model import (
    NET_DELAY,
    Clock,
    Cost,
    Fact,
    Kernel,
    Measurement,
    Sampling,
    SequentialDecision,
)

RunProgram = Callable[[], ProgramReport]
"""Runs one whole process of one arm.

Raises:
    CaseError, DeviceError, RunCancelledError: as ``PlatformBase.run`` and ``FrameworkBase.parse`` do.
"""


@dataclass(frozen=True)
class TypeSamples:
    """All samples of one type of one arm, in time order, each with the number of its pair."""

    type: str
    unit: str
    values: tuple[float, ...]
    pairs: tuple[int, ...]
    cpu_values: tuple[float, ...] = ()
    """The CPU time of the same iterations, where it is known."""
    device_values: tuple[float, ...] = ()
    """Their time by the clock of the device that computed, where it is known."""


@dataclass(frozen=True)
class ArmSamples:
    types: tuple[TypeSamples, ...] = ()
    facts: Mapping[str, Fact] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    costs: Mapping[str, Cost] = field(default_factory=dict)
    """By type."""
    kernels: Mapping[str, Kernel] = field(default_factory=dict)
    """By operator."""


@dataclass(frozen=True)
class Samples:
    treatment: ArmSamples
    control: ArmSamples | None
    failure: CaseError | DeviceError | None = None
    """What ended the sampling early. What had been measured until then is kept."""
    decisions: Mapping[str, SequentialDecision] = field(default_factory=dict)
    """By type; empty without a control, or after a failure."""
    sampling: Sampling | None = None
    """None without a control."""


def sample_once(program: RunProgram) -> Samples:
    """One process, without a control. A failure is part of the answer.

    Raises:
        RunCancelledError: the run was cancelled.
    """
    try:
        return Samples(joined([(0, program())]), None)
    except (CaseError, DeviceError) as error:
        return Samples(ArmSamples(), None, failure=error)


class ProcessSampler:
    """Pairs of whole processes of treatment and control, each in random order, until there is a verdict."""

    def __init__(
        self,
        test: PairedTest,
        random: Random,
        read_conditions: Callable[[], Mapping[str, Fact]],
        why: str,
        clock: ClockChoice = "auto",
    ) -> None:
        """``why``: whole processes, and not single iterations."""
        self._test = test
        self._random = random
        self._read_conditions = read_conditions
        self._why = why
        self._clock_choice = clock

    def sample(self, treatment: RunProgram, control: RunProgram) -> Samples:
        """As ``sample_once``."""
        arms = {"treatment": treatment, "control": control}
        reports: dict[str, list[tuple[int, ProgramReport]]] = {name: [] for name in arms}
        conditions: list[Mapping[str, Fact]] = []
        decisions = None
        failure = None
        clock, why_clock = _clock((), self._clock_choice)
        running = "treatment"
        try:
            while decisions is None:
                order = self._random.sample(sorted(arms), k=len(arms))
                conditions.append({**self._read_conditions(), "first": order[0]})
                for running in order:
                    reports[running].append((self._test.pairs, arms[running]()))
                ours, theirs = (reports[name][-1][1] for name in arms)
                if self._test.pairs == 0:
                    clock, why_clock = _clock((ours, theirs), self._clock_choice)
                decisions = self._test.add(_log_ratios(ours, theirs, clock))
        except (CaseError, DeviceError) as error:
            failure = say_which_arm(error, running)
        return Samples(
            treatment=joined(reports["treatment"]),
            control=joined(reports["control"]),
            failure=failure,
            decisions=decisions or {},
            sampling=Sampling(
                level="process",
                level_reason=self._why,
                clock=clock,
                clock_reason=why_clock,
                rounds=1,
                pairs=self._test.pairs,
                duration_s=self._test.duration_s,
                conditions=tuple(conditions),
            ),
        )


def _clock(reports: Sequence[ProgramReport], choice: ClockChoice) -> tuple[Clock, str]:
    """Of a device where one does the work in all of them, else the one that programs print anyway."""
    net = [one for report in reports for one in report.measurements if one.type == NET_DELAY]
    wall = [value for one in net for value in one.values]
    device = [value for one in net for value in one.device_values]
    by_device = device_clock(wall, device) if choice in ("auto", "device") else None
    return by_device or ("wall", "programs print wall time")


def _log_ratios(treatment: ProgramReport, control: ProgramReport, clock: Clock) -> dict[str, float]:
    """By type that both have; NaN where a time is 0."""
    theirs = {one.type: _median(one, clock) for one in control.measurements}
    ours = {one.type: _median(one, clock) for one in treatment.measurements}
    return {
        name: math.log(value / theirs[name]) if value > 0 and theirs[name] > 0 else math.nan
        for name, value in ours.items()
        if name in theirs
    }


def _median(measurement: Measurement, clock: Clock) -> float:
    """By the device's clock of what has one: operators are timed by the wall."""
    by_device = measurement.device_values if clock == "device" else ()
    return statistics.median(by_device or measurement.values)


def say_which_arm(error: CaseError | DeviceError, arm: str) -> CaseError | DeviceError:
    """The same error, with the arm in front of its message."""
    return type(error)(f"{arm}: {error}", error.evidence)


def joined(reports: Sequence[tuple[int, ProgramReport]]) -> ArmSamples:
    """The samples of several processes, type by type; a type that one of them lacks is kept."""
    units: dict[str, str] = {}
    values: dict[str, list[float]] = {}
    pairs: dict[str, list[int]] = {}
    device_values: dict[str, list[float]] = {}
    for pair, report in reports:
        for measurement in report.measurements:
            name = measurement.type
            units.setdefault(name, measurement.unit)
            values.setdefault(name, []).extend(measurement.values)
            pairs.setdefault(name, []).extend([pair] * len(measurement.values))
            device_values.setdefault(name, []).extend(measurement.device_values)
    return ArmSamples(
        types=tuple(
            TypeSamples(
                name,
                units[name],
                tuple(values[name]),
                tuple(pairs[name]),
                # Of all the iterations or of none: each of them belongs to a value.
                device_values=tuple(one) if len(one := device_values[name]) == len(values[name]) else (),
            )
            for name in units
        ),
        facts=reports[-1][1].facts if reports else {},
        costs=reports[-1][1].costs if reports else {},
        kernels=reports[-1][1].kernels if reports else {},
        warnings=tuple(dict.fromkeys(text for _, report in reports for text in report.warnings)),
    )
