"""Results made by hand, for the reporters: one of every kind that a run can bring forth."""

from __future__ import annotations

import math
from dataclasses import replace

from benchmarking.errors import ExitStatus
from benchmarking.reporters.reporter_base import RunSummary
from benchmarking.results.model import (
    NET_DELAY,
    BackendCell,
    Comparison,
    Confirmation,
    Cost,
    ErrorStatistics,
    Failure,
    FailureKind,
    Interval,
    Kernel,
    Meta,
    Percentiles,
    Result,
    Sampling,
    SequentialDecision,
    TypeResult,
    Verdict,
)
from benchmarking.statistics import summaries

NASTY_NAME = "[bold]a|b[/bold] `c` <b>&amp; @team #1 **x** \x1b[31mred\x07 \u202eevil \ud800 \u96ea\nnext"
"""Rich markup, Markdown, HTML, escape codes, a bell, right-to-left, half a surrogate pair, a line break."""

NASTY_EVIDENCE = "```\n</details><script>alert(1)</script>\n````\n]]>\x00\ufffe\x1b[1;31mred\x1b[0m\r\n[red]no markup \u202e[/red]"

META = Meta(
    time=1_700_000_060,
    net_name="squeezenet",
    metric="delay",
    framework="caffe2",
    platform="Linux-x86_64-Example",
    platform_hash="0123456789ab",
    identifier="delay-0",
    commit="1111111111111111111111111111111111111111",
    commit_time=1_699_999_000,
    control_commit=None,
    control_commit_time=None,
    run_type="benchmark",
    command=("harness.py", "--benchmark_file", "quickstart.json"),
    command_str="harness.py --benchmark_file quickstart.json",
    group=None,
    backend=None,
    iterations=10,
    warmup=2,
    input_shapes={"data": (1, 3, 224, 224)},
    harness_version="0.1.0",
    device={"host_name": "example-host", "cpu_model": "Example CPU", "logical_cores": 2, "container": True},
)
CONTROL_META = replace(
    META,
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

DELAY = Result(META, (delays(NET_DELAY, 12345.6), *OPERATORS), duration_s=2.5)
COSTED = Result(
    replace(
        META,
        identifier="delay-costed",
        program={"peak_flops_per_s": 104_000_000_000, "peak_bytes_per_s": 21_400_000_000},
    ),
    (
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
FELL_BACK = Result(
    replace(
        META,
        identifier="delay-nnpack",
        backend="nnpack",
        kernels=KERNELS,
        program={
            "backend_summary": "nnpack: 1 of 3 convolutions, 2 fell back",
            "backend_operators": 1,
            "unused_backend_options": "tf32",
        },
    ),
    (
        delays(NET_DELAY, 12345.6),
        *(replace(one, kernel=KERNELS[one.type]) for one in OPERATORS),
    ),
    duration_s=2.5,
)
TAINTED = Result(
    replace(META, identifier="delay-tainted", tainted=("the temperature went from 31.0 to 44.0 °C",)),
    (delays(NET_DELAY, 12345.6),),
    duration_s=2.0,
)
FEW_SAMPLES = Result(
    replace(META, identifier="delay-few"), (delays(NET_DELAY, 1_234_567.0, count=3),), duration_s=4.0
)
AB = Result(
    replace(CONTROL_META, identifier="delay-ab"),
    (
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
    """On a busy machine: the wall time beside it says something else."""
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


SLOWER = "+3.11 % (96.9 % interval +1.99 % to +4.21 %) after 12 pairs; as much by chance: p 0.0002"
SAMPLING = Sampling(
    level="iteration",
    level_reason="the programs run single iterations",
    clock="cpu",
    clock_reason="one thread computes all the time",
    rounds=25,
    core=1,
    pairs=12,
    duration_s=4.25,
    canary="the control against its own copy: unchanged, +0.10 % after 6 pairs",
)
PROGRAM = {"threads": 1, "peak_flops_per_s": 104_000_000_000, "peak_bytes_per_s": 21_400_000_000}
JUDGED = Result(
    replace(AB.meta, sampling=SAMPLING, program=PROGRAM),
    (
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
VERIFIED = replace(
    JUDGED,
    meta=replace(JUDGED.meta, run_type="verify"),
    types=(
        replace(
            JUDGED.types[0],
            confirmation=Confirmation(
                Verdict.REGRESSED, f"regressed in both stages: {SLOWER}, at first {SLOWER}", FIRST, FIRST
            ),
        ),
    ),
)
NOT_CONFIRMED = replace(
    VERIFIED,
    meta=replace(VERIFIED.meta, identifier="delay-noise"),
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
INCONCLUSIVE = Result(
    replace(
        AB.meta,
        identifier="delay-busy",
        sampling=replace(
            SAMPLING,
            level="process",
            level_reason="it does not speak the worker protocol",
            clock="wall",
            clock_reason="programs print wall time",
            canary="",
        ),
    ),
    (
        decided(
            AB.types[0],
            Verdict.INCONCLUSIVE,
            "+0.50 % after 40 pairs; a change below 4.1 % can go unnoticed",
        ),
    ),
    duration_s=120.0,
)
REGRESSED = Result(
    replace(CONTROL_META, identifier="delay-ab", run_type="regress"),
    tuple(replace(one, regressed=one.type == NET_DELAY) for one in AB.types),
    duration_s=31.0,
)
ERROR = Result(
    replace(
        META, net_name="lenet", metric="error", identifier="golden-0", input_shapes={"data": (1, 1, 28, 28)}
    ),
    (errors("softmax", 2.5e-7), errors("fc1", 0.0)),
    duration_s=0.4,
)
UNAVAILABLE = {
    "cuda": "this torch was built without CUDA: install one from the index of CUDA builds",
    "eigen": "only real Caffe2 has it: docs/caffe2.md says how to get it",
}


def on_backend(backend: str, identifier: str, typical_us: float | None, cell: BackendCell, **more) -> Result:
    meta = {"kernels": {}, "program": {}} | more.pop("meta", {})
    return Result(
        replace(META, identifier=identifier, backend=backend, cell=cell, **meta),
        (delays(NET_DELAY, typical_us),) if typical_us else (),
        duration_s=3.0,
        **more,
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
            meta={"kernels": KERNELS, "program": FELL_BACK.meta.program},
        ),
        on_backend(
            "onednn",
            identifier,
            9800.0 * scale,
            cell(0.79, None, not_compared="the reference default has no outputs: softmax.txt: no such file"),
            meta={"program": {"backend_operators": 26, "operators": 26}},
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


def golden_on(backend: str, size: float, failure: Failure | None = None) -> Result:
    types = (errors("softmax", size),)
    cell = BackendCell(
        "default", 1, answer_of="golden", errors={"softmax": types[0].error}, unavailable=UNAVAILABLE
    )
    meta = replace(ERROR.meta, net_name="squeezenet", backend=backend, cell=cell)
    return Result(meta, types, failure=failure, duration_s=0.4)


TOO_LARGE_ERROR = replace(
    ERROR,
    meta=replace(ERROR.meta, identifier="golden-1", backend="eigen"),
    types=(errors("softmax", 0.125),),
    failure=Failure(
        FailureKind.CASE,
        "ToleranceError",
        "12 of 1000 values of 'softmax' are beyond the tolerance (atol 1e-06, rtol 0.0001)",
    ),
)
FAILED = Result(
    replace(META, net_name="broken", identifier="delay-0", input_shapes={"a": (64, 3, 30, 30), "b": (4,)}),
    failure=Failure(
        FailureKind.CASE,
        "ProgramExitError",
        "the program ended with exit status 134",
        "".join(f"line {number} of the program's log\n" for number in range(1, 41)),
    ),
    warnings=("the machine is busy: load 7.5 on 2 cores",),
    duration_s=1.25,
)
DEVICE_LOST = Result(
    replace(META, identifier="delay-1", platform="phone", platform_hash="feedfeedfeed", device={}),
    failure=Failure(FailureKind.DEVICE, "DeviceError", "the device went away"),
    duration_s=9.0,
)
PIXEL = replace(META, platform="Pixel-6-0001", platform_hash="beefbeefbeef", device={})
BUG = Result(
    replace(META, identifier="delay-2"),
    failure=Failure(
        FailureKind.BUG, "KeyError", "a bug of the harness: KeyError('x')", "Traceback ...\nKeyError: 'x'"
    ),
)
NASTY = Result(
    replace(
        META,
        net_name=NASTY_NAME,
        identifier=NASTY_NAME,
        input_shapes={NASTY_NAME: (1, 2)},
        device={"cpu_model": NASTY_NAME},
        program={"backend_summary": NASTY_NAME},
        kernels={NASTY_NAME: Kernel(NASTY_NAME, own=False)},
    ),
    (delays(NET_DELAY, 5.0), delays(NASTY_NAME, 2.0)),
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
            replace(
                VERIFIED,
                meta=replace(VERIFIED.meta, run_type="regress"),
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
            replace(DEVICE_LOST, meta=replace(PIXEL, identifier="delay-tainted")),
            replace(DEVICE_LOST, meta=PIXEL),
        ),
        RunSummary(
            ExitStatus.DEVICE_FAILED, 9.0, problems=("all tests are missing on board1: Connection refused",)
        ),
    ),
    "fell_back": (
        (
            FELL_BACK,
            replace(
                FELL_BACK,
                meta=replace(FELL_BACK.meta, identifier="told-less", program={}),
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
    "nasty_backends": (
        (
            replace(
                NASTY,
                meta=replace(
                    NASTY.meta,
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
        ),
        RunSummary(ExitStatus.BENCHMARK_FAILED, 0.1),
    ),
    "nasty": ((NASTY,), RunSummary(ExitStatus.BENCHMARK_FAILED, 0.1, (NASTY_NAME,), (NASTY_NAME,))),
    "interrupted": ((DELAY,), RunSummary(ExitStatus.INTERRUPTED, 2.6)),
}
"""Name: what is reported, and the end of it."""
