"""Measurements (raw) and the results derived from them, separately.

A ``Result`` is one test case on one device. Delays are always in microseconds.
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
"""The type of a whole-net iteration; every other type of ``delay`` is an operator."""

RunType = Literal["benchmark", "verify", "regress"]
NORMAL_RUN: RunType = "benchmark"
"""A normal run, the verification of a suspected regression, the confirmation of a regression."""

Fact = str | int | float | bool | None

SamplingLevel = Literal["iteration", "process"]
Clock = Literal["cpu", "wall", "device"]


def new_uid() -> str:
    """A unique identifier of a run or a result."""
    return uuid.uuid4().hex


@dataclass(frozen=True)
class Measurement:
    """Raw samples of one type, in the order in which they were taken."""

    type: str
    """``NET_DELAY``, or an operator's name."""
    unit: str
    values: tuple[float, ...]
    device_values: tuple[float, ...] = ()
    """The values of the same iterations by the clock of the device that computed, if the program reports
    them.
    """
    cpu_values: tuple[float, ...] = ()
    """Their CPU time, if it is known."""


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
    """A confidence interval; ``confidence`` is its actual coverage (0.95: 95 %)."""

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
    """For the median; None if there are too few samples. For several processes it is that of their medians,
    because the samples of one process are not independent.
    """


@dataclass(frozen=True)
class Comparison:
    """The treatment compared with the control, from pairs of processes."""

    pairs: int
    ratio: float
    """The treatment divided by the control (1.03: the treatment takes 3 % longer)."""
    ratio_interval: Interval | None


class Verdict(StrEnum):
    REGRESSED = "regressed"
    IMPROVED = "improved"
    UNCHANGED = "unchanged"
    INCONCLUSIVE = "inconclusive"
    NOT_COMPARABLE = "not comparable"
    """The two programs ran with different settings."""


CHANGED = (Verdict.REGRESSED, Verdict.IMPROVED)


@dataclass(frozen=True)
class SequentialDecision:
    """The decision from one type's pairs (``benchmarking/statistics/sequential.py``)."""

    verdict: Verdict
    reason: str
    """The numbers that led to the decision, in a sentence."""
    pairs: int
    """The number of pairs measured until the decision; ``comparison.pairs`` of them could be used."""
    comparison: Comparison | None
    """None if no pair could be used."""
    smallest_change: float | None
    """The smallest change (0.02: 2 %) that this number of pairs, with this scatter, detects with a
    probability of 1 - beta; None if there are too few pairs to detect any.
    """
    p_slower: float
    """From the one-sided signed-rank test, not adjusted for the number of operators."""
    p_faster: float


@dataclass(frozen=True)
class Confirmation:
    """A suspected regression and its verification on fresh pairs."""

    verdict: Verdict
    reason: str
    first: SequentialDecision
    second: SequentialDecision
    """Its estimate is the one to quote, because it was not selected for being large."""


@dataclass(frozen=True)
class Sampling:
    """How treatment and control, or several backends, ran side by side, and under which conditions."""

    level: SamplingLevel
    """Alternating single iterations of running programs, or whole processes."""
    level_reason: str
    clock: Clock
    """The clock on which verdicts are based; the samples shown to people are always wall time."""
    clock_reason: str
    rounds: int
    """The number of iterations of each arm in a pair."""
    pairs: int
    duration_s: float
    core: int | None = None
    """The core on which both were kept; None: they were not."""
    conditions: tuple[Mapping[str, Fact], ...] = ()
    """For each pair: the conditions of the device before it, and the waiting and context switches of its
    iterations.
    """
    canary: str = ""
    """The outcome of comparing the control with its own copy; empty if this was not done."""


@dataclass(frozen=True)
class ErrorStatistics:
    """The errors of an output relative to the golden output, element by element."""

    count: int
    max_absolute: float
    max_relative: float
    """Divided by the magnitude of the golden value; infinite if the golden value is 0 and the output is not.
    """
    root_mean_square: float
    cosine_similarity: float


@dataclass(frozen=True)
class Cost:
    """The least work of an operator, or the net, in one iteration, regardless of what runs it."""

    parameters: int
    flops: int
    """Floating-point operations."""
    bytes: int
    """Bytes read and written, each value once."""


@dataclass(frozen=True)
class Kernel:
    """The kernel that really computed an operator."""

    name: str
    own: bool
    """Whether it belongs to the requested backend; otherwise the operator fell back to it."""


@dataclass(frozen=True)
class TypeResult:
    """Everything about one type: ``NET_DELAY``, an operator, or an output blob.

    For ``delay``: ``values`` and in A/B ``control_values``, with the number of the pair of each value. For
    ``error`` there are no values: ``summary`` is of the output, ``control_summary`` of the golden output, and
    ``diff_summary`` of the output minus the golden output, element by element.
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
    """In A/B: the errors of the control's output relative to the same golden output."""
    cpu_values: tuple[float, ...] = ()
    """The CPU time of the iterations whose wall time is in ``values``, if the program reports it."""
    control_cpu_values: tuple[float, ...] = ()
    device_values: tuple[float, ...] = ()
    """The same by the clock of the device that computed, for example a GPU, if the program reports it."""
    control_device_values: tuple[float, ...] = ()
    clock_summary: Summary | None = None
    """The summaries of the times on which the comparison is based, if those are not wall time
    (``Sampling.clock``).
    """
    control_clock_summary: Summary | None = None
    decision: SequentialDecision | None = None
    """In A/B: the decision from these pairs."""
    confirmation: Confirmation | None = None
    """In a run of type verify: the combined outcome of both stages."""
    cost: Cost | None = None
    kernel: Kernel | None = None
    """For an operator, if the program reports it; in A/B, of the treatment."""
    too_short: bool = False
    """In A/B, for an operator: the clock that timed it is too coarse for a comparison."""
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
        """The treatment divided by the control, for the delays or for the largest errors; None without a
        control.
        """
        if self.comparison:
            return self.comparison.ratio
        return _ratio(self.error, self.control_error) if self.error and self.control_error else None

    @property
    def judged_summary(self) -> Summary:
        """The summary of the times on which the verdict is based, which is shown with it."""
        return self.clock_summary or self.summary

    @property
    def judged_control_summary(self) -> Summary | None:
        return self.control_clock_summary or self.control_summary

    @property
    def is_changed(self) -> bool:
        return self.verdict in CHANGED

    @property
    def judged(self) -> Confirmation | SequentialDecision | None:
        """The decision from its pairs, in both stages or in one."""
        return self.confirmation or self.decision


def _ratio(treatment: ErrorStatistics, control: ErrorStatistics) -> float:
    """NaN counts as infinitely wrong."""
    own, other = (
        math.inf if math.isnan(one.max_absolute) else one.max_absolute for one in (treatment, control)
    )
    if own == other:
        return 1.0
    return math.inf if other == 0 else own / other


@dataclass(frozen=True)
class BackendCell:
    """In a run on several backends: the outcome of a test on one of them relative to the others."""

    reference: str
    """The backend with which the others are compared."""
    blocks: int
    """The number of blocks, in each of which every backend took its turn, in random order."""
    comparison: Comparison | None = None
    """The net's delay divided by the reference's, paired by block; None for the reference itself, and if one
    of the two has no delay.
    """
    answer_of: str = ""
    """What the outputs were compared with: the reference's name, or ``golden``; empty: nothing."""
    errors: Mapping[str, ErrorStatistics] = field(default_factory=dict)
    """Maps the output blob to its errors."""
    wrong: bool = False
    """The outputs are out of tolerance."""
    not_compared: str = ""
    """The reason why the outputs were not compared."""
    unavailable: Mapping[str, str] = field(default_factory=dict)
    """Maps the backends that this device lacks, and the frameworks that cannot run the test, to the reason.
    """
    arm: str = ""
    """Its name among the others: its backend, or with several frameworks ``framework/backend``; empty in
    results of older versions.
    """
    less_precise_than: str = ""
    """The precision of the most precise of them (``f32``), if this one is less precise; the latter is a fact
    of the program (``precision``).
    """

    @property
    def max_absolute_error(self) -> float | None:
        return greatest([one.max_absolute for one in self.errors.values()])

    @property
    def max_relative_error(self) -> float | None:
        return greatest([one.max_relative for one in self.errors.values()])


def greatest(values: Sequence[float]) -> float | None:
    """NaN if there is one; None if there are no values."""
    return max(values, key=lambda one: math.inf if math.isnan(one) else one, default=None)


class FailureKind(StrEnum):
    CASE = "failed"
    """The test itself failed."""
    DEVICE = "device"
    """The device or the connection to it failed: the case is missing."""
    LOST = "device lost"
    """The same, but the device may return."""
    BUG = "bug"
    """A bug of this program; the evidence is the traceback."""


@dataclass(frozen=True)
class Failure:
    kind: FailureKind
    error: str
    """The name of the error's class."""
    message: str
    evidence: str = ""
    """The end of the program's log, or a traceback."""

    @property
    def is_of_the_device(self) -> bool:
        return self.kind in (FailureKind.DEVICE, FailureKind.LOST)


@dataclass(frozen=True)
class TestKey:
    """Identifies the test and the device, by which results are matched everywhere. Labels are for people."""

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
    """The run and the commits of a result."""

    time: UnixSeconds
    """Unix seconds at the end of the case."""
    commit: str
    commit_time: UnixSeconds
    control_commit: str | None
    control_commit_time: UnixSeconds | None
    run_type: RunType
    command: tuple[str, ...]
    """The harness's command line, without secrets."""
    group: str | None
    run_uid: str = ""
    """The same for all results of one call of the harness; empty in results of older versions."""
    uid: str = ""
    """Unique to this result; empty in results of older versions."""
    position: int | None = None
    """The position of the commit in its repository (``run_info.Version``), if it is known."""
    control_position: int | None = None
    branch: str = ""
    """That of the commit, if the loop measured it; and so are ..."""
    author: str = ""
    subject: str = ""
    """... the first line of its message."""
    harness_version: str = ""
    user: Mapping[str, Fact] = field(default_factory=dict)
    """The ``meta`` of --info."""


@dataclass(frozen=True)
class Device:
    """The device of a test, and its conditions. ``TestKey.device`` identifies it."""

    name: str
    """Two devices that can be attached to one run have different names."""
    facts: Mapping[str, Fact] = field(default_factory=dict)
    """The facts that do not vary: CPU model, cores, memory, kernel ..."""
    conditions_before: Mapping[str, Fact] = field(default_factory=dict)
    """The facts that vary: load, frequency, temperature ..."""
    conditions_after: Mapping[str, Fact] = field(default_factory=dict)
    tainted: tuple[str, ...] = ()
    """The reasons why the conditions were unsuitable for measuring; empty if there are none."""


@dataclass(frozen=True)
class Program:
    """The benchmark program, and the facts that it reported about itself."""

    command: str = ""
    """Its last command line, in a form that can be pasted into a shell."""
    facts: Mapping[str, Fact] = field(default_factory=dict)
    """The treatment's: engine, versions, threads ...

    ``peak_flops_per_s`` and ``peak_bytes_per_s``: what it found that the device can do at best.
    """
    control_facts: Mapping[str, Fact] = field(default_factory=dict)
    kernels: Mapping[str, Kernel] = field(default_factory=dict)
    """For each operator, in the order of the net, whether it was timed or not: the kernel that ran, as the
    treatment's program reports.
    """

    @property
    def own_kernels(self) -> int:
        """The number of operators that ran on the backend's own kernels."""
        return sum(one.own for one in self.kernels.values())


@dataclass(frozen=True)
class Workload:
    """What was computed, and how often."""

    iterations: int = 0
    warmup: int = 0
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    model_md5: Mapping[str, str] = field(default_factory=dict)
    """The MD5 of each file of the model that was run, by its key in the specification."""
    ab_pairs: int | None = None
    random_seed: int | None = None
    """The seed of the random order of treatment and control, or of the backends."""


class Outcome(StrEnum):
    """The outcome of a test, as every report names it."""

    PASSED = "passed"
    FAILED = "failed"
    MISSING = "missing"
    """The device or the connection to it failed."""
    REGRESSED = "regressed"
    """The regression was confirmed."""
    SUSPICIOUS = "suspicious"
    """A regression that has not been verified yet."""
    VERIFIED = "verified"
    """Fresh pairs also show the regression."""
    NOT_CONFIRMED = "not confirmed"
    """Fresh pairs do not show the regression."""
    KNOWN = "known"
    """It is slower than the control, but no slower than earlier commits already were."""
    IMPROVED = "improved"
    UNCHANGED = "unchanged"
    INCONCLUSIVE = "inconclusive"
    NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True)
class Result:
    """One test case on one device: measured, or failed with evidence."""

    test: TestKey
    provenance: Provenance
    device: Device
    program: Program = field(default_factory=Program)
    workload: Workload = field(default_factory=Workload)
    sampling: Sampling | None = None
    """For delays in A/B and on several backends."""
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
        """The delay of the whole net, if it was measured."""
        return next((one for one in self.types if one.type == NET_DELAY), None)

    @property
    def operators(self) -> tuple[TypeResult, ...]:
        """For a test of delays, in the order of the net."""
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
        """The status; instead of passed, the outcome of the comparison of two programs, if there was one."""
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
        """The verdict on the test: regressed or known if any of its types is, otherwise that of the net."""
        verdicts = {one.type: one.verdict for one in self.types if one.verdict}
        if Verdict.REGRESSED in verdicts.values():
            return Verdict.REGRESSED
        return verdicts.get(NET_DELAY, next(iter(verdicts.values()), None))


_STAGES: tuple[RunType, ...] = ("benchmark", "verify", "regress")


def by_test(results: Iterable[Result]) -> list[tuple[Result, ...]]:
    """Groups the results of a run by test and device, with all stages: the first run, its verification, its
    confirmation. The last is the outcome of the test.
    """
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
