"""How the samples of a case are taken: once, or treatment and control against each other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from benchmarking.errors import CaseError, DeviceError
from benchmarking.frameworks.framework_base import ProgramReport
from benchmarking.results import Cost, Fact

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


@dataclass(frozen=True)
class ArmSamples:
    types: tuple[TypeSamples, ...] = ()
    facts: Mapping[str, Fact] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    costs: Mapping[str, Cost] = field(default_factory=dict)
    """By type."""


@dataclass(frozen=True)
class Samples:
    treatment: ArmSamples
    control: ArmSamples | None
    failure: CaseError | DeviceError | None = None
    """What ended the sampling early. What had been measured until then is kept."""


class Sampler(ABC):
    """Decides in which order the arms run, and how often."""

    @abstractmethod
    def sample(self, treatment: RunProgram, control: RunProgram | None) -> Samples:
        """Never raises for a failed arm: the failure is part of the answer.

        Raises:
            RunCancelledError: the run was cancelled.
        """


class ProcessSampler(Sampler):
    """Whole processes: a single one, or pairs of treatment and control in random order."""

    def __init__(self, pairs: int, random: Random) -> None:
        self._pairs = pairs
        self._random = random

    def sample(self, treatment: RunProgram, control: RunProgram | None) -> Samples:
        arms: dict[str, RunProgram] = {"treatment": treatment}
        if control is not None:
            arms["control"] = control
        reports: dict[str, list[tuple[int, ProgramReport]]] = {name: [] for name in arms}
        failure = None
        running = "treatment"
        try:
            for pair in range(self._pairs if control is not None else 1):
                for running in self._random.sample(sorted(arms), k=len(arms)):
                    reports[running].append((pair, arms[running]()))
        except (CaseError, DeviceError) as error:
            failure = say_which_arm(error, running) if control is not None else error
        return Samples(
            treatment=_joined(reports["treatment"]),
            control=_joined(reports["control"]) if control is not None else None,
            failure=failure,
        )


def say_which_arm(error: CaseError | DeviceError, arm: str) -> CaseError | DeviceError:
    """The same error, with the arm in front of its message."""
    return type(error)(f"{arm}: {error}", error.evidence)


def _joined(reports: Sequence[tuple[int, ProgramReport]]) -> ArmSamples:
    """The samples of several processes, type by type; a type that one of them lacks is kept."""
    units: dict[str, str] = {}
    values: dict[str, list[float]] = {}
    pairs: dict[str, list[int]] = {}
    for pair, report in reports:
        for measurement in report.measurements:
            name = measurement.type
            units.setdefault(name, measurement.unit)
            values.setdefault(name, []).extend(measurement.values)
            pairs.setdefault(name, []).extend([pair] * len(measurement.values))
    return ArmSamples(
        types=tuple(
            TypeSamples(name, units[name], tuple(values[name]), tuple(pairs[name])) for name in units
        ),
        facts=reports[-1][1].facts if reports else {},
        costs=reports[-1][1].costs if reports else {},
        warnings=tuple(dict.fromkeys(text for _, report in reports for text in report.warnings)),
    )
