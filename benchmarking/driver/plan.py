"""What is the same for every case of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarking.driver.settings import USUAL_TIMEOUT_S, ABMode, ClockChoice
from benchmarking.driver.stages import Stage
from benchmarking.frameworks.framework_base import FrameworkBase
from benchmarking.programs.command import Program
from benchmarking.results.model import Fact, RunType, new_uid
from benchmarking.specs.expand import TestCase
from benchmarking.statistics.sequential import SequentialPlan


@dataclass(frozen=True)
class Arm:
    """The treatment or the control: a commit and its program."""

    commit: str
    commit_time: int
    """Unix seconds of the committer time."""
    program: Program
    position: int | None = None
    """The commit's, in its repository (``run_info.Version``)."""


@dataclass(frozen=True)
class Comparing:
    """How treatment and control are compared, where there is a control."""

    plan: SequentialPlan = field(default_factory=SequentialPlan)
    mode: ABMode = "auto"
    fixed_pairs: int | None = None
    """So many pairs, whatever they show; None: until they are enough for a verdict."""
    max_seconds: float = 120.0
    """Of one test; the pair that is under way is finished."""
    clock: ClockChoice = "auto"
    canary: bool = True
    what: str = "comparing treatment and control"
    """For people who wait."""


@dataclass(frozen=True)
class Contender:
    """A framework beside others, with the program that runs its tests."""

    framework: FrameworkBase
    arm: Arm


@dataclass(frozen=True)
class ManyBackends:
    """Every test on several backends, of one framework or of several."""

    names: tuple[str, ...] | None = ()
    """Empty: all that a device has; None: the usual one of each framework."""
    reference: str | None = None
    """The backend, framework or ``framework/backend`` that the others are compared with; None: ``default``,
    or the first, of the first framework."""
    blocks: int | None = None
    """In each of which every backend takes its turn; None: as many as usual."""
    tolerance: float | None = None
    """How far an output may be from the reference's, in parts of its largest value; None: as belongs to the
    precision."""
    contenders: tuple[Contender, ...] = ()
    """The frameworks, where several were asked for; empty: the plan's alone."""
    unusable: Mapping[str, str] = field(default_factory=dict)
    """By framework that was asked for too and cannot run anywhere here: why, and how to get it."""


@dataclass(frozen=True)
class RunPlan:
    framework: FrameworkBase
    treatment: Arm
    control: Arm | None
    """Turns on A/B."""
    command: tuple[str, ...]
    """The harness's own command line, secrets masked: for the record."""
    seed: int
    comparing: Comparing = field(default_factory=Comparing)
    shared_libraries: tuple[Path, ...] = ()
    backend: str | None = None
    """Of one; where there are several, each gets a plan with its own."""
    backends: ManyBackends | None = None
    timeout_s: float | None = None
    """The user's choice."""
    secrets: tuple[str, ...] = ()
    """The names of environment variables that no command of a specification may see."""
    run_type: RunType = "benchmark"
    regressed_types: tuple[str, ...] = ()
    cooldown_s: float | None = None
    """How long to wait at most, before each case, for the device to be steady."""
    user_meta: Mapping[str, Fact] = field(default_factory=dict)
    run_uid: str = field(default_factory=new_uid)
    """Of the whole run, on every device and in every stage."""

    @property
    def stage(self) -> Stage:
        return Stage(self.run_type, self.regressed_types)

    def for_stage(self, stage: Stage) -> RunPlan:
        return replace(self, run_type=stage.run_type, regressed_types=stage.suspects)

    def limit_s(self, case: TestCase | None = None) -> float:
        """How long a run of the program may take: the user's choice wins over the specification's."""
        chosen = (self.timeout_s, case.timeout_s if case else None, USUAL_TIMEOUT_S)
        return next(limit for limit in chosen if limit is not None)

    def for_run(self, tests: int) -> RunPlan:
        """The same, so strict that a run of so many comparisons raises false alarms as rarely as one."""
        return replace(self, comparing=replace(self.comparing, plan=self.comparing.plan.for_run(tests)))
