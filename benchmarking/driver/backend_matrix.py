"""One test on several backends of a device, in turn, so that they share its conditions."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING

from benchmarking.driver import conditions, metrics
from benchmarking.driver.benchmark_driver import BenchmarkDriver, LocalFiles, Measured, ReadyArm
from benchmarking.driver.plan import ManyBackends, RunPlan
from benchmarking.driver.sampler import Samples, joined
from benchmarking.errors import (
    CaseError,
    DeviceLostError,
    ProgramError,
    RunCancelledError,
    ToleranceError,
)
from benchmarking.files.model_cache import ModelCache
from benchmarking.frameworks.framework_base import BackendStatus, ProgramReport
from benchmarking.platforms.platform_base import PlatformBase
from benchmarking.programs.process import Cancellation
from benchmarking.results.model import (
    NET_DELAY,
    BackendCell,
    Comparison,
    ErrorStatistics,
    Result,
    TypeResult,
)
from benchmarking.specs.expand import TestCase
from benchmarking.statistics import summaries

if TYPE_CHECKING:
    from benchmarking.driver.metrics import Tensors

USUAL_REFERENCE = "default"
GOLDEN = "golden"

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


def find_backends(platform: PlatformBase, plan: RunPlan, cancellation: Cancellation) -> FoundBackends:
    """Asks the program on the device.

    Raises:
        CaseError: all are wanted, and the program does not tell which there are.
        DeviceError: the device does not answer.
        RunCancelledError: the run was cancelled.
    """
    wanted = plan.backends or ManyBackends()
    try:
        return FoundBackends(wanted, _ask(platform, plan, cancellation))
    except CaseError as error:
        if wanted.names:
            return FoundBackends(wanted, None)
        raise ProgramError(
            f"--backend all: the program does not tell which backends it has ({error}); "
            "name them, as in --backend default,nnpack",
            error.evidence,
        ) from error


def _ask(platform: PlatformBase, plan: RunPlan, cancellation: Cancellation) -> tuple[BackendStatus, ...]:
    program = plan.treatment.program
    with platform.stage([program.path, *plan.shared_libraries]) as staged:
        command = plan.framework.compose_backend_list(
            platform.launcher(program, staged), tuple(staged.paths[path] for path in plan.shared_libraries)
        )
        if command is None:
            raise ProgramError(f"programs of the framework {plan.framework.name} do not")
        outcome = platform.run(replace(command, timeout_s=plan.timeout_s), cancellation)
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
    driver: BenchmarkDriver
    arm: ReadyArm | None = None
    reports: list[tuple[int, ProgramReport]] = field(default_factory=list)
    failure: BaseException | None = None
    types: tuple[TypeResult, ...] = ()
    answer_of: str = ""
    errors: Mapping[str, ErrorStatistics] = field(default_factory=dict)
    not_compared: str = ""
    duration_s: float = 0.0

    def run(self, block: int) -> None:
        """A whole process."""
        if self.arm is None:
            return
        started = time.monotonic()
        try:
            self.reports.append((block, self.arm.run()))
        except CaseError as error:
            self.failure = error
        finally:
            self.duration_s += time.monotonic() - started

    @property
    def net(self) -> TypeResult | None:
        return next((one for one in self.types if one.type == NET_DELAY), None)

    def measured(self) -> Measured:
        return Measured(
            types=self.types,
            failure=self.failure,
            program_command=str(self.arm.command) if self.arm else "",
            treatment=joined(self.reports),
        )

    def compared(self, reference: _Column) -> Comparison | None:
        own, other = self.net, reference.net
        if own is None or other is None or self is reference:
            return None
        if self.failure is not None or reference.failure is not None:  # its delay counts for nothing
            return None
        return summaries.compare(own.values, own.pairs, other.values, other.pairs)


class BackendMatrix:
    """Runs cases on one device, each on several backends."""

    def __init__(
        self,
        platform: PlatformBase,
        plan: RunPlan,
        cache: ModelCache,
        cancellation: Cancellation,
        backends: DeviceBackends,
    ) -> None:
        self._platform = platform
        self._plan = plan
        self._wanted = plan.backends or ManyBackends()
        self._cancellation = cancellation
        self._backends = backends
        self._drivers = {
            name: BenchmarkDriver(platform, replace(plan, backend=name), cache, cancellation)
            for name in backends.chosen
        }

    def run(self, case: TestCase) -> tuple[Result, ...]:
        """A result for each backend, of a failed one too.

        Raises:
            RunCancelledError: the run was cancelled.
        """
        watch = conditions.Watch(self._platform, self._plan.cooldown_s, self._cancellation)
        columns = {name: _Column(name, driver) for name, driver in self._drivers.items()}
        for name, reason in self._backends.missing.items():
            columns[name].failure = ProgramError(f"the backend {name} is not available: {reason}")
        self._attempt(case, list(columns.values()))
        watched = watch.finish(lost=any(isinstance(one.failure, DeviceLostError) for one in columns.values()))
        reference = columns[self._backends.reference]
        return tuple(self._result(case, one, reference, watched) for one in columns.values())

    def missing(self, case: TestCase, error: Exception) -> tuple[Result, ...]:
        """The results of a case that was not even tried."""
        cell = BackendCell(self._backends.reference, 0, unavailable=self._backends.unavailable)
        results = [one.missing(case, error) for one in self._drivers.values()]
        return tuple(replace(one, meta=replace(one.meta, cell=cell)) for one in results)

    def _result(
        self, case: TestCase, column: _Column, reference: _Column, watched: conditions.Watched
    ) -> Result:
        result = column.driver.result(case, column.measured(), watched, column.duration_s)
        cell = BackendCell(
            reference=reference.name,
            blocks=len(column.reports),
            comparison=column.compared(reference),
            answer_of=column.answer_of,
            errors=column.errors,
            wrong=isinstance(column.failure, ToleranceError),
            not_compared=column.not_compared,
            unavailable=self._backends.unavailable,
        )
        return replace(result, meta=replace(result.meta, cell=cell, random_seed=self._plan.seed))

    def _attempt(self, case: TestCase, columns: Sequence[_Column]) -> None:
        try:
            with ExitStack() as stack:
                files = self._make_ready(stack, case, columns)
                self._run_blocks(case, columns)
                if case.metric == "delay":
                    for one in columns:
                        one.types = metrics.delay_results(Samples(joined(one.reports), None))
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
        files = columns[0].driver.local_files(case)
        outputs = tuple(case.golden_files) or self._plan.framework.outputs(case, files.model)
        for one in _working(columns):
            try:
                one.arm = one.driver.make_ready(stack, case, files, self._plan.treatment, outputs)
            except CaseError as error:
                one.failure = error
        return files

    def _run_blocks(self, case: TestCase, columns: Sequence[_Column]) -> None:
        """An output does not vary from run to run as a delay does: one block of it is enough."""
        blocks = self._wanted.blocks if case.metric == "delay" else 1
        random = Random(f"{self._plan.seed} {self._platform.device.hash} {case.label}")  # noqa: S311 - an order
        for block in range(blocks):
            working = _working(columns)
            order = random.sample(working, k=len(working))
            logger.info("  block %d of %d: %s", block + 1, blocks, ", ".join(one.name for one in order))
            for one in order:
                one.run(block)

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
            column.types, failure = column.driver.errors(case, files, column.arm)
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
