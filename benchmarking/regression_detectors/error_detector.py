"""Detects an error against the golden output that is larger than the control's, or than that of
earlier runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from benchmarking.regression_detectors.regression_detector_base import Decision, RegressionDetectorBase
from benchmarking.results.model import ErrorStatistics, TypeResult, Verdict
from benchmarking.statistics import summaries

GROWTH = 1.5
"""A smaller growth is not significant: another order of the same sums changes the largest of many rounding
errors by tens of percent, at any precision.
"""
ROUNDING = 64 * 2.0**-23
"""Relative to the largest golden value: 64 units in the last place of float32. This is the rounding error of
a net's sums of thousands of products; an error below it says nothing about the program.
"""


class ErrorDetector(RegressionDetectorBase):
    """Regressed if the largest error, or the root mean square error, grew beyond rounding.

    In A/B, the error is compared with the control's error of the same run, because both used the same files
    on the same device; otherwise with those of the earlier runs. An output is the same in every run of a
    program, so one run is enough.
    """

    name: ClassVar[str] = "error"
    metric: ClassVar[str] = "error"

    def decide(self, history: Sequence[TypeResult], newest: TypeResult) -> Decision:
        if newest.error is None:
            return Decision(Verdict.INCONCLUSIVE, "the newest run has no error statistics")
        if newest.control_error is not None:
            known, whose = [newest.control_error], "the control's"
        else:
            known, whose = [run.error for run in history if run.error], "the earlier runs'"
        if not known:
            return Decision(Verdict.INCONCLUSIVE, "neither a control nor an earlier run to compare with")
        rounding = summaries.allowed_rounding(ROUNDING, _largest_golden(newest))
        before = list(zip(*map(_sizes, known), strict=True))
        pairs = list(zip(_sizes(newest.error), before, strict=True))
        numbers = ", ".join(
            f"{name} error {error:.6g} compared with {whose} {_range(errors)}"
            for name, (error, errors) in zip(_SIZES, pairs, strict=True)
        )
        if any(_is_larger(error, max(errors), rounding) for error, errors in pairs):
            return Decision(Verdict.REGRESSED, numbers)
        if any(_is_larger(min(errors), error, rounding) for error, errors in pairs):
            return Decision(Verdict.IMPROVED, numbers)
        return Decision(Verdict.UNCHANGED, numbers)


_SIZES = ("max absolute", "root mean square")


def _sizes(one: ErrorStatistics) -> tuple[float, ...]:
    """NaN counts as infinitely wrong."""
    return tuple(
        size if math.isfinite(size) else math.inf for size in (one.max_absolute, one.root_mean_square)
    )


def _is_larger(error: float, than: float, rounding: float) -> bool:
    return error > GROWTH * than and error - than > rounding


def _range(errors: Sequence[float]) -> str:
    low, high = f"{min(errors):.6g}", f"{max(errors):.6g}"
    return low if low == high else f"{low} to {high}"


def _largest_golden(newest: TypeResult) -> float:
    """The largest finite one that the summary shows; 0 if none is known."""
    golden = newest.control_summary
    if golden is None:
        return 0.0
    shown = (golden.p0, golden.p10, golden.p50, golden.p90, golden.p95, golden.p99, golden.p100)
    return max((abs(one) for one in shown if math.isfinite(one)), default=0.0)
