"""Decides whether a result looks regressed: by its pairs, or by the runs of earlier commits."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarking.driver.plan import RunPlan
from benchmarking.records.tree import History, Run
from benchmarking.regression_detectors.regression_detectors import make_detector
from benchmarking.results.model import Result, TypeResult, Verdict
from benchmarking.specs.run_info import Commit
from benchmarking.statistics import sequential

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RegressionCheck:
    """Judges delays by their pairs if there is a control, otherwise by the runs of earlier commits.

    Errors are compared with the control's, or with those of earlier runs.
    """

    history: History | None = None
    """The results saved by the local reporter; None: earlier commits are unknown."""
    commits: tuple[Commit, ...] = ()
    """The earlier commits, newest first."""
    detector: str | None = None
    """The name of the detector that judges delays by the earlier runs, even if there are pairs; None: as
    described above.
    """

    def marked(self, result: Result, plan: RunPlan) -> Result:
        """With a mark on the types that regressed, but not beyond earlier commits."""
        suspects = {one.type for one in result.types if one.verdict is Verdict.REGRESSED}
        if not suspects:
            return result
        runs = self._runs(result)
        types = [
            replace(one, known=True) if one.type in suspects and _was_known(one, runs, plan) else one
            for one in result.types
        ]
        return replace(result, types=tuple(types))

    def finished(self, result: Result, plan: RunPlan, first: Result | None = None) -> Result:
        """The outcome of a stage, before it is reported.

        Args:
            first: the result of the first stage, where this is a later one.
        """
        if first is None:
            return self.marked(result, plan)
        if plan.run_type == "verify":
            return _with_confirmations(first, self.marked(result, plan), plan.regressed_types)
        return result

    def suspects(self, result: Result) -> tuple[str, ...]:
        """The types that look regressed, in a stage that another may follow.

        Args:
            result: as ``finished``.
        """
        found = {
            name: reason for name, verdict, reason in self._judge(result) if verdict is Verdict.REGRESSED
        }
        is_first = result.provenance.run_type == "benchmark"
        what_happens = "and is run again" if is_first else "again and is run once more"
        for name, reason in found.items():
            test = f"{result.test.net} {result.test.identifier}"
            logger.warning("%s: %s looks regressed %s: %s", test, name, what_happens, reason)
        return tuple(found)

    def _judge(self, result: Result) -> list[tuple[str, Verdict, str]]:
        """Type, verdict, reason."""
        if not result.types:
            return []
        in_ab = result.test.metric == "delay" and result.provenance.control_commit is not None
        if self.detector is None and in_ab:
            judged = [(one, one.judged) for one in result.types]
            return [(one.type, how.verdict, how.reason) for one, how in judged if how and not one.known]
        runs = self._runs(result)
        detector = make_detector(result.test.metric, self.detector)
        decisions = [
            (newest.type, detector.decide([run[newest.type] for run in runs if newest.type in run], newest))
            for newest in result.types
        ]
        return [(name, one.verdict, one.reason) for name, one in decisions]

    def _runs(self, result: Result) -> Sequence[Run]:
        return self.history.runs(result, self.commits) if self.history else []


def _was_known(newest: TypeResult, runs: Sequence[Run], plan: RunPlan) -> bool:
    """Whether it is slower than the control, but no slower than the earlier commits already were.

    The earlier commits have the same known regressions between them and their controls.

    Args:
        runs: of the earlier commits, the newest first.
    """
    past = [run[newest.type] for run in runs if newest.type in run]
    ratios = [earlier.comparison.ratio for earlier in past if earlier.comparison]
    comparison = newest.comparison
    if not ratios or comparison is None or _has_returned(newest, past):
        return False
    level = statistics.median(ratios)
    interval = comparison.ratio_interval
    is_known = comparison.ratio < level * (1 + plan.comparing.plan.minimum_effect) or (
        interval is not None and interval.low <= level
    )
    if is_known:
        logger.info(
            "%s is slower than the control, but not slower than earlier commits already were", newest.type
        )
    return is_known


_DECIDED = (Verdict.REGRESSED, Verdict.UNCHANGED, Verdict.IMPROVED)


def _has_returned(newest: TypeResult, past: Sequence[TypeResult]) -> bool:
    """Whether a regression had been fixed before this commit.

    The last earlier commit with a verdict has to be as fast as the control, and clearly faster than this
    commit: by chance alone, a small regression that still exists is sometimes missed.
    """
    last = next((earlier for earlier in past if earlier.verdict in _DECIDED), None)
    if last is None or last.verdict is Verdict.REGRESSED:
        return False
    then, now = (result.comparison.ratio_interval if result.comparison else None for result in (last, newest))
    return then is not None and now is not None and then.high < now.low


def _with_confirmations(first: Result, second: Result, suspects: Sequence[str]) -> Result:
    """The result of the second stage, with the combined outcome of both stages."""
    before = {one.type: one.decision for one in first.types}

    def confirmed(one: TypeResult) -> TypeResult:
        decision = before.get(one.type)
        if one.type not in suspects or decision is None or one.decision is None:
            return one
        return replace(one, confirmation=sequential.confirm(decision, one.decision))

    return replace(second, types=tuple(confirmed(one) for one in second.types))
