"""One test on several backends of a device, side by side, so that they share its conditions."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING

from benchmarking.driver import arms, metrics, record
from benchmarking.driver.arms import LocalFiles, ReadyArm
from benchmarking.driver.bench import Bench
from benchmarking.driver.benchmark_driver import output_errors
from benchmarking.driver.iteration_sampler import IterationSampler
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
from benchmarking.frameworks.framework_base import BackendStatus
from benchmarking.programs.workers import NoWorkersError
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

USUAL_REFERENCE = "default"
GOLDEN = "golden"
LOOKS = (6, 8)
"""After this many blocks a comparison may be exact enough; fewer do not have an interval that covers 95 %."""
PRECISION = 0.01
"""Of a ratio: an interval of at most this much to either side is exact enough."""
TURNS_S = 0.25
"""Of a backend in a block: making all of them ready takes longer than making a pair ready."""
OPERATOR_ROUNDS = 2
"""Of each block: operators of different backends are shown and not judged, so a few samples are enough."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeviceBackends:
    """On which backends the tests run on a device."""

    chosen: tuple[str, ...]
    reference: str
    missing: Mapping[str, str] = field(default_factory=dict)
    """Of those that were chosen by name: what the device has not, and why."""
    unavailable: Mapping[str, str] = field(default_factory=dict)
    """Where all were asked for: what the device has not, and why."""


@dataclass(frozen=True)
class FoundBackends:
    """What the program says of its backends on a device."""

    wanted: ManyBackends
    statuses: tuple[BackendStatus, ...] | None
    """None: it does not say anything."""

    def of(self, engine: str | None) -> DeviceBackends:
        """Those that the tests run on which ask for an engine of the program; None: any of them.

        Raises:
            CaseError: there are none.
        """
        names = self.wanted.names
        if self.statuses is None:  # whether each can be used, its own first run tells
            return DeviceBackends(names, self.wanted.reference or _usual_reference(names))
        return choose(self.wanted, [one for one in self.statuses if engine in (None, one.engine or engine)])


def find_backends(bench: Bench) -> FoundBackends:
    """Asks the program on the device.

    Raises:
        CaseError: all are wanted, and the program does not tell which there are.
        DeviceError: the device does not answer.
        RunCancelledError: the run was cancelled.
    """
    wanted = bench.plan.backends or ManyBackends()
    try:
        return FoundBackends(wanted, _ask(bench))
    except CaseError as error:
        if wanted.names:
            return FoundBackends(wanted, None)
        raise ProgramError(
            f"--backend all: the program does not tell which backends it has ({error}); "
            "name them, as in --backend default,nnpack",
            error.evidence,
        ) from error


def _ask(bench: Bench) -> tuple[BackendStatus, ...]:
    platform, plan = bench.platform, bench.plan
    program = plan.treatment.program
    with platform.stage([program.path, *plan.shared_libraries]) as staged:
        command = plan.framework.compose_backend_list(
            platform.launcher(program, staged), tuple(staged.paths[path] for path in plan.shared_libraries)
        )
        if command is None:
            raise ProgramError(f"programs of the framework {plan.framework.name} do not")
        outcome = platform.run(replace(command, timeout_s=plan.timeout_s), bench.cancellation)
        return plan.framework.parse_backend_list(outcome)


def choose(wanted: ManyBackends, statuses: Sequence[BackendStatus]) -> DeviceBackends:
    available = tuple(dict.fromkeys(one.name for one in statuses if one.available))
    reasons = _reasons([one for one in statuses if one.name not in available])
    if wanted.names:
        missing = {name: reasons[name] for name in wanted.names if name in reasons}
        return DeviceBackends(wanted.names, wanted.reference or _usual_reference(wanted.names), missing)
    if not available:
        told = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        raise ProgramError(f"--backend all: the program has none here: {told or 'it names none at all'}")
    reference = wanted.reference or _usual_reference(available)
    if reference in available:
        return DeviceBackends(available, reference, unavailable=reasons)
    why = reasons.pop(reference, f"the program has no such backend; it has {', '.join(available)}")
    return DeviceBackends((reference, *available), reference, {reference: why}, reasons)


def _reasons(unavailable: Sequence[BackendStatus]) -> dict[str, str]:
    """By name; of a backend that several engines could have, each engine's."""
    by_name: dict[str, dict[str, str]] = {}
    for one in unavailable:
        by_name.setdefault(one.name, {})[one.engine] = one.reason or "the program does not say why"
    return {
        name: "; ".join(f"engine {engine}: {why}" for engine, why in reasons.items())
        if len(reasons) > 1
        else next(iter(reasons.values()))
        for name, reasons in by_name.items()
    }


def _usual_reference(names: Sequence[str]) -> str:
    return USUAL_REFERENCE if USUAL_REFERENCE in names else names[0]


@dataclass
class _Column:
    """One backend, as far as the test has come on it."""

    name: str
    bench: Bench
    """With this backend."""
    arm: ReadyArm | None = None
    samples: ArmSamples = field(default_factory=ArmSamples)
    sampling: Sampling | None = None
    """How its delays were sampled; None of other tests, and where they were not."""
    failure: BaseException | None = None
    types: tuple[TypeResult, ...] = ()
    comparison: Comparison | None = None
    answer_of: str = ""
    errors: Mapping[str, ErrorStatistics] = field(default_factory=dict)
    not_compared: str = ""

    @property
    def net(self) -> TypeResult | None:
        return next((one for one in self.types if one.type == NET_DELAY), None)

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
        """Its part of what was sampled."""
        self.samples = sampled.arms[self.name]
        self.failure = sampled.failures.get(self.name)

    def take_delays(self, sampled: Sampled) -> None:
        """What follows from it for a test of delays."""
        self.comparison = _comparison(sampled.log_ratios, self.name)
        self.sampling = sampled.sampling[self.name]
        self.types = metrics.delay_results(Samples(self.samples, None, sampling=self.sampling))


class _Enough:
    """When a comparison has blocks enough: by their number, or earlier where all of its ratios are exact
    enough or the time is over."""

    def __init__(
        self, blocks: int, device: str, looks: tuple[int, ...] = (), limit_s: float = math.inf
    ) -> None:
        """``looks``: after which of them it may end earlier; the time limit counts from the first one on."""
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
    """Of its net; None where it has no block with the reference."""
    values = [block.get(arm, {}).get(NET_DELAY, math.nan) for block in blocks]
    usable = [value for value in values if math.isfinite(value)]
    return summaries.compare_log_ratios(usable) if usable else None


class BackendMatrix:
    """Runs cases on one device, each on several backends."""

    def __init__(
        self,
        bench: Bench,
        backends: DeviceBackends,
    ) -> None:
        self._bench = bench
        self._platform = bench.platform
        plan = self._plan = bench.plan
        self._wanted = plan.backends or ManyBackends()
        self._backends = backends
        self._benches = {name: bench.planned(replace(plan, backend=name)) for name in backends.chosen}

    def results(self, case: TestCase) -> tuple[Result, ...]:
        """A result for each backend, of a failed one too.

        Raises:
            RunCancelledError: the run was cancelled.
        """
        started = time.monotonic()
        watch = self._bench.watch()
        columns = {name: _Column(name, bench) for name, bench in self._benches.items()}
        for name, reason in self._backends.missing.items():
            columns[name].failure = ProgramError(f"the backend {name} is not available: {reason}")
        self._attempt(case, list(columns.values()))
        watched = watch.finish(lost=any(isinstance(one.failure, DeviceLostError) for one in columns.values()))
        reference = columns[self._backends.reference]
        each_s = (time.monotonic() - started) / len(columns)
        results = {
            name: record.result(one.bench, case, one.measured(), watched, each_s)
            for name, one in columns.items()
        }
        return tuple(self._with_cell(results[name], case, one, reference) for name, one in columns.items())

    def missing(self, case: TestCase, error: Exception) -> tuple[Result, ...]:
        """The results of a case that was not even tried."""
        cell = BackendCell(self._backends.reference, 0, unavailable=self._backends.unavailable)
        results = [record.missing(one, case, error) for one in self._benches.values()]
        return tuple(replace(one, cell=cell) for one in results)

    def _with_cell(self, result: Result, case: TestCase, column: _Column, reference: _Column) -> Result:
        counts = column.failure is None and reference.failure is None
        cell = BackendCell(
            reference=reference.name,
            blocks=column.blocks if case.metric == "delay" else min(len(column.types), 1),
            comparison=column.comparison if counts else None,
            answer_of=column.answer_of,
            errors=column.errors,
            wrong=isinstance(column.failure, ToleranceError),
            not_compared=column.not_compared,
            unavailable=self._backends.unavailable,
        )
        workload = replace(result.workload, random_seed=self._plan.seed)
        return replace(result, workload=workload, cell=cell)

    def _attempt(self, case: TestCase, columns: Sequence[_Column]) -> None:
        try:
            with ExitStack() as stack:
                files = self._make_ready(stack, case, columns)
                measured = _working(columns)
                sampled = self._sample(case, {one.name: one.arm for one in measured if one.arm})
                for one in measured:
                    one.take(sampled)
                if case.metric == "delay":
                    for one in measured:
                        one.take_delays(sampled)
                    self._hold_against_reference(columns)
                else:
                    for one in _working(columns):
                        self._hold_against_golden(case, files, one)
        except RunCancelledError:
            raise
        except Exception as error:  # a model that cannot be had, a device that is gone, a bug: of them all
            for one in _working(columns):
                one.failure = error

    def _make_ready(self, stack: ExitStack, case: TestCase, columns: Sequence[_Column]) -> LocalFiles:
        files = arms.local_files(self._bench, case)
        outputs = tuple(case.golden_files) or self._plan.framework.outputs(case, files.model)
        for one in _working(columns):
            try:
                one.arm = arms.make_ready(one.bench, stack, case, files, self._plan.treatment, outputs)
            except CaseError as error:
                one.failure = error
        return files

    def _sample(self, case: TestCase, ready: Mapping[str, ReadyArm]) -> Sampled:
        """An output does not vary from run to run as a delay does: one block of it is enough.

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
            self._plan.comparing.clock,
            goes_on_without_failed=True,
        )
        runs = {name: arm.run for name, arm in ready.items()}
        enough = _Enough(blocks, self._platform.device.name)
        return processes.sample(runs, self._backends.reference, enough)

    def _by_iteration(self, case: TestCase, ready: Mapping[str, ReadyArm]) -> Sampled:
        platform, comparing = self._platform, self._plan.comparing
        iterations = IterationSampler(
            self._random(case),
            self._bench.read_conditions,
            platform.pin,
            platform.thread_times,
            operator_rounds=OPERATOR_ROUNDS if self._plan.framework.times_operators(case) else 0,
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
        sampled = iterations.sample(workers, self._backends.reference, enough)
        failures = {name: _explained(ready[name], error) for name, error in sampled.failures.items()}
        return replace(sampled, failures=failures)

    def _random(self, case: TestCase) -> Random:
        return Random(f"{self._plan.seed} {self._platform.device.hash} {case.label}")  # noqa: S311 - an order

    def _hold_against_reference(self, columns: Sequence[_Column]) -> None:
        reference = next(one for one in columns if one.name == self._backends.reference)
        expected, why = _expected_answer(reference)
        for one in _working(columns):
            if expected is None:
                one.not_compared = why
            elif one is not reference:
                try:
                    self._hold_against(one, expected, reference.name, f"the backend {reference.name}'s")
                except CaseError as error:
                    one.failure = error

    def _hold_against_golden(self, case: TestCase, files: LocalFiles, column: _Column) -> None:
        """With the test's tolerance, where it has one."""
        if column.arm is None:
            return
        try:
            column.types, failure = output_errors(self._plan.framework, case, files, column.arm)
            column.answer_of = GOLDEN
            column.errors = {one.type: one.error for one in column.types if one.error}
            column.failure = failure
            if case.tolerance is None:
                golden = {blob: self._plan.framework.read_tensor(path) for blob, path in files.golden.items()}
                self._hold_against(column, golden, GOLDEN, "the golden output")
        except CaseError as error:
            column.failure = error

    def _hold_against(self, column: _Column, expected: Tensors, name: str, whose: str) -> None:
        """Raises:
        CaseError: the backend's outputs are missing, or they are other ones.
        """
        if column.arm is None:
            return
        answer = column.arm.outputs()
        column.answer_of = name
        column.errors = metrics.answer_errors(answer, expected, whose)
        metrics.check_answer(answer, expected, self._wanted.tolerance, whose)


def _explained(arm: ReadyArm, error: ArmFailure) -> ArmFailure:
    """Why the only program of several that did not become a worker has failed.

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
    """What the other backends should answer, or why that is not known."""
    if reference.failure is not None or reference.arm is None:
        return None, f"the reference {reference.name} failed"
    if not reference.arm.invocation.outputs:
        return None, "which blobs are the model's outputs is not known: name them in its specification"
    try:
        return reference.arm.outputs(), ""
    except CaseError as error:
        return None, f"the reference {reference.name} has no outputs: {error}"
