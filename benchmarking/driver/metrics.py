"""From samples and outputs to results, metric by metric. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from benchmarking import stats
from benchmarking.driver.sampler import Samples, TypeSamples
from benchmarking.errors import ToleranceError
from benchmarking.results import SequentialDecision, TypeResult
from benchmarking.specs.model import ToleranceSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Tensors = Mapping[str, NDArray[np.float64]]
    """Flattened values by blob."""


def delay_results(samples: Samples) -> tuple[TypeResult, ...]:
    """One result per type that the treatment has; compared where the control has it too."""
    control_types = {one.type: one for one in samples.control.types} if samples.control else {}
    costs, kernels = samples.treatment.costs, samples.treatment.kernels
    return tuple(
        replace(
            _delay_result(one, control_types.get(one.type)),
            cost=costs.get(one.type),
            kernel=kernels.get(one.type),
            **_judged(samples.decisions.get(one.type)),
        )
        for one in samples.treatment.types
    )


def _judged(decision: SequentialDecision | None) -> dict[str, Any]:
    """The comparison is that of the decision, which may rest on another clock than the samples."""
    return {"decision": decision, "comparison": decision.comparison} if decision else {}


def _delay_result(treatment: TypeSamples, control: TypeSamples | None) -> TypeResult:
    summary = stats.summarize(treatment.values, treatment.pairs)
    alone = TypeResult(
        type=treatment.type,
        unit=treatment.unit,
        summary=summary,
        values=treatment.values,
        pairs=treatment.pairs,
        cpu_values=treatment.cpu_values,
    )
    if control is None:
        return alone
    control_summary = stats.summarize(control.values, control.pairs)
    return replace(
        alone,
        control_summary=control_summary,
        control_values=control.values,
        control_pairs=control.pairs,
        control_cpu_values=control.cpu_values,
        diff_summary=stats.difference_percentiles(summary, control_summary),
        comparison=stats.compare(treatment.values, treatment.pairs, control.values, control.pairs),
    )


def error_results(outputs: Tensors, control_outputs: Tensors, golden: Tensors) -> tuple[TypeResult, ...]:
    """One result per golden blob; ``control_outputs`` is empty without A/B.

    Raises:
        CaseError: an output has another number of values than the golden one.
    """
    return tuple(
        TypeResult(
            type=blob,
            unit="",
            summary=stats.summarize(outputs[blob]),
            control_summary=stats.summarize(expected),
            diff_summary=stats.percentiles(outputs[blob] - expected),
            error=error,
            control_error=stats.error_statistics(control_outputs[blob], expected)
            if blob in control_outputs
            else None,
        )
        for blob, expected in golden.items()
        for error in [stats.error_statistics(outputs[blob], expected)]
    )


def check_tolerance(outputs: Tensors, golden: Tensors, tolerance: ToleranceSpec | None) -> None:
    """Raises:
    ToleranceError: names every blob that is too far off, and its worst value.
    """
    if tolerance is None:
        return
    complaints = []
    for blob, expected in golden.items():
        beyond, worst = stats.beyond_tolerance(outputs[blob], expected, tolerance.atol, tolerance.rtol)
        if beyond:
            complaints.append(
                f"{beyond} of {expected.size} values of {blob!r} are beyond the tolerance "
                f"(atol {tolerance.atol:g}, rtol {tolerance.rtol:g}); the worst is number {worst}: "
                f"{outputs[blob][worst]:.9g}, golden {expected[worst]:.9g}"
            )
    if complaints:
        raise ToleranceError("; ".join(complaints))
