"""One test case on one device: staged, run, parsed, compared."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from random import Random

from benchmarking.driver import arms, conditions, metrics, record, shell_commands
from benchmarking.driver.arms import LocalFiles, ReadyArm
from benchmarking.driver.bench import Bench
from benchmarking.driver.iteration_sampler import MOST_ROUNDS, IterationSampler
from benchmarking.driver.paired_test import PairedTest, sample_pairs
from benchmarking.driver.process_sampler import ProcessSampler
from benchmarking.driver.record import Measured
from benchmarking.driver.sampler import ArmSamples, Samples, sample_once, say_which_arm
from benchmarking.errors import CaseError, DeviceError, DeviceLostError, RunCancelledError
from benchmarking.files.web import hide_credentials
from benchmarking.frameworks.framework_base import FrameworkBase
from benchmarking.programs.workers import NoWorkersError
from benchmarking.results import comparability
from benchmarking.results.model import Result, TypeResult, Verdict
from benchmarking.specs.expand import TestCase


class BenchmarkDriver:
    """Runs cases on one device."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._platform = bench.platform
        self._plan = bench.plan

    def results(self, case: TestCase) -> tuple[Result, ...]:
        """The single result of ``run``, in the form that a session expects."""
        return (self.run(case),)

    def missing(self, case: TestCase, error: Exception) -> tuple[Result, ...]:
        return (record.missing(self._bench, case, error),)

    def run(self, case: TestCase) -> Result:
        """Never raises for a failed case: the failure, with its evidence, is part of the result.

        Raises:
            RunCancelledError: the run was cancelled.
        """
        started = time.monotonic()
        watch = self._bench.watch(case)
        measured = self._attempt(case)
        watched = watch.finish(lost=isinstance(measured.failure, DeviceLostError))
        return record.result(self._bench, case, measured, watched, time.monotonic() - started)

    def _attempt(self, case: TestCase) -> Measured:
        try:
            return self._measure(case)
        except RunCancelledError:
            raise
        except Exception as error:  # a bug also affects only one case; it keeps its traceback
            return Measured(failure=error)

    def _measure(self, case: TestCase) -> Measured:
        """Measurements made before a failure are kept; the stages still see the failure."""
        files = arms.local_files(self._bench, case)
        measured = Measured()
        try:
            with ExitStack() as stack:
                stack.enter_context(shell_commands.around(self._bench, case, files))
                measured = self._measure_staged(stack, case, files)
                if measured.failure is not None:
                    raise measured.failure
        except (CaseError, DeviceError) as error:
            return replace(measured, failure=error)
        return measured

    def _measure_staged(self, stack: ExitStack, case: TestCase, files: LocalFiles) -> Measured:
        outputs = tuple(case.golden_files)
        treatment = arms.make_ready(self._bench, stack, case, files, self._plan.treatment, outputs)
        control = (
            arms.make_ready(self._bench, stack, case, files, self._plan.control, outputs)
            if self._plan.control
            else None
        )
        samples = _if_comparable(self._sample(case, treatment, control))
        failure: CaseError | DeviceError | None = samples.failure
        types: tuple[TypeResult, ...] = ()
        if case.metric == "delay":
            types = metrics.delay_results(samples)
            failure = failure or metrics.unreported(samples)
        elif failure is None:
            types, failure = output_errors(self._plan.framework, case, files, treatment, control)
        return Measured(
            types=types,
            failure=failure,
            program_command=str(treatment.command),
            treatment=samples.treatment,
            control=samples.control or ArmSamples(),
            sampling=samples.sampling if case.metric == "delay" else None,
        )

    def _sample(self, case: TestCase, treatment: ReadyArm, control: ReadyArm | None) -> Samples:
        """An output does not vary from run to run as a delay does, so one pair is enough."""
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
            comparing = replace(comparing, mode="process", fixed_pairs=1, clock="wall")  # nothing is timed
        stage = "" if self._plan.run_type == "benchmark" else f" ({self._plan.run_type})"
        what = f"{self._platform.device.name}: {comparing.what}{stage}"
        why = "--ab_mode process"
        if comparing.mode != "process":
            iterations = IterationSampler(
                random,
                self._bench.read_conditions,
                self._platform.pin,
                self._platform.thread_times,
                operator_rounds=MOST_ROUNDS if self._plan.framework.times_operators(case) else 0,
                clock=comparing.clock,
                computes_on_cpu=self._platform.computes_on_cpu,
                suspects=suspects,
            )
            workers = treatment.workers(), control.workers()
            cores = conditions.core_count(self._platform)
            try:
                return sample_pairs(iterations, PairedTest(comparing, suspects, what), *workers, cores)
            except NoWorkersError as error:
                if comparing.mode == "iteration":
                    return Samples(ArmSamples(), ArmSamples(), failure=error)
                why = str(error)
        processes = ProcessSampler(
            random,
            self._bench.read_conditions,
            why,
            comparing.clock,
            computes_on_cpu=self._platform.computes_on_cpu,
        )
        return sample_pairs(processes, PairedTest(comparing, suspects, what), treatment.run, control.run)


def _if_comparable(samples: Samples) -> Samples:
    """Programs that ran with different settings are not compared."""
    control = samples.control.facts if samples.control else {}
    different = "; ".join(comparability.differences(samples.treatment.facts, control))
    if not different:
        return samples
    decisions = {
        name: replace(one, verdict=Verdict.NOT_COMPARABLE, reason=f"the two programs ran with {different}")
        for name, one in samples.decisions.items()
    }
    return replace(samples, decisions=decisions)


def output_errors(
    framework: FrameworkBase,
    case: TestCase,
    files: LocalFiles,
    treatment: ReadyArm,
    control: ReadyArm | None = None,
) -> tuple[tuple[TypeResult, ...], CaseError | DeviceError | None]:
    """Compares the outputs of the last runs with the golden outputs, and reports what is wrong with them."""
    golden = {blob: framework.read_tensor(path, blob) for blob, path in files.golden.items()}
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
