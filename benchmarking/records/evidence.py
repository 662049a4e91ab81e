"""What saved runs of two versions say of each other: their A/B run, or their ratios to controls.

Pure functions, shared by the local tree and the results server.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import NamedTuple

from benchmarking.records.comparison import PairedVerdict, Scatter, Sides, run_to_run_scatter
from benchmarking.records.series import Moment
from benchmarking.results.model import NORMAL_RUN, Interval, Verdict
from benchmarking.statistics.change_points import MINIMUM_EFFECT, MINIMUM_RUNS
from benchmarking.statistics.sequential import SequentialPlan

RULED_OUT = SequentialPlan.target_change


class SavedRun(NamedTuple):
    """One type of one run. The fields are those of ``Point``, ``Provenance`` and ``TypeResult``."""

    series: int
    """The number of its series in the index or the database."""
    commit_name: str
    commit_time: int
    position: int | None
    time: int
    run_type: str
    run_uid: str
    uid: str
    branch: str
    """Empty if it is not known."""
    value: float
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    ratio_confidence: float | None
    control_commit: str | None
    control_commit_time: int | None
    verdict: str | None
    is_verification: bool
    is_confirmed: bool
    """A confirmed regression."""
    tainted: bool
    reference: str
    """In a run on several backends: the backend that ``ratio`` is relative to; else empty."""

    @property
    def moment(self) -> Moment:
        return self.commit_name, self.commit_time

    @property
    def ratio_to_control(self) -> float | None:
        return None if self.reference else self.ratio


Runs = Sequence[SavedRun]


def normal(runs: Runs) -> Runs:
    """Without verifications; without tainted runs, if there are others."""
    if len(runs) == 1 and runs[0].run_type == NORMAL_RUN:  # as a rule, and a page has thousands
        return runs
    found = [one for one in runs if one.run_type == NORMAL_RUN]
    return [one for one in found if not one.tainted] or found


# --- the A/B run of the two ---------------------------------------------------------------------------------


def paired(base: Runs, head: Runs) -> PairedVerdict | None:
    """What an A/B run of the two, or a run on both backends, said; None if there is none."""
    found = _side_by_side(base, head)
    return None if found is None or found.verdict is Verdict.NOT_COMPARABLE else found


def _side_by_side(base: Runs, head: Runs) -> PairedVerdict | None:
    direct = [one for one in head if one.control_commit == base[0].commit_name and one.verdict]
    if direct:
        return _verdict(direct)
    reverse = [one for one in base if one.control_commit == head[0].commit_name and one.verdict]
    if reverse:
        return _verdict(reverse).reversed()
    return _beside(base, head) or ((found := _beside(head, base)) and found.reversed())


def _verdict(runs: Runs) -> PairedVerdict:
    """Of the newest of several, and of its verification; a regression that was once confirmed stays."""
    places = [index for index, one in enumerate(runs) if one.run_type == NORMAL_RUN]
    latest = runs[places[-1] if places else 0 :]
    one = next((run for run in reversed(latest) if run.is_verification), latest[0])
    verdict = Verdict.REGRESSED if any(run.is_confirmed for run in runs) else Verdict(one.verdict or "")
    return PairedVerdict(verdict, one.ratio, _interval(one))


def _beside(base: Runs, head: Runs) -> PairedVerdict | None:
    """HEAD relative to BASE, if BASE was the reference of the same run on several backends."""
    for one in reversed(head):
        if not one.reference or not one.ratio or not (interval := _interval(one)):
            continue
        if one.run_uid in {other.run_uid for other in base if other.run_uid and not other.reference}:
            return PairedVerdict(_verdict_of(one.ratio, interval), one.ratio, interval)
    return None


def _verdict_of(ratio: float, interval: Interval) -> Verdict:
    if (
        1 / (1 + RULED_OUT) < interval.low <= interval.high < 1 + RULED_OUT
        and abs(ratio - 1) < MINIMUM_EFFECT
    ):
        return Verdict.UNCHANGED
    if interval.low <= 1 <= interval.high:
        return Verdict.INCONCLUSIVE
    return Verdict.REGRESSED if ratio > 1 else Verdict.IMPROVED


def _interval(one: SavedRun) -> Interval | None:
    if one.ratio_low is None or one.ratio_high is None or one.ratio_confidence is None:
        return None
    return Interval(one.ratio_low, one.ratio_high, one.ratio_confidence)


# --- ratios to controls -------------------------------------------------------------------------------------


def are_relative(base: Runs, head: Runs) -> bool:
    """Whether the normal runs of two versions, all of one series, were all compared with a control."""
    return base[0].series == head[0].series and all(one.ratio_to_control for one in (*base, *head))


def by_ratios(base: Runs, head: Runs, history: Iterable[SavedRun], scatter: Scatter) -> Sides | None:
    """The ratios of two versions to their controls, which do not depend on how busy the machine was.

    Different controls are related by their own runs, which have controls in turn, until both sides reach the
    same control. Each run in between adds its error. None if they never do.

    Args:
        base, head: normal runs for which ``are_relative`` holds. The last of each counts.
        history: normal runs of the series, at least those that lead from one control to the other; of those
            of one commit the last counts. None are needed if the controls are the same.
        scatter: of the ratios (``ratio_scatter``).
    """
    if base[-1].control_commit == head[-1].control_commit:
        return Sides(
            [base[-1].ratio or math.nan], [head[-1].ratio or math.nan], None, scatter, is_relative=True
        )
    related = {one.commit_name: one for one in history if one.ratio_to_control}
    before, after = _chain(base[-1], related), _chain(head[-1], related)
    if before[-1].control_commit != after[-1].control_commit:
        return None
    while before and after and before[-1] == after[-1]:
        before.pop()
        after.pop()
    links = sum(max(len(one) - 1, 0) for one in (before, after))
    widened = replace(scatter, deviation=scatter.deviation * math.sqrt(1 + links / 2))
    return Sides([_product(before)], [_product(after)], scatter=widened, is_relative=True)


def _product(chain: Runs) -> float:
    return math.prod(one.ratio or math.nan for one in chain)


def _chain(run: SavedRun, related: Mapping[str, SavedRun]) -> list[SavedRun]:
    """The run, that of its control, and so on; of a control without a run, the newest older one."""
    chain = [run]
    while (found := _control(chain[-1], related)) is not None and found not in chain:
        chain.append(found)
    return chain


def _control(run: SavedRun, related: Mapping[str, SavedRun]) -> SavedRun | None:
    time = run.control_commit_time
    if run.control_commit is None or time is None:
        return None
    own = related.get(run.control_commit)
    if own is not None or not related:
        return own
    older = (one for one in related.values() if one.commit_time <= time)
    return max(older, key=lambda one: (one.commit_time, one.position or 0), default=None)


# --- scatter ------------------------------------------------------------------------------------------------


class Measured(NamedTuple):
    """What the scatter of a series needs of an untainted normal run."""

    commit: Hashable
    commit_time: int
    position: int | None
    value: float
    ratio: float | None
    """To the control, if there is one."""
    control: Hashable


def value_scatter(runs: Iterable[Measured]) -> Scatter | None:
    """Of the last run of each commit. Of every run if there are too few commits, although runs that were made
    one after another scatter less.

    Args:
        runs: of each commit the last run last.
    """
    positive = [one for one in sorted(runs, key=_order) if one.value > 0]
    of_commits = {(one.commit, one.commit_time): one.value for one in positive}
    if len(of_commits) >= MINIMUM_RUNS:
        return run_to_run_scatter([*of_commits.values()])
    return run_to_run_scatter([one.value for one in positive])


def ratio_scatter(runs: Iterable[Measured]) -> Scatter | None:
    """Of the last ratio of each commit, between neighbours that have the same control.

    Args:
        runs: of each commit the last run last.
    """
    of_commits = {(one.commit, one.commit_time): one for one in sorted(runs, key=_order)}
    kept = [one for one in of_commits.values() if one.ratio is not None and one.ratio > 0]
    changes = (after.control != before.control for before, after in pairwise(kept))
    segments = [*accumulate(changes, initial=0)]
    return run_to_run_scatter([one.ratio or 1.0 for one in kept], segments[: len(kept)])


def _order(one: Measured) -> tuple[float, int]:
    """Commits with a position come after those without, whose repository is not known."""
    return (-math.inf if one.position is None else one.position), one.commit_time
