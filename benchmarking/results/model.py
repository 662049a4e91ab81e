"""What was measured (raw) and what follows from it (derived), apart from each other.

A ``Result`` is one test case on one device. Delays are microseconds everywhere.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, Literal

from benchmarking.results.unix_time import UnixSeconds

NET_DELAY = "NET_DELAY"
"""The measured type of a whole-net iteration; every other type of ``delay`` is an operator."""

RunType = Literal["benchmark", "verify", "regress"]
"""A normal run, a suspicion that is run again, a confirmed regression."""

Fact = str | int | float | bool | None

SamplingLevel = Literal["iteration", "process"]
Clock = Literal["cpu", "wall", "device"]


def new_uid() -> str:
    """Of a run or a result, unlike any other."""
    return uuid.uuid4().hex


@dataclass(frozen=True)
class Measurement:
    """Raw samples of one type, in the order in which they were taken."""

    type: str
    """``NET_DELAY``, or an operator's name."""
    unit: str
    values: tuple[float, ...]
    device_values: tuple[float, ...] = ()
    """Of the same iterations, by the clock of the device that computed, where the program tells it."""


@dataclass(frozen=True)
class Percentiles:
    """The five numbers that other programs read (docs/contracts.md, section 4)."""

    p0: float
    p10: float
    p50: float
    p90: float
    p100: float


@dataclass(frozen=True)
class Interval:
    """A confidence interval; ``confidence`` is what it really covers (0.95: 95 %)."""

    low: float
    high: float
    confidence: float


@dataclass(frozen=True)
class Summary(Percentiles):
    count: int
    mean: float
    standard_deviation: float
    """Of the sample (n - 1); 0 for a single value."""
    p95: float
    p99: float
    median_interval: Interval | None
    """For the median; None with too few samples to have one. Over several processes it is that of their
    medians, as the samples of one process are not independent."""


@dataclass(frozen=True)
class Comparison:
    """Treatment against control, from pairs of processes."""

    pairs: int
    ratio: float
    """Treatment over control (1.03: the treatment takes 3 % longer)."""
    ratio_interval: Interval | None


class Verdict(StrEnum):
    REGRESSED = "regressed"
    IMPROVED = "improved"
    UNCHANGED = "unchanged"
    INCONCLUSIVE = "inconclusive"
    NOT_COMPARABLE = "not comparable"
    """The two did not run with the same settings."""


CHANGED = (Verdict.REGRESSED, Verdict.IMPROVED)


@dataclass(frozen=True)
class SequentialDecision:
    """What one type's pairs came to (``benchmarking/statistics/sequential.py``)."""

    verdict: Verdict
    reason: str
    """The numbers that led to it, in a sentence."""
    pairs: int
    """Pairs that were measured until it was decided; ``comparison.pairs`` of them could be used."""
    comparison: Comparison | None
    """None where no pair could be used."""
    smallest_change: float | None
    """The smallest change (0.02: 2 %) that so many pairs, scattered like these, find with a probability of
    1 - beta; None where they are too few to find any."""
    p_slower: float
    """Of the one-sided signed-rank test, not adjusted for the number of operators."""
    p_faster: float


@dataclass(frozen=True)
class Confirmation:
    """A suspicion and its verification on fresh pairs."""

    verdict: Verdict
    reason: str
    first: SequentialDecision
    second: SequentialDecision
    """Its estimate is the one to quote: it was not chosen for being large."""


@dataclass(frozen=True)
class Sampling:
    """How treatment and control, or several backends, were run side by side, and under which conditions."""

    level: SamplingLevel
    """Single iterations of live programs in turn, or whole processes."""
    level_reason: str
    clock: Clock
    """What the verdicts rest on; the samples that people read are wall time either way."""
    clock_reason: str
    rounds: int
    """Iterations of each arm in a pair."""
    pairs: int
    duration_s: float
    core: int | None = None
    """On which both were kept; None: they were not."""
    conditions: tuple[Mapping[str, Fact], ...] = ()
    """Of each pair: what the device said before it, and how its iterations waited and were switched."""
    canary: str = ""
    """What a comparison of the control with its own copy came to; empty where there was none."""


@dataclass(frozen=True)
class ErrorStatistics:
    """How far an output is from the golden one, element by element."""

    count: int
    max_absolute: float
    max_relative: float
    """Over the golden value's magnitude; infinite where the golden value is 0 and the output is not."""
    root_mean_square: float
    cosine_similarity: float


@dataclass(frozen=True)
class Cost:
    """What an operator, or the net, has to do at least in one iteration, whatever runs it."""

    parameters: int
    flops: int
    """Floating-point operations."""
    bytes: int
    """Read and written, each value once."""


@dataclass(frozen=True)
class Kernel:
    """What really computed an operator."""

    name: str
    own: bool
    """Of the backend that was asked for; else the operator fell back to this one."""


@dataclass(frozen=True)
class TypeResult:
    """Everything about one measured type: ``NET_DELAY``, an operator, or an output blob.

    For ``delay``: ``values`` and in A/B ``control_values``, with the number of the pair each value
    came from. For ``error``: no values, ``summary`` is of the output, ``control_summary`` of the golden
    output, ``diff_summary`` of output minus golden element by element.
    """

    type: str
    unit: str
    summary: Summary
    values: tuple[float, ...] = ()
    pairs: tuple[int, ...] = ()
    control_summary: Summary | None = None
    control_values: tuple[float, ...] = ()
    control_pairs: tuple[int, ...] = ()
    diff_summary: Percentiles | None = None
    comparison: Comparison | None = None
    error: ErrorStatistics | None = None
    control_error: ErrorStatistics | None = None
    """In A/B: of the control's output against the same golden output."""
    cpu_values: tuple[float, ...] = ()
    """The CPU time of the iterations whose wall time is in ``values``, where the program tells it."""
    control_cpu_values: tuple[float, ...] = ()
    device_values: tuple[float, ...] = ()
    """The same by the clock of the device that computed, a GPU say, where the program tells it."""
    control_device_values: tuple[float, ...] = ()
    clock_summary: Summary | None = None
    """Of the times that a comparison rests on, where those are not wall time (``Sampling.clock``)."""
    control_clock_summary: Summary | None = None
    decision: SequentialDecision | None = None
    """In A/B: what these pairs came to."""
    confirmation: Confirmation | None = None
    """In a run of type verify: what both stages came to."""
    cost: Cost | None = None
    kernel: Kernel | None = None
    """Of an operator, where the program tells it; in A/B the treatment's."""
    too_short: bool = False
    """In A/B, of an operator: the clock that timed it is too coarse for a comparison."""
    known: bool = False
    """It is slower than the control, but no slower than earlier commits already were."""
    regressed: bool = False
    """The regression of this type has been confirmed."""

    @property
    def verdict(self) -> Verdict | None:
        """None without A/B."""
        if self.regressed:
            return Verdict.REGRESSED
        return self.judged.verdict if self.judged else None

    @property
    def ratio(self) -> float | None:
        """Treatment over control, of the delays or of the largest errors; None without a control."""
        if self.comparison:
            return self.comparison.ratio
        return _ratio(self.error, self.control_error) if self.error and self.control_error else None

    @property
    def judged_summary(self) -> Summary:
        """Of the times that the verdict rests on: what people see beside it."""
        return self.clock_summary or self.summary

    @property
    def judged_control_summary(self) -> Summary | None:
        return self.control_clock_summary or self.control_summary

    @property
    def is_changed(self) -> bool:
        return self.verdict in CHANGED

    @property
    def judged(self) -> Confirmation | SequentialDecision | None:
        """What its pairs came to, in both stages or in one."""
        return self.confirmation or self.decision


def _ratio(treatment: ErrorStatistics, control: ErrorStatistics) -> float:
    own, other = treatment.max_absolute, control.max_absolute
    if own == other:
        return 1.0
    return math.inf if math.isnan(own) or other == 0 else own / other


@dataclass(frozen=True)
class BackendCell:
    """In a run on several backends: what a test on one of them came to beside the others."""

    reference: str
    """The backend that the others are compared with."""
    blocks: int
    """In each of which every backend took its turn, in random order."""
    comparison: Comparison | None = None
    """The net's delay over the reference's, paired by block; None of the reference itself, and where one of
    the two has none."""
    answer_of: str = ""
    """What the outputs were compared with: the reference's name, or ``golden``; empty: nothing."""
    errors: Mapping[str, ErrorStatistics] = field(default_factory=dict)
    """By output blob."""
    wrong: bool = False
    """The outputs are too far off."""
    not_compared: str = ""
    """Why the outputs were compared with nothing."""
    unavailable: Mapping[str, str] = field(default_factory=dict)
    """The backends that this device has not, and the frameworks that cannot run the test, by name: why."""
    arm: str = ""
    """What this one is called beside the others: its backend, or with several frameworks
    ``framework/backend``; empty in what older versions wrote."""
    less_precise_than: str = ""
    """What the most precise of them computes in (``f32``), where this one computes in less; that is a fact of
    the program (``precision``)."""

    @property
    def max_absolute_error(self) -> float | None:
        return greatest([one.max_absolute for one in self.errors.values()])

    @property
    def max_relative_error(self) -> float | None:
        return greatest([one.max_relative for one in self.errors.values()])


def greatest(values: Sequence[float]) -> float | None:
    """NaN where there is one; None of nothing."""
    return max(values, key=lambda one: math.inf if math.isnan(one) else one, default=None)


class FailureKind(StrEnum):
    CASE = "failed"
    """The test itself failed."""
    DEVICE = "device"
    """The device or the way to it failed: the case is missing."""
    LOST = "device lost"
    """The same, and the device may come back."""
    BUG = "bug"
    """A bug of ours; the evidence is the traceback."""


@dataclass(frozen=True)
class Failure:
    kind: FailureKind
    error: str
    """The error's class name."""
    message: str
    evidence: str = ""
    """The end of the program's log, or a traceback."""

    @property
    def is_of_the_device(self) -> bool:
        return self.kind in (FailureKind.DEVICE, FailureKind.LOST)


@dataclass(frozen=True)
class TestKey:
    """Which test on which device: what results are matched by, wherever they are. Labels are for people."""

    __test__: ClassVar[bool] = False
    """Not a test of pytest's."""

    net: str
    metric: str
    identifier: str
    framework: str
    backend: str | None
    device: str
    """The device's hash."""

    @property
    def name(self) -> str:
        """Net, metric and identifier, for people."""
        return f"{self.net} {self.metric} {self.identifier}"


@dataclass(frozen=True)
class Provenance:
    """Which run of which commits a result is from."""

    time: UnixSeconds
    """Unix seconds, when the case ended."""
    commit: str
    commit_time: UnixSeconds
    control_commit: str | None
    control_commit_time: UnixSeconds | None
    run_type: RunType
    command: tuple[str, ...]
    """The harness's command line, secrets masked."""
    group: str | None
    run_uid: str = ""
    """The same for all results of one call of the harness; empty in what older versions wrote."""
    uid: str = ""
    """Of this result alone; empty in what older versions wrote."""
    position: int | None = None
    """The commit's, in its repository (``run_info.Version``), where that is known."""
    control_position: int | None = None
    harness_version: str = ""
    user: Mapping[str, Fact] = field(default_factory=dict)
    """The ``meta`` of --info."""


@dataclass(frozen=True)
class Device:
    """What a test ran on, and under which conditions. ``TestKey.device`` identifies it."""

    name: str
    """Two devices that can be attached to one run have different names."""
    facts: Mapping[str, Fact] = field(default_factory=dict)
    """Those that stay: CPU model, cores, memory, kernel ..."""
    conditions_before: Mapping[str, Fact] = field(default_factory=dict)
    """Facts that move: load, frequency, temperature ..."""
    conditions_after: Mapping[str, Fact] = field(default_factory=dict)
    tainted: tuple[str, ...] = ()
    """Why the conditions were none to measure under; empty where nothing speaks against them."""


@dataclass(frozen=True)
class Program:
    """The benchmark program, and what it said of itself."""

    command: str = ""
    """Its last command line, as one would paste it into a shell."""
    facts: Mapping[str, Fact] = field(default_factory=dict)
    """The treatment's: engine, versions, threads ...

    ``peak_flops_per_s`` and ``peak_bytes_per_s``: what it found that the device can do at best.
    """
    control_facts: Mapping[str, Fact] = field(default_factory=dict)
    kernels: Mapping[str, Kernel] = field(default_factory=dict)
    """By operator, in the order of the net, timed or not: what the treatment's program says that ran."""

    @property
    def own_kernels(self) -> int:
        """How many operators ran kernels of the backend's own."""
        return sum(one.own for one in self.kernels.values())


@dataclass(frozen=True)
class Workload:
    """What was computed, and how often."""

    iterations: int = 0
    warmup: int = 0
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    ab_pairs: int | None = None
    random_seed: int | None = None
    """What the random order of treatment and control, or of the backends, was drawn from."""


class Outcome(StrEnum):
    """What a test came to, as every report calls it."""

    PASSED = "passed"
    FAILED = "failed"
    MISSING = "missing"
    """The device or the way to it failed."""
    REGRESSED = "regressed"
    """The regression was confirmed."""
    SUSPICIOUS = "suspicious"
    """A regression that was not verified yet."""
    VERIFIED = "verified"
    """Fresh pairs show the regression, too."""
    NOT_CONFIRMED = "not confirmed"
    """Fresh pairs do not show it."""
    KNOWN = "known"
    """It is slower than the control, but no slower than earlier commits already were."""
    IMPROVED = "improved"
    UNCHANGED = "unchanged"
    INCONCLUSIVE = "inconclusive"
    NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True)
class Result:
    """One test case on one device: measured, or failed with the evidence."""

    test: TestKey
    provenance: Provenance
    device: Device
    program: Program = field(default_factory=Program)
    workload: Workload = field(default_factory=Workload)
    sampling: Sampling | None = None
    """In A/B and on several backends, of delays."""
    cell: BackendCell | None = None
    """In a run on several backends."""
    types: tuple[TypeResult, ...] = ()
    """``NET_DELAY`` first, then the operators in the order of the net."""
    failure: Failure | None = None
    warnings: tuple[str, ...] = ()
    duration_s: float = 0.0

    @property
    def arm(self) -> str | None:
        """In a run on several backends: what this one is called beside the others."""
        return (self.cell.arm or self.test.backend) if self.cell else None

    @property
    def label(self) -> str:
        """Net, identifier and device, for people."""
        return f"{self.test.net} {self.test.identifier} on {self.device.name}"

    @property
    def on_arm(self) -> str:
        """`` on nnpack`` or `` on caffe2/nnpack`` in a run on several backends, else empty."""
        return f" on {self.arm}" if self.arm else ""

    @property
    def on_backend(self) -> str:
        """`` on nnpack`` in a run on several backends, else empty: the same however many frameworks run."""
        return f" on {self.test.backend}" if self.cell and self.test.backend else ""

    @property
    def net(self) -> TypeResult | None:
        """The delay of the whole net, where it was measured."""
        return next((one for one in self.types if one.type == NET_DELAY), None)

    @property
    def operators(self) -> tuple[TypeResult, ...]:
        """Of a test of delays, in the order of the net."""
        return (
            tuple(one for one in self.types if one.type != NET_DELAY) if self.test.metric == "delay" else ()
        )

    @property
    def status(self) -> Outcome:
        """Passed, failed, missing or regressed."""
        if self.failure:
            return Outcome.MISSING if self.failure.is_of_the_device else Outcome.FAILED
        return Outcome.REGRESSED if self.regressed_types else Outcome.PASSED

    @property
    def outcome(self) -> Outcome:
        """The status; in place of passed what the comparison of two programs showed, where there was one."""
        if self.status is not Outcome.PASSED or self.verdict is None:
            return self.status
        verified = any(one.confirmation for one in self.types)
        if self.verdict is Verdict.REGRESSED:
            is_known = all(one.known for one in self.types if one.verdict is Verdict.REGRESSED)
            if is_known:
                return Outcome.KNOWN
            return Outcome.VERIFIED if verified else Outcome.SUSPICIOUS
        return Outcome.NOT_CONFIRMED if verified else Outcome(self.verdict)

    @property
    def regressed_types(self) -> tuple[str, ...]:
        return tuple(one.type for one in self.types if one.regressed)

    @property
    def verdict(self) -> Verdict | None:
        """Of the test: what any of its types has regressed to, or else what the net came to."""
        verdicts = {one.type: one.verdict for one in self.types if one.verdict}
        if Verdict.REGRESSED in verdicts.values():
            return Verdict.REGRESSED
        return verdicts.get(NET_DELAY, next(iter(verdicts.values()), None))


_STAGES: tuple[RunType, ...] = ("benchmark", "verify", "regress")


def by_test(results: Iterable[Result]) -> list[tuple[Result, ...]]:
    """The results of a run, each test on each device with its stages: what ran first, its verification, its
    confirmation. The last one is what the test came to."""
    tests: list[list[Result]] = []
    latest: dict[TestKey, list[Result]] = {}
    for result in results:
        stages = latest.get(result.test)
        if stages is None or not _follows(result, stages[-1]):  # a suite may name the same test twice
            stages = latest[result.test] = []
            tests.append(stages)
        stages.append(result)
    return [tuple(stages) for stages in tests]


def _follows(later: Result, earlier: Result) -> bool:
    return _STAGES.index(later.provenance.run_type) > _STAGES.index(earlier.provenance.run_type)
