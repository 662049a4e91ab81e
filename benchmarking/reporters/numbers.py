"""Formats numbers for people, in the same way in every report."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from benchmarking.errors import run_meaning
from benchmarking.reporters.reporter_base import RunSummary
from benchmarking.results.model import (
    Clock,
    Comparison,
    Cost,
    Fact,
    Interval,
    Result,
    Sampling,
    Summary,
    TypeResult,
    greatest,
)
from benchmarking.statistics.sequential import FALSE_ALARMS_PER_RUN

SHOWN_NAMES = 3
"""The number of operators that are named; the others are counted."""

_OPERATOR_NAME = re.compile(r"ID_\d+_([A-Za-z0-9+]+)_(.*)", re.DOTALL)
_HASH = re.compile("[0-9a-f]{40}")
CLOCK_NAMES: dict[Clock, str] = {"cpu": "CPU time", "wall": "wall time", "device": "device time"}
_UNITS = ((1e6, "s"), (1e3, "ms"), (1.0, "us"))


def duration(value_us: float) -> str:
    """``12.3 ms``: at least three digits, in a suitable unit."""
    scale, unit = next((one for one in _UNITS if abs(value_us) >= one[0]), _UNITS[-1])
    return f"{_three_digits(value_us / scale)} {unit}"


def memory(amount_bytes: float) -> str:
    """``81 MiB``."""
    return f"{_three_digits(amount_bytes / 2**20)} MiB"


def duration_range(interval: Interval) -> str:
    """Both ends in the unit of the upper end: ``12.1 to 12.6 ms``."""
    scale, unit = next((one for one in _UNITS if abs(interval.high) >= one[0]), _UNITS[-1])
    return f"{_three_digits(interval.low / scale)} to {_three_digits(interval.high / scale)} {unit}"


def median_interval(summary: Summary) -> str:
    return duration_range(summary.median_interval) if summary.median_interval else "too few samples"


def percent(ratio: float) -> str:
    """The change that corresponds to a ratio: 1.031 is ``+3.1 %``."""
    return f"{(ratio - 1) * 100:+.1f} %"


def percent_interval(interval: Interval) -> str:
    """``[+2.0 %, +4.2 %]``."""
    return f"[{percent(interval.low)}, {percent(interval.high)}]"


def change(comparison: Comparison) -> str:
    """``+3.1 % [+2.0 %, +4.2 %]``."""
    interval = comparison.ratio_interval
    return percent(comparison.ratio) + (f" {percent_interval(interval)}" if interval else "")


def clock_name(net: TypeResult, sampling: Sampling | None) -> str:
    """The clock of the times in ``net.judged_summary``."""
    return CLOCK_NAMES[sampling.clock] if sampling and net.clock_summary else CLOCK_NAMES["wall"]


def overview_delay(result: Result) -> str:
    """The net's median; if two programs were compared, by the clock on which the verdict is based."""
    net = result.net
    if net is None:
        return ""
    is_named = net.judged or net.clock_summary
    clock = f" {clock_name(net, result.sampling).removesuffix(' time')}" if is_named else ""
    return duration(net.judged_summary.p50) + clock


def largest_error(result: Result) -> str:
    errors = [one.error.max_absolute for one in result.types if one.error]
    return error(greatest(errors) or 0.0) if errors else ""


def threads(result: Result) -> str:
    """``1 thread``, if the program reports it."""
    count = result.program.facts.get("threads")
    return counted(count, "thread") if isinstance(count, int) else ""


def versions(result: Result) -> str:
    """For a comparison: ``8f1c2d3e4a5b compared with 1f0c5a3b9d72``."""
    commit, control = result.provenance.commit, result.provenance.control_commit
    return f"{short_commit(commit)} compared with {short_commit(control)}" if control is not None else ""


def short_commit(commit: str) -> str:
    """The first digits of a hash; names are not shortened."""
    return commit[:12] if _HASH.fullmatch(commit) else commit


def sampling(how: Sampling, block: str = "pair") -> list[str]:
    """Lines on how programs were compared, and on the reliability of the comparison."""
    if how.level == "iteration":
        where = "" if how.core is None else f" on core {how.core}"
        way = f"{counted(how.pairs, block)} of {how.rounds} iterations in turn{where}"
    else:
        way = f"{counted(how.pairs, block)} of whole processes (process-level: {how.level_reason})"
    return [
        f"{way}, {how.duration_s:.1f} s, by {CLOCK_NAMES[how.clock]}: {how.clock_reason}",
        *([f"canary: {how.canary}"] if how.canary else []),
    ]


def test_name(result: Result) -> str:
    """The beginning of a line about one result."""
    on = f" with {result.arm}" if result.arm else ""
    stage = "" if result.provenance.run_type == "benchmark" else f" ({result.provenance.run_type})"
    return f"{result.test.name}{on} on {result.device.name}{stage}"


def closing(tests: Sequence[Result], summary: RunSummary) -> str:
    """A run in one line: ``3 passed, 1 failed in 12.3 s; at least one test failed``.

    Args:
        tests: the last result of each.
    """
    counted = counts(Counter(result.outcome for result in tests))
    line = f"{counted} in {summary.duration_s:.1f} s"
    if summary.exit_status == 0:
        return line
    return f"{line}; {run_meaning(summary.exit_status, has_results=bool(tests))}"


def guarantee(results: Sequence[Result]) -> str:
    """The error bound of a run of comparisons (docs/statistics.md); empty if none was made."""
    if not any(result.sampling and result.provenance.control_commit for result in results):
        return ""
    return (
        f"with identical programs, at most {100 * FALSE_ALARMS_PER_RUN:g} % of such runs confirm a regression"
    )


def confidence(interval: Interval) -> str:
    """The coverage of the interval, as ``95 %``, rounded down."""
    return f"{int(interval.confidence * 1000) / 10:g} %"


def error(value: float) -> str:
    return f"{value:.3g}"


def throughput(cost: Cost, time_us: float) -> str:
    """``71.3 GFLOP/s``; empty for operators that only move data."""
    return f"{_three_digits(cost.flops / time_us / 1e3)} GFLOP/s" if cost.flops and time_us else ""


def share_of_peak(cost: Cost, time_us: float, program: Mapping[str, Fact]) -> str:
    """How close the speed is to its limit in the roofline model: ``62 % compute`` or ``80 % memory``.

    Empty if the program did not report the peaks of the device. Data that stay in a cache can be faster than
    memory.
    """
    shares = {}
    for what, amount, peak in (
        ("compute", cost.flops, program.get("peak_flops_per_s")),
        ("memory", cost.bytes, program.get("peak_bytes_per_s")),
    ):
        if isinstance(peak, int | float) and peak > 0 and time_us:
            shares[what] = amount / (time_us / 1e6) / peak
    if not shares:
        return ""
    what = max(shares, key=lambda one: shares[one])
    return f"{100 * shares[what]:.0f} % {what}"


def operator(name: str) -> tuple[str, str]:
    """The type and the name: ``Conv`` and ``conv1`` for ``ID_0_Conv_conv1``."""
    match = _OPERATOR_NAME.fullmatch(name)
    return (match.group(1), match.group(2)) if match else ("", name)


def ran_on(result: Result) -> str:
    """Whether the requested backend really ran, if the program reports it; otherwise empty."""
    summary = result.program.facts.get("backend_summary")
    if isinstance(summary, str) and summary:
        return summary
    if not result.program.kernels:
        return ""
    own, count = result.program.own_kernels, len(result.program.kernels)
    return f"{result.test.backend or 'the backend'}: {own} of {count} operators"


def unused_options(result: Result) -> str:
    """The options for backends in the specification that this backend does not have; or empty."""
    unused = result.program.facts.get("unused_backend_options")
    return (
        f"without effect here, because {result.test.backend or 'the backend'} has no such option: {unused}"
        if unused
        else ""
    )


def fallbacks(result: Result) -> list[str]:
    """Operators of types that the backend has kernels for, but which did not run on it, grouped by the kernel
    that ran instead: ``Conv conv1, Conv conv5 fell back to gemm``.
    """
    kinds = _own_kinds(result)
    by_kernel: dict[str, list[str]] = {}
    for name, kernel in result.program.kernels.items():
        kind, short = operator(name)
        if not kernel.own and (kind in kinds or not kind):
            by_kernel.setdefault(kernel.name, []).append(f"{kind} {short}".strip())
    lines = []
    for kernel_name, names in by_kernel.items():
        more = len(names) - SHOWN_NAMES
        shown = ", ".join(names[:SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")
        lines.append(f"{shown} fell back to {kernel_name}")
    return lines


def without_kernels(result: Result) -> str:
    """The types of operators that never ran on the backend: ``no kernels for 26 Relu``; or empty."""
    kinds = Counter(operator(name)[0] for name, kernel in result.program.kernels.items() if not kernel.own)
    own = _own_kinds(result)
    notes = [f"{count} {kind}" for kind, count in kinds.most_common() if kind and kind not in own]
    return f"no kernels for {', '.join(notes)}" if notes else ""


def _own_kinds(result: Result) -> set[str]:
    return {operator(name)[0] for name, kernel in result.program.kernels.items() if kernel.own}


def shapes(result: Result) -> str:
    """``data 1x3x224x224``."""
    return ", ".join(f"{blob} {shape(sizes)}" for blob, sizes in result.workload.input_shapes.items())


def short_shapes(result: Result) -> str:
    """``1x3x224x224``."""
    return ", ".join(shape(sizes) for sizes in result.workload.input_shapes.values())


def shape(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes)) or "scalar"


def counted(number: int, what: str) -> str:
    """``1 pair``, ``2 pairs``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def counts(numbers: Mapping[str, int]) -> str:
    """``3 passed, 1 failed``."""
    return ", ".join(f"{number} {what}" for what, number in numbers.items() if number) or "no tests"


def _three_digits(value: float) -> str:
    size = abs(value)
    if 0 < size < 0.1:
        return f"{value:.2g}"  # a small number is not nothing
    return f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"
