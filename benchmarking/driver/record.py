"""What was measured as a result: with all that it is a result of."""

from __future__ import annotations

import shlex
import time
import traceback
from dataclasses import dataclass, field, replace

from benchmarking import __version__
from benchmarking.driver import conditions
from benchmarking.driver.bench import Bench
from benchmarking.driver.plan import RunPlan
from benchmarking.driver.sampler import ArmSamples
from benchmarking.errors import BenchmarkError, CaseError, DeviceError, DeviceLostError
from benchmarking.results.model import Failure, FailureKind, Meta, Result, Sampling, TypeResult, new_uid
from benchmarking.specs.expand import TestCase


@dataclass(frozen=True)
class Measured:
    types: tuple[TypeResult, ...] = ()
    failure: BaseException | None = None
    program_command: str = ""
    treatment: ArmSamples = field(default_factory=ArmSamples)
    control: ArmSamples = field(default_factory=ArmSamples)
    sampling: Sampling | None = None


def result(
    bench: Bench, case: TestCase, measured: Measured, watched: conditions.Watched, duration_s: float
) -> Result:
    return Result(
        meta=replace(
            _meta(bench, case, measured),
            conditions_before=watched.before,
            conditions_after=watched.after,
            tainted=watched.tainted,
        ),
        types=_marked(bench.plan, measured.types),
        failure=describe_failure(measured.failure) if measured.failure else None,
        warnings=(
            *(f"treatment: {text}" if bench.plan.control else text for text in measured.treatment.warnings),
            *(f"control: {text}" for text in measured.control.warnings),
        ),
        duration_s=duration_s,
    )


def missing(bench: Bench, case: TestCase, error: Exception) -> Result:
    """The result of a case that was not even tried."""
    return Result(_meta(bench, case, Measured()), failure=describe_failure(error))


def _marked(plan: RunPlan, types: tuple[TypeResult, ...]) -> tuple[TypeResult, ...]:
    """A run of type ``regress`` records which of its types are confirmed regressions."""
    if plan.run_type != "regress":
        return types
    return tuple(replace(one, regressed=one.type in plan.regressed_types) for one in types)


def _meta(bench: Bench, case: TestCase, measured: Measured) -> Meta:
    plan, device = bench.plan, bench.platform.device
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
