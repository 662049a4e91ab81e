"""Results made by hand, for the reporters: one of every kind that a run can bring forth."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

from benchmarking.errors import ExitStatus
from benchmarking.reporters.reporter_base import RunSummary
from benchmarking.results.model import (
    NET_DELAY,
    BackendCell,
    Comparison,
    Confirmation,
    Cost,
    Device,
    ErrorStatistics,
    Failure,
    FailureKind,
    Interval,
    Kernel,
    Percentiles,
    Program,
    Provenance,
    Result,
    Sampling,
    SequentialDecision,
    TestKey,
    TypeResult,
    Verdict,
    Workload,
)
from benchmarking.statistics import summaries

PARTS = ("test", "provenance", "device", "program", "workload")

NASTY_NAME = "[bold]a|b[/bold] `c` <b>&amp; @team #1 **x** \x1b[31mred\x07 \u202eevil \ud800 \u96ea\nnext"
"""Rich markup, Markdown, HTML, escape codes, a bell, right-to-left, half a surrogate pair, a line break."""

NASTY_EVIDENCE = "```\n</details><script>alert(1)</script>\n````\n]]>\x00\ufffe\x1b[1;31mred\x1b[0m\r\n[red]no markup \u202e[/red]"

PASSED = Result(
    TestKey(
        net="squeezenet",
        metric="delay",
        identifier="delay-0",
        framework="caffe2",
        backend=None,
        device="0123456789ab",
    ),
    Provenance(
        time=1_700_000_060,
        commit="1111111111111111111111111111111111111111",
        commit_time=1_699_999_000,
        control_commit=None,
        control_commit_time=None,
        run_type="benchmark",
        command=("harness.py", "--benchmark_file", "quickstart.json"),
        group=None,
        harness_version="0.1.0",
    ),
    Device(
        name="Linux-x86_64-Example",
        facts={
            "host_name": "example-host",
            "cpu_model": "Example CPU",
            "logical_cores": 2,
            "container": True,
        },
    ),
    workload=Workload(iterations=10, warmup=2, input_shapes={"data": (1, 3, 224, 224)}),
)
"""Nothing is measured yet."""


def having(result: Result, **changes: Any) -> Result:
    """With other values of fields of the result, or of its parts where one of them alone has such a field."""
    own = {field.name for field in fields(Result)}
    for name in [name for name in changes if name not in own]:
        (part,) = [part for part in PARTS if name in {field.name for field in fields(getattr(result, part))}]
        changes[part] = replace(changes.get(part, getattr(result, part)), **{name: changes.pop(name)})
    return replace(result, **changes)


def on_device(result: Result, name: str, device_hash: str) -> Result:
    """On another device, of which nothing more is known."""
    return replace(result, test=replace(result.test, device=device_hash), device=Device(name))


AGAINST_CONTROL = having(
    PASSED,
    control_commit="2222222222222222222222222222222222222222",
    control_commit_time=1_699_990_000,
    ab_pairs=6,
)


def delays(type_name: str, typical_us: float, *, count: int = 10) -> TypeResult:
    values = tuple(typical_us * (1 + 0.01 * (index % 7)) for index in range(count))
    return TypeResult(type_name, "us", summaries.summarize(values), values=values, pairs=(0,) * count)


def compared(treatment: TypeResult, control_us: float, comparison: Comparison) -> TypeResult:
    control = delays(treatment.type, control_us)
    return replace(
        treatment,
        control_summary=control.summary,
        control_values=control.values,
        control_pairs=control.pairs,
        diff_summary=summaries.difference_percentiles(treatment.summary, control.summary),
        comparison=comparison,
    )


def errors(blob: str, size: float) -> TypeResult:
    numbers = summaries.summarize([0.0, size])
    return TypeResult(
        blob,
        "",
        numbers,
        control_summary=numbers,
        diff_summary=Percentiles(0.0, 0.0, size / 2, size, size),
        error=ErrorStatistics(1000, size, size * 10, size / 3, 1 - size),
    )


OPERATORS = (
    delays("ID_0_Conv_conv1", 4210.0),
    delays("ID_1_Relu_conv1", 310.0),
    delays("ID_2_MaxPool_pool1", 804.0),
    delays("ID_3_Conv_fire2/squeeze1x1", 1520.0),
    delays("ID_4_Relu_fire2/squeeze1x1", 55.5),
    delays("ID_5_Conv_fire2/expand3x3", 5330.0),
    delays("ID_6_Softmax_softmaxout", 0.75),
)

DELAY = replace(PASSED, types=(delays(NET_DELAY, 12345.6), *OPERATORS), duration_s=2.5)
COSTED = having(
    PASSED,
    identifier="delay-costed",
    program=Program(facts={"peak_flops_per_s": 104_000_000_000, "peak_bytes_per_s": 21_400_000_000}),
    types=(
        replace(delays(NET_DELAY, 12345.6), cost=Cost(1_240_000, 698_304_000, 41_200_000)),
        replace(OPERATORS[0], cost=Cost(1792, 42_581_376, 3_760_000)),
        replace(OPERATORS[2], cost=Cost(0, 1_740_000, 13_930_000)),
        replace(delays("ID_5_Conv+Relu_fire2/expand3x3", 533.0), cost=Cost(9280, 56_000_000, 1_010_000)),
        OPERATORS[6],
    ),
    duration_s=2.5,
)
KERNELS = {
    **{one.type: Kernel("jit:avx512_core", own=False) for one in OPERATORS[:5]},
    "ID_5_Conv_fire2/expand3x3": Kernel("nnpack:winograd", own=True),
    "ID_6_Softmax_softmaxout": Kernel("softmax", own=False),
}
FELL_BACK = having(
    PASSED,
    identifier="delay-nnpack",
    backend="nnpack",
    program=Program(
        kernels=KERNELS,
        facts={
            "backend_summary": "nnpack: 1 of 3 convolutions, 2 fell back",
            "backend_operators": 1,
            "unused_backend_options": "tf32",
        },
    ),
    types=(
        delays(NET_DELAY, 12345.6),
        *(replace(one, kernel=KERNELS[one.type]) for one in OPERATORS),
    ),
    duration_s=2.5,
)
TAINTED = having(
    PASSED,
    identifier="delay-tainted",
    tainted=("the temperature went from 31.0 to 44.0 °C",),
    types=(delays(NET_DELAY, 12345.6),),
    duration_s=2.0,
)
FEW_SAMPLES = having(
    PASSED, identifier="delay-few", types=(delays(NET_DELAY, 1_234_567.0, count=3),), duration_s=4.0
)
AB = having(
    AGAINST_CONTROL,
    identifier="delay-ab",
    types=(
        compared(
            delays(NET_DELAY, 12345.6), 11973.0, Comparison(6, 1.0311, Interval(1.0199, 1.0421, 0.96875))
        ),
        compared(OPERATORS[0], 4310.0, Comparison(6, 0.9768, Interval(0.95, 1.0, 0.96875))),
        compared(OPERATORS[5], 5330.0, Comparison(1, 1.0, None)),
    ),
    duration_s=31.0,
)


def decided(one: TypeResult, verdict: Verdict, reason: str, **more) -> TypeResult:
    comparison = one.comparison
    decision = SequentialDecision(verdict, reason, 12, comparison, 0.021, 0.0002, 0.9998)
    return replace(one, decision=decision, **more)


def by_cpu_time(one: TypeResult, typical_us: float, control_us: float) -> TypeResult:
    """A type on a busy machine, whose wall time differs from its CPU time."""
    own, control = delays(one.type, typical_us), delays(one.type, control_us)
    return replace(
        one,
        cpu_values=own.values,
        control_cpu_values=control.values,
        clock_summary=own.summary,
        control_clock_summary=control.summary,
    )


def computed(one: TypeResult, kernel: str, flops: int) -> TypeResult:
    return replace(one, kernel=Kernel(kernel, own=True), cost=Cost(9280, flops, 3_760_000))


SLOWER = "+3.11 % (96.9 % interval +1.99 % to +4.21 %) after 12 pairs; p 0.0002"
SAMPLING = Sampling(
    level="iteration",
    level_reason="the programs run single iterations",
    clock="cpu",
    clock_reason="one thread computes all the time",
    rounds=25,
    core=1,
    pairs=12,
    duration_s=4.25,
    canary="the control compared with its own copy: unchanged, +0.10 % after 6 pairs",
)
PROGRAM = Program(
    facts={"threads": 1, "peak_flops_per_s": 104_000_000_000, "peak_bytes_per_s": 21_400_000_000}
)
JUDGED = replace(
    AB,
    sampling=SAMPLING,
    program=PROGRAM,
    types=(
        by_cpu_time(decided(AB.types[0], Verdict.REGRESSED, SLOWER), 8110.0, 7880.0),
        computed(
            decided(AB.types[1], Verdict.IMPROVED, "-2.32 % after 12 pairs"), "jit:avx512_core", 42_581_376
        ),
        computed(
            decided(
                AB.types[2], Verdict.UNCHANGED, "+0.00 % after 12 pairs; a change of 3 % or more is ruled out"
            ),
            "jit_1x1:avx512_core",
            56_000_000,
        ),
    ),
    duration_s=31.0,
)
FIRST = JUDGED.types[0].decision
VERIFIED = having(
    JUDGED,
    run_type="verify",
    types=(
        replace(
            JUDGED.types[0],
            confirmation=Confirmation(
                Verdict.REGRESSED,
                f"regressed in both stages: {SLOWER}; in the first stage {SLOWER}",
                FIRST,
                FIRST,
            ),
        ),
    ),
)
NOT_CONFIRMED = having(
    VERIFIED,
    identifier="delay-noise",
    types=(
        replace(
            JUDGED.types[0],
            confirmation=Confirmation(
                Verdict.INCONCLUSIVE,
                "not confirmed: regressed at first, unchanged on fresh pairs",
                FIRST,
                FIRST,
            ),
        ),
    ),
)
INCONCLUSIVE = having(
    AB,
    identifier="delay-busy",
    sampling=replace(
        SAMPLING,
        level="process",
        level_reason="it does not speak the worker protocol",
        clock="wall",
        clock_reason="programs print wall time",
        canary="",
    ),
    types=(
        decided(
            AB.types[0],
            Verdict.INCONCLUSIVE,
            "+0.50 % after 40 pairs; a change below 4.1 % can go unnoticed",
        ),
    ),
    duration_s=120.0,
)
REGRESSED = having(
    AB,
    run_type="regress",
    types=tuple(replace(one, regressed=one.type == NET_DELAY) for one in AB.types),
    duration_s=31.0,
)
ERROR = having(
    PASSED,
    net="lenet",
    metric="error",
    identifier="golden-0",
    input_shapes={"data": (1, 1, 28, 28)},
    types=(errors("softmax", 2.5e-7), errors("fc1", 0.0)),
    duration_s=0.4,
)
UNAVAILABLE = {
    "cuda": "this torch was built without CUDA: install one from the index of CUDA builds",
    "eigen": "only real Caffe2 has it: docs/caffe2.md says how to get it",
}


def on_backend(backend: str, identifier: str, typical_us: float | None, cell: BackendCell, **more) -> Result:
    types = (delays(NET_DELAY, typical_us),) if typical_us else ()
    return having(
        PASSED, identifier=identifier, backend=backend, cell=cell, types=types, duration_s=3.0, **more
    )


def on_backends(identifier: str, scale: float) -> tuple[Result, ...]:
    """A test that is the reference, slower, faster but with a failed check of its answer, failed, wrong."""
    reference = BackendCell("default", 6, unavailable=UNAVAILABLE)

    def cell(ratio: float | None, error: float | None, **more) -> BackendCell:
        bounds = Interval(ratio * 0.97, ratio * 1.04, 0.96875) if ratio else None
        errors = {"softmax": ErrorStatistics(1000, error, error * 12, error / 3, 0.99)} if error else {}
        return replace(
            reference,
            comparison=Comparison(6, ratio, bounds) if ratio else None,
            errors=errors,
            answer_of="default" if errors else "",
            **more,
        )

    too_far = "1 of 1000 values of 'softmax' are more than 0.0008 off the backend default's"
    no_gpu = "the program ended with exit status 1: no GPU answers"
    return (
        on_backend("default", identifier, 12345.6 * scale, reference),
        on_backend(
            "nnpack",
            identifier,
            15300.0 * scale,
            cell(1.24, 2.1e-6),
            program=FELL_BACK.program,
        ),
        on_backend(
            "onednn",
            identifier,
            9800.0 * scale,
            cell(0.79, None, not_compared="the reference default has no outputs: softmax.txt: no such file"),
            program=Program(facts={"backend_operators": 26, "operators": 26}),
        ),
        on_backend(
            "vulkan",
            identifier,
            None,
            cell(None, None),
            failure=Failure(FailureKind.CASE, "ProgramExitError", no_gpu, "the end of its log"),
        ),
        on_backend(
            "opengl",
            identifier,
            99230.0 * scale,
            cell(8.03, 0.7, wrong=True),
            failure=Failure(FailureKind.CASE, "ToleranceError", too_far),
        ),
    )


def on_frameworks(identifier: str) -> tuple[Result, ...]:
    """The same test on two frameworks and with a backend that computes in less; a third one is missing."""
    missing = {"litert": "the package ai_edge_litert is missing; install it with: pip install 'x[litert]'"}

    def arm(framework: str, backend: str, typical_us: float, ratio: float | None, error: float) -> Result:
        is_coarse = backend == "bf16"
        cell = BackendCell(
            "onnxruntime/default",
            12,
            comparison=Comparison(12, ratio, Interval(ratio * 0.99, ratio * 1.01, 0.957)) if ratio else None,
            errors={"y": ErrorStatistics(1000, error, error * 12, error / 3, 0.99)} if ratio else {},
            answer_of="onnxruntime/default" if ratio else "",
            unavailable=missing,
            arm=f"{framework}/{backend}",
            less_precise_than="f32" if is_coarse else "",
        )
        facts = {
            "precision": "bf16" if is_coarse else "f32",
            "load_ns": 41_200_000,
            "first_ns": 1_840_000 + int(typical_us),
            "peak_rss_bytes": 121_634_816,
            "backend_operators": 26,
            "operators": 26,
        }
        return having(
            on_backend(backend, identifier, typical_us, cell, program=Program(facts=facts)),
            framework=framework,
            net="encoder",
        )

    return (
        arm("onnxruntime", "default", 11_100.0, None, 0.0),
        arm("openvino", "f32", 11_700.0, 1.05, 1.1e-7),
        arm("openvino", "bf16", 6400.0, 0.58, 8.1e-3),
    )


def golden_on(backend: str, size: float, failure: Failure | None = None) -> Result:
    types = (errors("softmax", size),)
    cell = BackendCell(
        "default", 1, answer_of="golden", errors={"softmax": types[0].error}, unavailable=UNAVAILABLE
    )
    return having(ERROR, net="squeezenet", backend=backend, cell=cell, types=types, failure=failure)


TOO_LARGE_ERROR = having(
    ERROR,
    identifier="golden-1",
    backend="eigen",
    types=(errors("softmax", 0.125),),
    failure=Failure(
        FailureKind.CASE,
        "ToleranceError",
        "12 of 1000 values of 'softmax' are beyond the tolerance (atol 1e-06, rtol 0.0001)",
    ),
)
FAILED = having(
    PASSED,
    net="broken",
    input_shapes={"a": (64, 3, 30, 30), "b": (4,)},
    failure=Failure(
        FailureKind.CASE,
        "ProgramExitError",
        "the program ended with exit status 134",
        "".join(f"line {number} of the program's log\n" for number in range(1, 41)),
    ),
    warnings=("the machine is busy: load 7.5 on 2 cores",),
    duration_s=1.25,
)
DEVICE_LOST = having(
    on_device(PASSED, "phone", "feedfeedfeed"),
    identifier="delay-1",
    failure=Failure(FailureKind.DEVICE, "DeviceError", "the device went away"),
    duration_s=9.0,
)
ON_PIXEL = having(on_device(DEVICE_LOST, "Pixel-6-0001", "beefbeefbeef"), identifier="delay-0")
BUG = having(
    PASSED,
    identifier="delay-2",
    failure=Failure(
        FailureKind.BUG, "KeyError", "a bug of the harness: KeyError('x')", "Traceback ...\nKeyError: 'x'"
    ),
)
NASTY = having(
    PASSED,
    net=NASTY_NAME,
    identifier=NASTY_NAME,
    input_shapes={NASTY_NAME: (1, 2)},
    device=replace(PASSED.device, facts={"cpu_model": NASTY_NAME}),
    program=Program(
        facts={"backend_summary": NASTY_NAME}, kernels={NASTY_NAME: Kernel(NASTY_NAME, own=False)}
    ),
    types=(delays(NET_DELAY, 5.0), delays(NASTY_NAME, 2.0)),
    failure=Failure(FailureKind.CASE, "ProgramError", NASTY_NAME, NASTY_EVIDENCE),
    warnings=(NASTY_NAME,),
)

RUNS: dict[str, tuple[tuple[Result, ...], RunSummary]] = {
    "passed": (
        (DELAY, COSTED, ERROR, FEW_SAMPLES),
        RunSummary(ExitStatus.OK, 7.25, destinations=("results in /data/results",)),
    ),
    "compared": (
        (
            AB,
            REGRESSED,
            replace(ERROR, types=tuple(replace(one, control_error=one.error) for one in ERROR.types)),
        ),
        RunSummary(ExitStatus.REGRESSION_CONFIRMED, 3723.0),
    ),
    "judged": (
        (
            JUDGED,
            VERIFIED,
            having(
                VERIFIED,
                run_type="regress",
                types=(replace(JUDGED.types[0], regressed=True),),
            ),
            NOT_CONFIRMED,
            INCONCLUSIVE,
        ),
        RunSummary(ExitStatus.REGRESSION_CONFIRMED, 99.0),
    ),
    "failed": (
        (DELAY, FAILED, TOO_LARGE_ERROR, DEVICE_LOST, BUG),
        RunSummary(ExitStatus.DEVICE_FAILED, 20.0, problems=("the remote reporter failed: timed out",)),
    ),
    "devices": (
        (
            TAINTED,
            DELAY,
            having(ON_PIXEL, identifier="delay-tainted"),
            ON_PIXEL,
        ),
        RunSummary(
            ExitStatus.DEVICE_FAILED, 9.0, problems=("all tests are missing on board1: Connection refused",)
        ),
    ),
    "fell_back": (
        (
            FELL_BACK,
            having(
                FELL_BACK,
                identifier="told-less",
                program=Program(kernels=KERNELS),
                types=FELL_BACK.types[:1],
            ),
        ),
        RunSummary(ExitStatus.OK, 5.0),
    ),
    "backends": (
        (
            *on_backends("delay-0", 1.0),
            *on_backends("delay-1", 30.0),
            golden_on("default", 2.5e-7),
            golden_on("nnpack", 3.1e-6),
        ),
        RunSummary(ExitStatus.BENCHMARK_FAILED, 61.0, destinations=("heat map in backends.svg",)),
    ),
    "frameworks": (on_frameworks("delay-0"), RunSummary(ExitStatus.OK, 41.0)),
    "nasty_backends": (
        (
            having(
                NASTY,
                backend=NASTY_NAME,
                cell=BackendCell(
                    NASTY_NAME,
                    1,
                    Comparison(1, 123.4, None),
                    NASTY_NAME,
                    {NASTY_NAME: ErrorStatistics(1, math.nan, math.inf, math.nan, 0.0)},
                    wrong=True,
                    not_compared=NASTY_NAME,
                    unavailable={NASTY_NAME + "x": NASTY_NAME},
                ),
            ),
        ),
        RunSummary(ExitStatus.BENCHMARK_FAILED, 0.1),
    ),
    "nasty": ((NASTY,), RunSummary(ExitStatus.BENCHMARK_FAILED, 0.1, (NASTY_NAME,), (NASTY_NAME,))),
    "interrupted": ((DELAY,), RunSummary(ExitStatus.INTERRUPTED, 2.6)),
}
"""Name: what is reported, and the end of it."""
