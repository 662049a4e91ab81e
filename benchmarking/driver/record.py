"""What was measured as a result: with all that it is a result of."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from benchmarking import __version__
from benchmarking.driver import conditions
from benchmarking.driver.bench import Bench
from benchmarking.driver.plan import RunPlan
from benchmarking.driver.sampler import ArmSamples
from benchmarking.errors import BenchmarkError, CaseError, DeviceError, DeviceLostError
from benchmarking.results.model import (
    Device,
    Failure,
    FailureKind,
    Program,
    Provenance,
    Result,
    Sampling,
    TestKey,
    TypeResult,
    Workload,
    new_uid,
)
from benchmarking.results.plain_text import plain
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
    bench: Bench,
    case: TestCase,
    measured: Measured,
    watched: conditions.Watched = conditions.NOT_WATCHED,
    duration_s: float = 0.0,
) -> Result:
    plan, device = bench.plan, bench.platform.device
    hashes = {} if case.refusal is not None else bench.cache.hashes(case)
    return Result(
        test=TestKey(
            net=case.model.name,
            metric=case.metric,
            identifier=case.identifier,
            framework=plan.framework.name,
            backend=plan.framework.backend(case, plan.backend),
            device=device.hash,
        ),
        provenance=_provenance(plan, case.model.group),
        device=Device(device.name, device.facts, watched.before, watched.after, watched.tainted),
        program=Program(
            command=measured.program_command,
            facts=measured.treatment.facts,
            control_facts=measured.control.facts,
            kernels=measured.treatment.kernels,
        ),
        workload=Workload(
            iterations=case.iterations,
            warmup=case.warmup,
            input_shapes={blob.name: blob.shape for blob in case.inputs},
            model_md5=hashes,
            ab_pairs=measured.sampling.pairs if measured.sampling and plan.control else None,
            random_seed=plan.seed if plan.control else None,
        ),
        sampling=measured.sampling,
        types=_marked(plan, measured.types),
        failure=describe_failure(measured.failure) if measured.failure else None,
        warnings=(
            *(f"treatment: {text}" if plan.control else text for text in measured.treatment.warnings),
            *(f"control: {text}" for text in measured.control.warnings),
            *_unchecked_files(case, hashes),
        ),
        duration_s=duration_s,
    )


def _unchecked_files(case: TestCase, hashes: Mapping[str, str]) -> list[str]:
    """Says which file was measured where the specification does not."""
    unchecked = [
        f"{plain(key)} {hashes[key]}"
        for key, file in case.model.files.items()
        if not file.md5 and key in hashes
    ]
    text = "the specification has no md5 for files of the model; these were measured: "
    return [text + ", ".join(unchecked)] if unchecked else []


def missing(bench: Bench, case: TestCase, error: Exception) -> Result:
    """The result of a case that was not tried."""
    return result(bench, case, Measured(failure=error))


def _provenance(plan: RunPlan, group: str | None) -> Provenance:
    treatment, control = plan.treatment, plan.control
    return Provenance(
        time=int(time.time()),
        commit=treatment.commit,
        commit_time=treatment.commit_time,
        control_commit=control.commit if control else None,
        control_commit_time=control.commit_time if control else None,
        run_type=plan.run_type,
        command=plan.command,
        group=group,
        run_uid=plan.run_uid,
        uid=new_uid(),
        position=treatment.position,
        control_position=control.position if control else None,
        branch=treatment.branch,
        author=treatment.author,
        subject=treatment.subject,
        harness_version=__version__,
        user=plan.user_meta,
    )


def _marked(plan: RunPlan, types: tuple[TypeResult, ...]) -> tuple[TypeResult, ...]:
    """A run of type ``regress`` records which of its types are confirmed regressions."""
    if plan.run_type != "regress":
        return types
    return tuple(replace(one, regressed=one.type in plan.regressed_types) for one in types)


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
