"""A larger error against the golden output than any run before it had."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from benchmarking.regression_detectors.regression_detector_base import Decision, RegressionDetectorBase
from benchmarking.results import TypeResult, Verdict


class ErrorDetector(RegressionDetectorBase):
    """Compares the largest absolute error with the control's and with those of the earlier runs.

    An output is the same in every run of one program, so a single earlier run is enough.
    """

    metric: ClassVar[str] = "error"

    def decide(self, history: Sequence[TypeResult], newest: TypeResult) -> Decision:
        if newest.error is None:
            return Decision(Verdict.INCONCLUSIVE, "the newest run has no error statistics")
        known = [one.max_absolute for one in (newest.control_error, *(run.error for run in history)) if one]
        if not known:
            return Decision(Verdict.INCONCLUSIVE, "neither a control nor an earlier run to compare with")
        error = newest.error.max_absolute
        numbers = f"max absolute error {error:.6g} against {min(known):.6g} to {max(known):.6g} before"
        if math.isnan(error) or error > max(known):
            return Decision(Verdict.REGRESSED, numbers)
        if error < min(known):
            return Decision(Verdict.IMPROVED, numbers)
        return Decision(Verdict.UNCHANGED, numbers)
