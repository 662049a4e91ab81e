"""Takes the samples of a case: once, or of several programs side by side in blocks.

In each block every program (arm) takes its turn, in random order: a disturbance that lasts longer than that
affects all of them equally.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import ClassVar, Generic, TypeVar

from benchmarking.driver.conditions import Conditions
from benchmarking.driver.settings import ClockChoice
from benchmarking.errors import CaseError, DeviceError
from benchmarking.frameworks.framework_base import ProgramReport
from benchmarking.results.model import (
    Clock,
    Cost,
    Fact,
    Kernel,
    Sampling,
    SamplingLevel,
    SequentialDecision,
)

RunProgram = Callable[[], ProgramReport]
"""Runs one whole process of one arm.

Raises:
    CaseError, DeviceError, RunCancelledError: as ``PlatformBase.run`` and ``FrameworkBase.parse`` do.
"""


@dataclass(frozen=True)
class TypeSamples:
    """All samples of one type of one arm, in order of time, each with the number of its block (in
    A/B: pair).
    """

    type: str
    unit: str
    values: tuple[float, ...]
    pairs: tuple[int, ...]
    cpu_values: tuple[float, ...] = ()
    """The CPU time of the same iterations, if it is known."""
    device_values: tuple[float, ...] = ()
    """Their time by the clock of the device that computed, if it is known."""


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
    """The error that ended the sampling early. Samples taken before are kept."""
    decisions: Mapping[str, SequentialDecision] = field(default_factory=dict)
    """By type; empty without a control, or after a failure."""
    sampling: Sampling | None = None
    """None without a control."""


def sample_once(program: RunProgram) -> Samples:
    """Runs one process, without a control. A failure is part of the result.

    Raises:
        RunCancelledError: the run was cancelled.
    """
    try:
        return Samples(joined([(0, program())]), None)
    except (CaseError, DeviceError) as error:
        return Samples(ArmSamples(), None, failure=error)


ArmFailure = CaseError | DeviceError
LogRatios = Mapping[str, Mapping[str, float]]
"""For one block: log(arm / baseline) by arm and type, for each arm except the baseline; empty if the baseline
has failed. NaN: the block has no valid ratio of this type.
"""
Enough = Callable[[LogRatios], bool]
"""Takes the ratios of the latest block and says whether to stop."""


@dataclass(frozen=True)
class Sampled:
    """The samples of the blocks of several arms."""

    arms: Mapping[str, ArmSamples]
    failures: Mapping[str, ArmFailure]
    """By arm. The samples that a failed arm took before are kept."""
    log_ratios: tuple[LogRatios, ...]
    """The conditions of each block."""
    sampling: Mapping[str, Sampling]
    """Maps the arm to its description, with the clock of its ratios."""
    baseline: str
    """The arm that the ratios are relative to."""


class ArmFailedError(Exception):
    """One arm failed while several were working."""

    def __init__(self, arm: str, cause: ArmFailure) -> None:
        super().__init__(str(cause))
        self.arm, self.cause = arm, cause


@contextmanager
def blaming(arm: str) -> Iterator[None]:
    """Raises:
    ArmFailedError: what is done inside fails.
    """
    try:
        yield
    except (CaseError, DeviceError) as error:
        raise ArmFailedError(arm, error) from error


Source = TypeVar("Source")
"""The source of an arm's measurements."""


class Sampler(ABC, Generic[Source]):
    """Takes the samples of N arms in blocks. For a single use."""

    level: ClassVar[SamplingLevel]

    def __init__(
        self,
        random: Random,
        read_conditions: Callable[[], Conditions],
        why: str,
        clock: ClockChoice = "auto",
        *,
        goes_on_without_failed: bool = False,
    ) -> None:
        """Args:
        why: samples are taken at this level.
        goes_on_without_failed: an arm that fails costs its own samples only; else it ends the sampling.
        """
        self._random = random
        self._read_conditions = read_conditions
        self._why = why
        self._clock_choice = clock
        self._goes_on_without_failed = goes_on_without_failed
        self._sources: Mapping[str, Source] = {}
        self._baseline = ""
        self._clocks: dict[str, tuple[Clock, str]] = {}
        """The clock that suits each arm, with the reason."""
        self._rounds = 1
        self._core: int | None = None

    def sample(
        self, sources: Mapping[str, Source], baseline: str, enough: Enough, *, substitutes: bool = False
    ) -> Sampled:
        """Runs blocks until there are ``enough``, or until no arm is left. A failed arm is part of the
        result.

        Args:
            substitutes: if the baseline fails before a block is complete, the next arm becomes the baseline.

        Raises:
            NoWorkersError: single iterations are wanted, and the programs do not do them.
            RunCancelledError: the run was cancelled.
        """
        started = time.monotonic()
        self._sources, self._baseline = dict(sources), baseline
        failures: dict[str, ArmFailure] = {}
        log_ratios: list[LogRatios] = []
        conditions: list[Conditions] = []
        with ExitStack() as stack:
            self._open(stack)
            order = self._drawn(list(sources))
            while order:
                if substitutes and not log_ratios and self._baseline not in order:
                    self._baseline = next(arm for arm in sources if arm in order)
                before = self._read_conditions()
                try:
                    noted = self._measure(len(log_ratios), order, before)
                except ArmFailedError as error:
                    failures |= dict.fromkeys(self._lost_with(error, order), error.cause)
                    order = [] if self._is_end(error) else [arm for arm in order if arm not in failures]
                    continue
                conditions.append({**before, "first": order[0], **noted})
                log_ratios.append(self._log_ratios(len(log_ratios), order))
                if enough(log_ratios[-1]):
                    break
                order = self._drawn([arm for arm in sources if arm not in failures])
        return Sampled(
            arms={arm: self._samples(arm) for arm in sources},
            failures=failures,
            log_ratios=tuple(log_ratios),
            sampling={
                arm: Sampling(
                    level=self.level,
                    level_reason=self._why,
                    clock=clock,
                    clock_reason=reason,
                    rounds=self._rounds,
                    core=self._core,
                    pairs=len(log_ratios),
                    duration_s=time.monotonic() - started,
                    conditions=tuple(conditions),
                )
                for arm in sources
                for clock, reason in [self._clock_of(arm)]
            },
            baseline=self._baseline,
        )

    def _clock_of(self, arm: str) -> tuple[Clock, str]:
        """The clock of its ratios, with the reason: one that suits both it and the baseline, otherwise wall
        time.
        """
        unknown: tuple[Clock, str] = ("wall", "")
        own = self._clocks.get(arm, unknown)
        baseline = self._clocks.get(self._baseline, own)
        if own[0] == baseline[0] or own[0] == "wall":
            return own
        return baseline if baseline[0] == "wall" else ("wall", f"{self._baseline} is timed by another clock")

    def _drawn(self, arms: Sequence[str]) -> list[str]:
        return self._random.sample(arms, k=len(arms))

    def _is_end(self, error: ArmFailedError) -> bool:
        return not self._goes_on_without_failed or isinstance(error.cause, DeviceError)

    def _lost_with(self, error: ArmFailedError, order: Sequence[str]) -> Sequence[str]:
        """Without the device no arm can continue."""
        return order if self._goes_on_without_failed and self._is_end(error) else [error.arm]

    def _open(self, stack: ExitStack) -> None:
        """The contents of ``stack`` last until the end of the sampling."""
        return

    @abstractmethod
    def _measure(self, block: int, order: Sequence[str], before: Conditions) -> Mapping[str, Fact]:
        """Measures the block, and returns further notes about its conditions.

        After an arm has failed, the block is measured again without it.

        Raises:
            ArmFailedError: an arm failed.
            NoWorkersError: see ``sample``.
        """

    @abstractmethod
    def _log_ratios(self, block: int, arms: Sequence[str]) -> LogRatios: ...

    @abstractmethod
    def _samples(self, arm: str) -> ArmSamples:
        """All samples of the arm."""


def say_which_arm(error: CaseError | DeviceError, arm: str) -> CaseError | DeviceError:
    """The same error, with the name of the arm before its message."""
    return type(error)(f"{arm}: {error}", error.evidence)


def joined(reports: Sequence[tuple[int, ProgramReport]]) -> ArmSamples:
    """The samples of several processes, type by type; a type that one of them lacks is kept."""
    units: dict[str, str] = {}
    values: dict[str, list[float]] = {}
    pairs: dict[str, list[int]] = {}
    cpu_values: dict[str, list[float]] = {}
    device_values: dict[str, list[float]] = {}
    for pair, report in reports:
        for measurement in report.measurements:
            name = measurement.type
            units.setdefault(name, measurement.unit)
            values.setdefault(name, []).extend(measurement.values)
            pairs.setdefault(name, []).extend([pair] * len(measurement.values))
            cpu_values.setdefault(name, []).extend(measurement.cpu_values)
            device_values.setdefault(name, []).extend(measurement.device_values)
    return ArmSamples(
        types=tuple(
            TypeSamples(
                name,
                units[name],
                tuple(values[name]),
                tuple(pairs[name]),
                # For all iterations or for none, because each belongs to a value.
                cpu_values=tuple(one) if len(one := cpu_values[name]) == len(values[name]) else (),
                device_values=tuple(one) if len(one := device_values[name]) == len(values[name]) else (),
            )
            for name in units
        ),
        facts=reports[-1][1].facts if reports else {},
        costs=reports[-1][1].costs if reports else {},
        kernels=reports[-1][1].kernels if reports else {},
        warnings=tuple(dict.fromkeys(text for _, report in reports for text in report.warnings)),
    )
