"""The settings that are the same for every case of a run."""

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
    """The position of the commit in its repository (``run_info.Version``)."""
    branch: str = ""
    author: str = ""
    subject: str = ""
    """The first line of the commit's message."""


@dataclass(frozen=True)
class Comparing:
    """How treatment and control are compared, if there is a control."""

    plan: SequentialPlan = field(default_factory=SequentialPlan)
    mode: ABMode = "auto"
    fixed_pairs: int | None = None
    """The exact number of pairs, regardless of the outcome; None: until there are enough for a verdict."""
    max_seconds: float = 120.0
    """The time limit of one test; the current pair is finished."""
    clock: ClockChoice = "auto"
    canary: bool = True
    what: str = "comparing treatment and control"
    """Shown to people who wait."""


@dataclass(frozen=True)
class Contender:
    """One of several frameworks, with the program that runs its tests."""

    framework: FrameworkBase
    arm: Arm


@dataclass(frozen=True)
class ManyBackends:
    """Runs every test on several backends, of one framework or of several."""

    names: tuple[str, ...] | None = ()
    """Empty: all backends of a device; None: the usual backend of each framework."""
    reference: str | None = None
    """The backend, framework or ``framework/backend`` with which the others are compared; None: ``default``,
    or the first, of the first framework.
    """
    blocks: int | None = None
    """In each block every backend takes its turn; None: the usual number."""
    tolerance: float | None = None
    """The largest deviation of an output from the reference's, as a fraction of its largest value; None:
    depends on the precision.
    """
    contenders: tuple[Contender, ...] = ()
    """The frameworks, if several were requested; empty: only that of the plan."""
    unusable: Mapping[str, str] = field(default_factory=dict)
    """Maps each requested framework that cannot run on any device here to the reason, and how to get it."""


@dataclass(frozen=True)
class RunPlan:
    framework: FrameworkBase
    treatment: Arm
    control: Arm | None
    """Turns on A/B."""
    command: tuple[str, ...]
    """The harness's own command line, without secrets, for the record."""
    seed: int
    comparing: Comparing = field(default_factory=Comparing)
    shared_libraries: tuple[Path, ...] = ()
    backend: str | None = None
    """The program of one arm; if there are several, each gets its own plan."""
    backends: ManyBackends | None = None
    allow_code: bool = False
    """Whether code that model files contain may be run."""
    timeout_s: float | None = None
    """The user's choice."""
    secrets: tuple[str, ...] = ()
    """The names of environment variables that no command of a specification may see."""
    run_type: RunType = "benchmark"
    regressed_types: tuple[str, ...] = ()
    cooldown_s: float | None = None
    """The longest wait, before each case, for the device to be steady."""
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
        """The same plan, but so strict that a run with this number of comparisons raises false alarms as
        rarely as a single one.
        """
        return replace(self, comparing=replace(self.comparing, plan=self.comparing.plan.for_run(tests)))
