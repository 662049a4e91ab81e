"""One test case on one device: staged, run, parsed, compared."""

from __future__ import annotations

import shlex
import tempfile
import time
import traceback
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from benchmarking import __version__
from benchmarking.driver import conditions, metrics
from benchmarking.driver.iteration_sampler import MOST_ROUNDS, IterationSampler
from benchmarking.driver.paired_test import PairedTest, sample_pairs
from benchmarking.driver.plan import Arm, RunPlan
from benchmarking.driver.process_sampler import ProcessSampler
from benchmarking.driver.sampler import ArmSamples, Samples, sample_once, say_which_arm
from benchmarking.errors import BenchmarkError, CaseError, DeviceError, DeviceLostError, RunCancelledError
from benchmarking.files.model_cache import ModelCache
from benchmarking.files.web import hide_credentials
from benchmarking.frameworks.framework_base import FrameworkBase, Invocation, ProgramReport
from benchmarking.platforms.platform_base import PlatformBase, StagedFiles
from benchmarking.programs.command import Command
from benchmarking.programs.live_program import LiveProgram
from benchmarking.programs.process import Cancellation
from benchmarking.programs.workers import NoWorkersError, WorkerSource
from benchmarking.results import comparability
from benchmarking.results.model import (
    Failure,
    FailureKind,
    Meta,
    Result,
    Sampling,
    TypeResult,
    Verdict,
    new_uid,
)
from benchmarking.specs.expand import TestCase

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


UNLIMITED_S = 24 * 3600.0
"""For an answer of a program, where nothing else is said."""


@dataclass(frozen=True)
class LocalFiles:
    """Everything a case reads, as checked local files."""

    model: Mapping[str, Path]
    inputs: Mapping[str, Path]
    golden: Mapping[str, Path]


@dataclass(frozen=True)
class Measured:
    types: tuple[TypeResult, ...] = ()
    failure: BaseException | None = None
    program_command: str = ""
    treatment: ArmSamples = field(default_factory=ArmSamples)
    control: ArmSamples = field(default_factory=ArmSamples)
    sampling: Sampling | None = None


@dataclass(frozen=True)
class ReadyArm:
    """Treatment or control of one case, staged on the device."""

    case: TestCase
    command: Command
    invocation: Invocation
    staged: StagedFiles
    platform: PlatformBase
    framework: FrameworkBase
    cancellation: Cancellation

    def run(self) -> ProgramReport:
        return self.framework.parse(self.platform.run(self.command, self.cancellation), self.case)

    def workers(self) -> WorkerSource:
        return WorkerSource(self._start_worker, self.invocation.timeout_s or UNLIMITED_S)

    def _start_worker(self, forks: bool, layout_seed: int) -> AbstractContextManager[LiveProgram] | None:
        command = self.framework.compose_worker(self.invocation, forks=forks, layout_seed=layout_seed)
        # Its time limit is for a single answer; all of them together may take long.
        return self.platform.start(replace(command, timeout_s=None), self.cancellation) if command else None

    def outputs(self) -> dict[str, NDArray[np.float64]]:
        """What the last run wrote, by blob: flattened values."""
        with tempfile.TemporaryDirectory(prefix="benchmark-outputs-") as directory:
            self.platform.fetch_outputs(self.staged, Path(directory))
            return {
                blob: self.framework.read_tensor(Path(directory) / self.framework.output_file(blob))
                for blob in self.invocation.outputs
            }


class BenchmarkDriver:
    """Runs cases on one device."""

    def __init__(
        self, platform: PlatformBase, plan: RunPlan, cache: ModelCache, cancellation: Cancellation
    ) -> None:
        self._platform = platform
        self._plan = plan
        self._cache = cache
        self._cancellation = cancellation

    def run(self, case: TestCase) -> Result:
        """Never raises for a failed case: the failure, with its evidence, is part of the result.

        Raises:
            RunCancelledError: the run was cancelled.
        """
        started = time.monotonic()
        watch = conditions.Watch(self._platform, self._plan.cooldown_s, self._cancellation)
        measured = self._attempt(case)
        watched = watch.finish(lost=isinstance(measured.failure, DeviceLostError))
        return self.result(case, measured, watched, time.monotonic() - started)

    def result(
        self, case: TestCase, measured: Measured, watched: conditions.Watched, duration_s: float
    ) -> Result:
        return Result(
            meta=replace(
                self._meta(case, measured),
                conditions_before=watched.before,
                conditions_after=watched.after,
                tainted=watched.tainted,
            ),
            types=self._marked(measured.types),
            failure=describe_failure(measured.failure) if measured.failure else None,
            warnings=(
                *(
                    f"treatment: {text}" if self._plan.control else text
                    for text in measured.treatment.warnings
                ),
                *(f"control: {text}" for text in measured.control.warnings),
            ),
            duration_s=duration_s,
        )

    def missing(self, case: TestCase, error: Exception) -> Result:
        """The result of a case that was not even tried."""
        return Result(self._meta(case, Measured()), failure=describe_failure(error))

    def _attempt(self, case: TestCase) -> Measured:
        try:
            return self._measure(case)
        except RunCancelledError:
            raise
        except Exception as error:  # a bug, too, costs one case only; it keeps its traceback
            return Measured(failure=error)

    def _measure(self, case: TestCase) -> Measured:
        """What had been measured until a failure is kept; the stages see the failure all the same."""
        files = self.local_files(case)
        measured = Measured()
        try:
            with ExitStack() as stack:
                measured = self._measure_staged(stack, case, files)
                if measured.failure is not None:
                    raise measured.failure
        except (CaseError, DeviceError) as error:
            return replace(measured, failure=error)
        return measured

    def _measure_staged(self, stack: ExitStack, case: TestCase, files: LocalFiles) -> Measured:
        outputs = tuple(case.golden_files)
        treatment = self.make_ready(stack, case, files, self._plan.treatment, outputs)
        control = (
            self.make_ready(stack, case, files, self._plan.control, outputs) if self._plan.control else None
        )
        samples = _if_comparable(self._sample(case, treatment, control))
        failure: CaseError | DeviceError | None = samples.failure
        types: tuple[TypeResult, ...] = ()
        if case.metric == "delay":
            types = metrics.delay_results(samples)
        elif failure is None:
            types, failure = self.errors(case, files, treatment, control)
        return Measured(
            types=types,
            failure=failure,
            program_command=str(treatment.command),
            treatment=samples.treatment,
            control=samples.control or ArmSamples(),
            sampling=samples.sampling if case.metric == "delay" else None,
        )

    def _sample(self, case: TestCase, treatment: ReadyArm, control: ReadyArm | None) -> Samples:
        """An output does not vary from run to run as a delay does: one pair of it is enough."""
        if control is None:
            return sample_once(treatment.run)
        comparing = self._plan.comparing
        run = f"{self._plan.run_type} {self._platform.device.hash} {case.label}"
        random = Random(f"{self._plan.seed} {run}")  # noqa: S311 - for an order, not for a secret
        suspects: tuple[str, ...] = ()
        if self._plan.run_type != "benchmark":
            suspects = self._plan.regressed_types
            comparing = replace(comparing, plan=comparing.plan.for_verification())
        if case.metric != "delay":
            comparing = replace(comparing, mode="process", fixed_pairs=1)
        stage = "" if self._plan.run_type == "benchmark" else f" ({self._plan.run_type})"
        what = f"{self._platform.device.name}: {comparing.what}{stage}"
        why = "--ab_mode process"
        if comparing.mode != "process":
            iterations = IterationSampler(
                random,
                self._conditions,
                self._platform.pin,
                self._platform.thread_times,
                operator_rounds=MOST_ROUNDS if self._plan.framework.times_operators(case) else 0,
                clock=comparing.clock,
                computes_on_cpu=self._platform.computes_on_cpu,
            )
            workers = treatment.workers(), control.workers()
            cores = conditions.core_count(self._platform)
            try:
                return sample_pairs(iterations, PairedTest(comparing, suspects, what), *workers, cores)
            except NoWorkersError as error:
                if comparing.mode == "iteration":
                    return Samples(ArmSamples(), ArmSamples(), failure=error)
                why = str(error)
        processes = ProcessSampler(random, self._conditions, why, comparing.clock)
        return sample_pairs(processes, PairedTest(comparing, suspects, what), treatment.run, control.run)

    def _conditions(self) -> conditions.Conditions:
        return conditions.read(self._platform)

    def errors(
        self, case: TestCase, files: LocalFiles, treatment: ReadyArm, control: ReadyArm | None = None
    ) -> tuple[tuple[TypeResult, ...], CaseError | DeviceError | None]:
        """The outputs of the last runs against the golden ones, and what is wrong with them."""
        golden = {blob: self._plan.framework.read_tensor(path) for blob, path in files.golden.items()}
        names = {blob: hide_credentials(str(location)) for blob, location in case.golden_files.items()}
        outputs = treatment.outputs()
        types = metrics.error_results(outputs, {}, golden, names)
        if control is not None:
            try:
                types = metrics.error_results(outputs, control.outputs(), golden, names)
            except CaseError as error:
                return types, say_which_arm(error, "control")
        try:
            metrics.check_tolerance(outputs, golden, case.tolerance)
        except CaseError as error:
            return types, error
        return types, None

    def local_files(self, case: TestCase) -> LocalFiles:
        return LocalFiles(
            model=self._cache.resolve(case).files,
            inputs={blob.name: self._cache.local_file(blob.file, case) for blob in case.inputs if blob.file},
            golden={
                blob: self._cache.local_file(location, case) for blob, location in case.golden_files.items()
            },
        )

    def make_ready(
        self, stack: ExitStack, case: TestCase, files: LocalFiles, arm: Arm, outputs: tuple[str, ...]
    ) -> ReadyArm:
        """``outputs``: the blobs that its program shall write."""
        plan = self._plan
        staged = stack.enter_context(
            self._platform.stage(
                [
                    arm.program.path,
                    *plan.shared_libraries,
                    *files.model.values(),
                    *files.inputs.values(),
                ]
            )
        )
        invocation = Invocation(
            case=case,
            launcher=self._platform.launcher(arm.program, staged),
            model_files={key: staged.paths[path] for key, path in files.model.items()},
            input_files={blob: staged.paths[path] for blob, path in files.inputs.items()},
            output_directory=staged.output_directory if outputs else None,
            outputs=outputs,
            shared_libraries=tuple(staged.paths[path] for path in plan.shared_libraries),
            backend=plan.backend,
            timeout_s=plan.timeout_s,
        )
        return ReadyArm(
            case=case,
            command=plan.framework.compose(invocation),
            invocation=invocation,
            staged=staged,
            platform=self._platform,
            framework=plan.framework,
            cancellation=self._cancellation,
        )

    def _marked(self, types: tuple[TypeResult, ...]) -> tuple[TypeResult, ...]:
        """A run of type ``regress`` records which of its types are confirmed regressions."""
        if self._plan.run_type != "regress":
            return types
        return tuple(replace(one, regressed=one.type in self._plan.regressed_types) for one in types)

    def _meta(self, case: TestCase, measured: Measured) -> Meta:
        plan, device = self._plan, self._platform.device
        return Meta(
            run_uid=plan.run_uid,
            uid=new_uid(),
            time=int(time.time()),
            net_name=case.model.name,
            metric=case.metric,
            framework=plan.framework.name,
            platform=device.name,
            platform_hash=device.hash,
            identifier=case.identifier,
            commit=plan.treatment.commit,
            commit_time=plan.treatment.commit_time,
            control_commit=plan.control.commit if plan.control else None,
            control_commit_time=plan.control.commit_time if plan.control else None,
            position=plan.treatment.position,
            control_position=plan.control.position if plan.control else None,
            run_type=plan.run_type,
            command=plan.command,
            command_str=shlex.join(plan.command),
            group=case.model.group,
            backend=plan.framework.backend(case, plan.backend),
            iterations=case.iterations,
            warmup=case.warmup,
            input_shapes={blob.name: blob.shape for blob in case.inputs},
            harness_version=__version__,
            ab_pairs=measured.sampling.pairs if measured.sampling and plan.control else None,
            random_seed=plan.seed if plan.control else None,
            program_command=measured.program_command,
            device=device.facts,
            program=measured.treatment.facts,
            control_program=measured.control.facts,
            kernels=measured.treatment.kernels,
            user=plan.user_meta,
            sampling=measured.sampling,
        )


def _if_comparable(samples: Samples) -> Samples:
    """Programs that were told to run differently are not judged against each other."""
    control = samples.control.facts if samples.control else {}
    different = "; ".join(comparability.differences(samples.treatment.facts, control))
    if not different:
        return samples
    decisions = {
        name: replace(one, verdict=Verdict.NOT_COMPARABLE, reason=f"the two ran with {different}")
        for name, one in samples.decisions.items()
    }
    return replace(samples, decisions=decisions)


def describe_failure(error: BaseException) -> Failure:
    name = type(error).__name__
    if isinstance(error, DeviceError | CaseError):
        notes = [error.evidence, *getattr(error, "__notes__", ())]
        evidence = "\n".join(text for text in notes if text)
        kind = FailureKind.DEVICE if isinstance(error, DeviceError) else FailureKind.CASE
        return Failure(
            FailureKind.LOST if isinstance(error, DeviceLostError) else kind, name, str(error), evidence
        )
    if isinstance(error, BenchmarkError):
        return Failure(FailureKind.CASE, name, str(error))
    return Failure(
        FailureKind.BUG, name, f"a bug of the harness: {error!r}", "".join(traceback.format_exception(error))
    )
