"""The rule of the old platform: compares the newest p50 with the p90s of the earlier runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from benchmarking.regression_detectors.regression_detector_base import Decision, RegressionDetectorBase
from benchmarking.results.model import Percentiles, TypeResult, Verdict
from benchmarking.statistics import summaries

MINIMUM_RUNS = 3
"""With fewer runs, their p90s do not show what is usual."""


class DelayDetector(RegressionDetectorBase):
    """Regressed where p50 is above the p90 of the p90s, improved where it is below the p10 of the p10s.

    In A/B it uses the difference to the control, otherwise the delay itself. It is a coarse rule that misses
    small regressions. Its purpose is to select what is worth measuring again.
    """

    name: ClassVar[str] = "p50_p90"
    metric: ClassVar[str] = "delay"

    def decide(self, history: Sequence[TypeResult], newest: TypeResult) -> Decision:
        newest_percentiles = _percentiles(newest, in_ab=newest.diff_summary is not None)
        past = [
            percentiles
            for one in history
            if (percentiles := _percentiles(one, in_ab=newest.diff_summary is not None)) is not None
        ]
        if newest_percentiles is None or len(past) < MINIMUM_RUNS:
            return Decision(
                Verdict.INCONCLUSIVE, f"{len(past)} earlier runs; at least {MINIMUM_RUNS} are needed"
            )
        high = summaries.summarize([one.p90 for one in past]).p90
        low = summaries.summarize([one.p10 for one in past]).p10
        numbers = (
            f"p50 {newest_percentiles.p50:.6g} {newest.unit} compared with {low:.6g} to {high:.6g} "
            f"of {len(past)} earlier runs"
        )
        if newest_percentiles.p50 > high:
            return Decision(Verdict.REGRESSED, numbers)
        if newest_percentiles.p50 < low:
            return Decision(Verdict.IMPROVED, numbers)
        return Decision(Verdict.UNCHANGED, numbers)


def _percentiles(one: TypeResult, *, in_ab: bool) -> Percentiles | None:
    return one.diff_summary if in_ab else one.summary
