"""One test on several backends or frameworks of a device, side by side, so that all have the same
conditions.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING

from benchmarking.driver import arms, metrics, record, shell_commands
from benchmarking.driver.arms import LocalFiles, ReadyArm
from benchmarking.driver.bench import Bench
from benchmarking.driver.benchmark_driver import output_errors
from benchmarking.driver.iteration_sampler import IterationSampler
from benchmarking.driver.lineup import ChosenArm, Lineup
from benchmarking.driver.paired_test import NEWS_AFTER_S, NEWS_FACTOR
from benchmarking.driver.plan import ManyBackends
from benchmarking.driver.process_sampler import ProcessSampler
from benchmarking.driver.sampler import ArmFailure, ArmSamples, LogRatios, Sampled, Samples
from benchmarking.driver.settings import BLOCKS, ITERATION_BLOCKS
from benchmarking.errors import (
    CaseError,
    DeviceLostError,
    ProgramError,
    RunCancelledError,
    ToleranceError,
)
from benchmarking.frameworks.framework_base import FrameworkBase
from benchmarking.programs.workers import NoWorkersError
from benchmarking.results import precision
from benchmarking.results.model import (
    NET_DELAY,
    BackendCell,
    Comparison,
    ErrorStatistics,
    Result,
    Sampling,
    TypeResult,
)
from benchmarking.specs.expand import TestCase
from benchmarking.statistics import summaries

if TYPE_CHECKING:
    from benchmarking.driver.metrics import Tensors

GOLDEN = "golden"
LOOKS = (6, 8)
"""From this number of blocks on, a comparison may be precise enough; fewer have no interval that covers 95 %.
"""
PRECISION = 0.01
"""For a ratio: an interval of at most this size to either side is precise enough."""
TURNS_S = 0.25
"""The time for a backend in a block, which is longer than for a pair because setting up all backends takes
longer.
"""
OPERATOR_ROUNDS = 2
"""Per block: operators of different backends are shown but not judged, so a few samples are enough."""

logger = logging.getLogger(__name__)


@dataclass
class _Column:
    """One arm, with its part of the test so far."""

    chosen: ChosenArm
    failure: BaseException | None = None
    files: LocalFiles | None = None
    arm: ReadyArm | None = None
    samples: ArmSamples = field(default_factory=ArmSamples)
    sampling: Sampling | None = None
    """How its delays were sampled; None for other tests, and if they were not sampled."""
    types: tuple[TypeResult, ...] = ()
    comparison: Comparison | None = None
    answer_of: str = ""
    errors: Mapping[str, ErrorStatistics] = field(default_factory=dict)
    not_compared: str = ""

    @property
    def name(self) -> str:
        return self.chosen.name

    @property
    def framework(self) -> FrameworkBase:
        return self.chosen.framework

    @property
    def precision(self) -> str:
        return precision.of(self.samples.facts)

    @property
    def blocks(self) -> int:
        return max((len(set(one.pairs)) for one in self.samples.types), default=0)

    def measured(self) -> record.Measured:
        return record.Measured(
            types=self.types,
            failure=self.failure,
            program_command=str(self.arm.command) if self.arm else "",
            treatment=self.samples,
            sampling=self.sampling,
        )

    def take(self, sampled: Sampled) -> None:
        """Takes its part of the samples."""
        self.samples = sampled.arms[self.name]
        self.failure = sampled.failures.get(self.name)

    def take_delays(self, sampled: Sampled) -> None:
        """Derives the results of a test of delays."""
        self.comparison = _comparison(sampled.log_ratios, self.name)
        self.sampling = sampled.sampling[self.name]
        self.types = metrics.delay_results(Samples(self.samples, None, sampling=self.sampling))


class _Enough:
    """Decides when a comparison has enough blocks: by their number, or earlier if all of its ratios are
    precise enough or the time is over.
    """

    def __init__(
        self, blocks: int, device: str, looks: tuple[int, ...] = (), limit_s: float = math.inf
    ) -> None:
        """``looks``: the numbers of blocks after which it may end earlier; the time limit applies from the
        first of them.
        """
        self._blocks = blocks
        self._device = device
        self._looks = looks
        self._limit_s = limit_s
        self._started = time.monotonic()
        self._next_news_s = NEWS_AFTER_S
        self._log_ratios: list[LogRatios] = []

    def __call__(self, log_ratios: LogRatios) -> bool:
        self._log_ratios.append(log_ratios)
        done, elapsed_s = len(self._log_ratios), time.monotonic() - self._started
        if elapsed_s >= self._next_news_s:
            self._next_news_s = elapsed_s * NEWS_FACTOR
            logger.info("  %s: %d of %d blocks after %.0f s", self._device, done, self._blocks, elapsed_s)
        if done >= self._blocks or not self._looks:
            return done >= self._blocks
        is_late = done >= self._looks[0] and elapsed_s >= self._limit_s
        return is_late or (done in self._looks and self._is_exact(log_ratios))

    def _is_exact(self, arms: Iterable[str]) -> bool:
        intervals = [
            comparison.ratio_interval
            for arm in arms
            if (comparison := _comparison(self._log_ratios, arm)) is not None
        ]
        return all(one is not None and one.high <= one.low * (1 + 2 * PRECISION) for one in intervals)


def _comparison(blocks: Sequence[LogRatios], arm: str) -> Comparison | None:
    """The comparison of its net; None if it has no block in common with the reference."""
    values = [block.get(arm, {}).get(NET_DELAY, math.nan) for block in blocks]
    usable = [value for value in values if math.isfinite(value)]
    return summaries.compare_log_ratios(usable) if usable else None


class BackendMatrix:
    """Runs a test on one device with several backends or frameworks."""

    def __init__(self, bench: Bench, lineup: Lineup) -> None:
        self._bench = bench
        self._platform = bench.platform
        self._plan = bench.plan
        self._wanted = bench.plan.backends or ManyBackends()
        self._lineup = lineup
        self._reference = lineup.reference

    @property
    def _may_replace_reference(self) -> bool:
        """The next arm takes its place if it fails and nobody has asked for it."""
        return self._wanted.reference is None

    def results(self, case: TestCase) -> tuple[Result, ...]:
        """A result for each arm, including failed arms.

        Raises:
            RunCancelledError: the run was cancelled.
        """
        started = time.monotonic()
        self._reference = self._lineup.reference
        watch = self._bench.watch(case)
        columns = [_Column(arm, _missing(arm)) for arm in self._lineup.arms]
        self._attempt(case, columns)
        watched = watch.finish(lost=any(isinstance(one.failure, DeviceLostError) for one in columns))
        each_s = (time.monotonic() - started) / len(columns)
        results = [
            record.result(one.chosen.bench, one.chosen.case, one.measured(), watched, each_s)
            for one in columns
        ]
        return tuple(
            self._with_cell(result, one, columns) for result, one in zip(results, columns, strict=True)
        )

    def missing(self, case: TestCase, error: Exception) -> tuple[Result, ...]:
        """The results of a case that was not tried."""
        return tuple(
            replace(record.missing(arm.bench, arm.case, error), cell=self._cell(arm.name, 0))
            for arm in self._lineup.arms
        )

    def _cell(self, arm: str, blocks: int) -> BackendCell:
        return BackendCell(self._reference, blocks, arm=arm, unavailable=self._lineup.unavailable)

    def _reference_among(self, columns: Sequence[_Column]) -> _Column:
        return next(one for one in columns if one.name == self._reference)

    def _with_cell(self, result: Result, column: _Column, columns: Sequence[_Column]) -> Result:
        counts = column.failure is None and self._reference_among(columns).failure is None
        is_delay = column.chosen.case.metric == "delay"
        most_precise = precision.most_precise([one.precision for one in columns if one.samples.facts])
        cell = replace(
            self._cell(column.name, column.blocks if is_delay else min(len(column.types), 1)),
            comparison=column.comparison if counts else None,
            answer_of=column.answer_of,
            errors=column.errors,
            wrong=isinstance(column.failure, ToleranceError),
            not_compared=column.not_compared,
            less_precise_than=most_precise if precision.is_less(column.precision, most_precise) else "",
        )
        workload = replace(result.workload, random_seed=self._plan.seed)
        return replace(result, workload=workload, cell=cell)

    def _attempt(self, case: TestCase, columns: Sequence[_Column]) -> None:
        try:
            with ExitStack() as stack:
                self._make_ready(stack, columns)
                measured = _working(columns)
                sampled = self._sample(case, {one.name: one.arm for one in measured if one.arm})
                self._reference = sampled.baseline
                for one in measured:
                    one.take(sampled)
                if case.metric == "delay":
                    for one in measured:
                        one.take_delays(sampled)
                    self._hold_against_reference(columns)
                else:
                    for one in _working(columns):
                        self._compare_with_golden(one)
        except RunCancelledError:
            raise
        except Exception as error:  # a device that is gone, or a bug: an error of all arms
            _fail(_working(columns), error)

    def _make_ready(self, stack: ExitStack, columns: Sequence[_Column]) -> None:
        """Files that are unavailable, or a failed setup, only fail the arms that need them."""
        by_format: dict[str, list[_Column]] = {}
        for one in _working(columns):
            by_format.setdefault(one.chosen.case.model.format, []).append(one)
        for group in by_format.values():
            try:
                files = arms.local_files(group[0].chosen.bench, group[0].chosen.case)
            except CaseError as error:
                _fail(group, error)
            else:
                for one in group:
                    one.files = files
        for one in _working(columns)[:1]:
            stack.enter_context(shell_commands.around(one.chosen.bench, one.chosen.case, one.files))
        outputs = _output_names(_working(columns))
        for one in _working(columns):
            if one.files is None:
                continue
            bench, case = one.chosen.bench, one.chosen.case
            try:
                one.arm = arms.make_ready(bench, stack, case, one.files, bench.plan.treatment, outputs)
            except CaseError as error:
                one.failure = error

    def _sample(self, case: TestCase, ready: Mapping[str, ReadyArm]) -> Sampled:
        """An output does not vary from run to run as a delay does, so one block is enough.

        Raises:
            NoWorkersError: single iterations were demanded, and the program does not run them.
            RunCancelledError: the run was cancelled.
        """
        if case.metric != "delay":
            return self._by_process(case, ready, "a test of outputs", 1)
        comparing = self._plan.comparing
        why = "--ab_mode process"
        if comparing.mode != "process":
            try:
                return self._by_iteration(case, ready)
            except NoWorkersError as error:
                if comparing.mode == "iteration":
                    raise
                why = str(error)
                logger.info("  whole processes are compared, not single iterations: %s", why)
        return self._by_process(case, ready, why, self._wanted.blocks or BLOCKS)

    def _by_process(self, case: TestCase, ready: Mapping[str, ReadyArm], why: str, blocks: int) -> Sampled:
        processes = ProcessSampler(
            self._random(case),
            self._bench.read_conditions,
            why,
            self._plan.comparing.clock if case.metric == "delay" else "wall",
            computes_on_cpu=self._platform.computes_on_cpu,
            goes_on_without_failed=True,
        )
        runs = {name: arm.run for name, arm in ready.items()}
        enough = _Enough(blocks, self._platform.device.name)
        return processes.sample(runs, self._reference, enough, substitutes=self._may_replace_reference)

    def _by_iteration(self, case: TestCase, ready: Mapping[str, ReadyArm]) -> Sampled:
        platform, comparing = self._platform, self._plan.comparing
        iterations = IterationSampler(
            self._random(case),
            self._bench.read_conditions,
            platform.pin,
            platform.thread_times,
            operator_rounds=OPERATOR_ROUNDS if self._times_operators() else 0,
            clock=comparing.clock,
            computes_on_cpu=platform.computes_on_cpu,
            goes_on_without_failed=True,
            turns_s=TURNS_S,
        )
        workers = {name: arm.workers() for name, arm in ready.items()}
        fixed = self._wanted.blocks
        enough = (
            _Enough(fixed, self._platform.device.name)
            if fixed
            else _Enough(ITERATION_BLOCKS, self._platform.device.name, LOOKS, comparing.max_seconds)
        )
        sampled = iterations.sample(workers, self._reference, enough, substitutes=self._may_replace_reference)
        failures = {name: _explained(ready[name], error) for name, error in sampled.failures.items()}
        return replace(sampled, failures=failures)

    def _random(self, case: TestCase) -> Random:
        return Random(f"{self._plan.seed} {self._platform.device.hash} {case.label}")  # noqa: S311 - an order

    def _times_operators(self) -> bool:
        return any(arm.framework.times_operators(arm.case) for arm in self._lineup.arms)

    def _hold_against_reference(self, columns: Sequence[_Column]) -> None:
        reference = self._reference_among(columns)
        expected, why = _expected_answer(reference)
        for one in _working(columns):
            if expected is None:
                one.not_compared = why
            elif one is not reference:
                whose = f"the {'reference' if self._wanted.contenders else 'backend'} {reference.name}'s"
                allowed = self._tolerance(one.precision, reference.precision)
                try:
                    self._compare_with(one, expected, reference.name, allowed, whose)
                except CaseError as error:
                    one.failure = error

    def _compare_with_golden(self, column: _Column) -> None:
        """Compares with the golden outputs, using the test's tolerance, if it has one, but no less than the
        arm's precision needs.
        """
        if column.arm is None or column.files is None:
            return
        case, framework = column.chosen.case, column.framework
        try:
            column.types, failure = output_errors(framework, case, column.files, column.arm)
            column.answer_of = GOLDEN
            column.errors = {one.type: one.error for one in column.types if one.error}
            is_coarse = precision.is_less(column.precision, precision.USUAL)
            if case.tolerance is not None and not (is_coarse and isinstance(failure, ToleranceError)):
                column.failure = failure
                return
            golden = {blob: framework.read_tensor(path, blob) for blob, path in column.files.golden.items()}
            allowed = self._tolerance(column.precision)
            self._compare_with(column, golden, GOLDEN, allowed, "the golden output")
        except CaseError as error:
            column.failure = error

    def _tolerance(self, *precisions: str) -> float:
        wanted = self._wanted.tolerance
        return precision.tolerance(*precisions) if wanted is None else wanted

    def _compare_with(
        self, column: _Column, expected: Tensors, name: str, allowed: float, whose: str
    ) -> None:
        """Raises:
        CaseError: the arm's outputs are missing, or they are other ones.
        """
        if column.arm is None:
            return
        answer = column.arm.outputs()
        column.answer_of = name
        column.errors = metrics.answer_errors(answer, expected, whose)
        metrics.check_answer(answer, expected, allowed, whose)


def _missing(arm: ChosenArm) -> ProgramError | None:
    return ProgramError(f"the backend {arm.name} is not available: {arm.missing}") if arm.missing else None


def _fail(columns: Iterable[_Column], error: BaseException) -> None:
    for one in columns:
        one.failure = error


def _output_names(columns: Sequence[_Column]) -> tuple[str, ...]:
    """The outputs that are compared: the golden outputs, or those of the first model file that
    has outputs.
    """
    for one in columns:
        case, files = one.chosen.case, one.files
        names = tuple(case.golden_files) or (one.framework.outputs(case, files.model) if files else ())
        if names:
            return names
    return ()


def _explained(arm: ReadyArm, error: ArmFailure) -> ArmFailure:
    """Explains why the only program that did not become a worker has failed.

    Raises:
        NoWorkersError: it has not: it runs as a whole process.
    """
    if not isinstance(error, NoWorkersError):
        return error
    try:
        arm.run()
    except CaseError as crash:
        return crash
    raise error


def _working(columns: Sequence[_Column]) -> list[_Column]:
    return [one for one in columns if one.failure is None]


def _expected_answer(reference: _Column) -> tuple[Tensors | None, str]:
    """The outputs expected of the other backends, or the reason why they are unknown."""
    if reference.failure is not None or reference.arm is None:
        return None, f"the reference {reference.name} failed"
    if not reference.arm.invocation.outputs:
        return None, "the outputs of the model are unknown: name them in its specification"
    try:
        return reference.arm.outputs(), ""
    except CaseError as error:
        return None, f"the reference {reference.name} has no outputs: {error}"
