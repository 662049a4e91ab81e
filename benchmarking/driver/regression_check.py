"""Detect, verify, confirm: a suspicion is run again before it is called a regression."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from benchmarking.driver.plan import RunPlan
from benchmarking.regression_detectors.regression_detectors import make_detector
from benchmarking.result_tree import History
from benchmarking.results import Result, Verdict
from benchmarking.run_info import Commit

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RegressionCheck:
    """Judges results by the history of earlier commits that the local reporter has saved."""

    history: History
    commits: tuple[Commit, ...]
    """The earlier commits, newest first."""
    detector: str | None = None
    """Its name; None: the default of the metric."""

    def follow_up(
        self, first: Result, plan: RunPlan, run_with: Callable[[RunPlan], Result]
    ) -> Sequence[Result]:
        """Runs a suspicious case again (``verify``); what is suspicious again is confirmed (``regress``)."""
        suspects = self._suspects(first)
        if not suspects:
            return []
        verification = run_with(replace(plan, run_type="verify", regressed_types=suspects))
        confirmed = tuple(one for one in self._suspects(verification) if one in suspects)
        if not confirmed:
            return [verification]
        return [verification, run_with(replace(plan, run_type="regress", regressed_types=confirmed))]

    def _suspects(self, result: Result) -> tuple[str, ...]:
        detector = make_detector(result.meta.metric, self.detector)
        runs = self.history.runs(result.meta, self.commits)
        suspects = []
        for newest in result.types:
            past = [run[newest.type] for run in runs if newest.type in run]
            decision = detector.decide(past, newest)
            if decision.verdict is Verdict.REGRESSED:
                suspects.append(newest.type)
                logger.warning(
                    "%s %s: %s looks regressed: %s",
                    result.meta.net_name,
                    result.meta.identifier,
                    newest.type,
                    decision.reason,
                )
        return tuple(suspects)
