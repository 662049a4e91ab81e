"""Turns samples and outputs into results, metric by metric. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from benchmarking.driver.clock import shortest_operator_ns
from benchmarking.driver.sampler import Samples, TypeSamples
from benchmarking.errors import CaseError, ProgramError, ToleranceError
from benchmarking.results.model import (
    NET_DELAY,
    ErrorStatistics,
    Sampling,
    SequentialDecision,
    Summary,
    TypeResult,
)
from benchmarking.results.plain_text import plain
from benchmarking.specs.model import ToleranceSpec
from benchmarking.statistics import summaries

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Tensors = Mapping[str, NDArray[np.float64]]
    """Maps the blob to its flattened values."""

LARGE_WHOLE_NUMBER = 100
"""From this value on, a difference of one is a rounding error."""


def delay_results(samples: Samples) -> tuple[TypeResult, ...]:
    """One result per type of the treatment; compared if the control has it too."""
    control_types = {one.type: one for one in samples.control.types} if samples.control else {}
    costs, kernels = samples.treatment.costs, samples.treatment.kernels
    facts = [arm.facts for arm in (samples.treatment, samples.control) if arm]
    shortest_us = shortest_operator_ns(*facts) / 1e3
    return tuple(
        replace(
            _delay_result(one, control_types.get(one.type), shortest_us),
            cost=costs.get(one.type),
            kernel=kernels.get(one.type),
            **{
                **_by_clock(one, control_types.get(one.type), samples.sampling),
                **_judged(samples.decisions.get(one.type)),
            },
        )
        for one in samples.treatment.types
    )


def unreported(samples: Samples) -> CaseError | None:
    """The error that the treatment lacks a suspect, which it reported in an earlier stage.

    The verdict on it has no place in the result, which must not pass without it.
    """
    reported = {one.type for one in samples.treatment.types}
    names = ", ".join(plain(name) for name in samples.decisions if name not in reported)
    if not names:
        return None
    return ProgramError(f"the treatment no longer reports what looked regressed: {names}")


def _judged(decision: SequentialDecision | None) -> dict[str, Any]:
    """The comparison is that of the decision."""
    return {"decision": decision, "comparison": decision.comparison, "too_short": False} if decision else {}


def _by_clock(
    treatment: TypeSamples, control: TypeSamples | None, sampling: Sampling | None
) -> dict[str, Any]:
    """The comparison and the summaries of the times on which it is based, if those are not wall time."""
    if sampling is None or sampling.clock == "wall":
        return {}
    arms = {"clock_summary": treatment, **({"control_clock_summary": control} if control else {})}
    times = {
        name: one.cpu_values if sampling.clock == "cpu" else one.device_values for name, one in arms.items()
    }
    if any(len(times[name]) != len(one.values) for name, one in arms.items()):
        return {}  # an operator: only its wall time is known
    found: dict[str, Any] = {name: summaries.summarize(times[name], one.pairs) for name, one in arms.items()}
    if control:
        found["comparison"] = summaries.compare(
            times["clock_summary"], treatment.pairs, times["control_clock_summary"], control.pairs
        )
    return found


def _delay_result(treatment: TypeSamples, control: TypeSamples | None, shortest_us: float) -> TypeResult:
    """``shortest_us``: operators that take less time cannot be compared."""
    summary = summaries.summarize(treatment.values, treatment.pairs)
    alone = TypeResult(
        type=treatment.type,
        unit=treatment.unit,
        summary=summary,
        values=treatment.values,
        pairs=treatment.pairs,
        cpu_values=treatment.cpu_values,
        device_values=treatment.device_values,
    )
    if control is None:
        return alone
    control_summary = summaries.summarize(control.values, control.pairs)
    too_short = treatment.type != NET_DELAY and min(summary.p50, control_summary.p50) < shortest_us
    return replace(
        alone,
        control_summary=control_summary,
        control_values=control.values,
        control_pairs=control.pairs,
        control_cpu_values=control.cpu_values,
        control_device_values=control.device_values,
        diff_summary=summaries.difference_percentiles(summary, control_summary),
        comparison=None
        if too_short
        else summaries.compare(treatment.values, treatment.pairs, control.values, control.pairs),
        too_short=too_short,
    )


def error_results(
    outputs: Tensors, control_outputs: Tensors, golden: Tensors, golden_files: Mapping[str, str]
) -> tuple[TypeResult, ...]:
    """One result per golden blob; ``control_outputs`` is empty without A/B.

    Raises:
        CaseError: an output has another number of values than the golden one; names the golden file.
    """
    whose = {blob: f"the golden file {plain(golden_files[blob])}" for blob in golden}
    for arm in (outputs, control_outputs):
        _require_same_sizes(arm, golden, whose)
    return tuple(
        TypeResult(
            type=blob,
            unit="",
            summary=summaries.summarize(outputs[blob]),
            control_summary=_golden_summary(expected),
            diff_summary=summaries.percentiles(outputs[blob] - expected),
            error=error,
            control_error=summaries.error_statistics(control_outputs[blob], expected)
            if blob in control_outputs
            else None,
        )
        for blob, expected in golden.items()
        for error in [summaries.error_statistics(outputs[blob], expected)]
    )


def _golden_summary(expected: NDArray[np.float64]) -> Summary:
    """Of its numbers, if it has any, because a single NaN would leave no percentile of them."""
    import numpy as np

    numbers = expected[~np.isnan(expected)]
    return summaries.summarize(numbers if numbers.size else expected)


def answer_errors(outputs: Tensors, expected: Tensors, whose: str) -> dict[str, ErrorStatistics]:
    """The errors of each blob in ``expected``.

    Raises:
        CaseError: an output has another number of values than what is expected.
    """
    _require_same_sizes(outputs, expected, dict.fromkeys(expected, whose))
    return {blob: summaries.error_statistics(outputs[blob], values) for blob, values in expected.items()}


def _require_same_sizes(outputs: Tensors, expected: Tensors, whose: Mapping[str, str]) -> None:
    for blob in outputs.keys() & expected.keys():
        size, expected_size = outputs[blob].size, expected[blob].size
        if size != expected_size:
            raise CaseError(f"the output {blob!r} has {size} values, but {whose[blob]} has {expected_size}")


def check_answer(outputs: Tensors, expected: Tensors, fraction: float, whose: str) -> None:
    """Checks that each output is within ``fraction`` of the largest expected value, or if all of these are 0,
    within ``NEAR_ZERO``.

    Outputs of whole numbers up to 100 or more (the bytes of an image) may differ by one, because rounding can
    go either way.

    Raises:
        ToleranceError: names every blob that is too far off, and its worst value.
    """
    complaints = []
    for blob, values in expected.items():
        allowed = _allowed_error(values, fraction)
        beyond, worst = summaries.beyond_tolerance(outputs[blob], values, allowed, 0.0)
        if beyond:
            complaints.append(
                f"{beyond} of {values.size} values of {blob!r} are more than {allowed:.3g} off {whose}; "
                f"the worst is number {worst}: {outputs[blob][worst]:.6g} instead of {values[worst]:.6g}"
            )
    if complaints:
        raise ToleranceError("; ".join(complaints))


def _allowed_error(expected: NDArray[np.float64], fraction: float) -> float:
    import numpy as np

    finite = expected[np.isfinite(expected)]
    largest = float(np.abs(finite).max()) if finite.size else 0.0
    if largest >= LARGE_WHOLE_NUMBER and bool((finite == np.round(finite)).all()):
        return max(fraction * largest, 1.0)
    return summaries.allowed_rounding(fraction, largest)


def check_tolerance(outputs: Tensors, golden: Tensors, tolerance: ToleranceSpec | None) -> None:
    """Raises:
    ToleranceError: names every blob that is too far off, and its worst value.
    """
    if tolerance is None:
        return
    complaints = []
    for blob, expected in golden.items():
        beyond, worst = summaries.beyond_tolerance(outputs[blob], expected, tolerance.atol, tolerance.rtol)
        if beyond:
            complaints.append(
                f"{beyond} of {expected.size} values of {blob!r} are beyond the tolerance "
                f"(atol {tolerance.atol:g}, rtol {tolerance.rtol:g}); the worst is number {worst}: "
                f"{outputs[blob][worst]:.9g}, golden {expected[worst]:.9g}"
            )
    if complaints:
        raise ToleranceError("; ".join(complaints))
