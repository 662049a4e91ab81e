"""Change points over the earlier runs and the newest: finds small steps after several runs have
shown them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from benchmarking.regression_detectors.regression_detector_base import Decision, RegressionDetectorBase
from benchmarking.results.model import TypeResult, Verdict
from benchmarking.statistics.change_points import (
    MINIMUM_RUNS,
    ChangePoint,
    Creep,
    find_change_points,
    find_creep,
)


class ChangePointDetector(RegressionDetectorBase):
    """Regressed if the newest run is the run that makes a step, or a creep, certain.

    Every step is therefore reported once, at the earliest ``MINIMUM_RUNS`` runs after it happened. In A/B it
    uses the ratio to the control, otherwise the median.
    """

    name: ClassVar[str] = "change_points"
    metric: ClassVar[str] = "delay"

    def decide(self, history: Sequence[TypeResult], newest: TypeResult) -> Decision:
        in_ab = newest.comparison is not None
        newest_value = _value(newest, in_ab=in_ab)
        if newest_value is None or not math.isfinite(
            newest_value
        ):  # else an earlier run would be judged again
            return Decision(Verdict.INCONCLUSIVE, "the newest run has no finite value")
        known = (_value(one, in_ab=in_ab) for one in (*reversed(history), newest))
        values = [one for one in known if one is not None and math.isfinite(one)]
        if len(values) < 2 * MINIMUM_RUNS:
            return Decision(
                Verdict.INCONCLUSIVE, f"{len(values)} runs; at least {2 * MINIMUM_RUNS} are needed"
            )
        # Not only the previous run: a change that is barely certain comes and goes with the noise.
        past = [one for ago in range(1, MINIMUM_RUNS + 1) for one in _changes(values[:-ago])]
        new = [one for one in _changes(values) if not any(_is_same(one, other) for other in past)]
        if not new:
            return Decision(Verdict.UNCHANGED, f"no new change in {len(values)} runs")
        latest = max(new, key=_first_index)
        reason = _sentence(latest, len(values))
        return Decision(Verdict.REGRESSED if latest.after > latest.before else Verdict.IMPROVED, reason)


def _value(one: TypeResult, *, in_ab: bool) -> float | None:
    if not in_ab:
        return one.summary.p50
    return one.comparison.ratio if one.comparison else None


def _changes(values: Sequence[float]) -> list[ChangePoint | Creep]:
    steps = find_change_points(values)
    return [*steps, *find_creep(values, steps)]


def _is_same(one: ChangePoint | Creep, other: ChangePoint | Creep) -> bool:
    """Whether a change is found again: a creep grows and a step may move, but two changes are never closer
    than the shortest level.
    """
    if type(one) is not type(other) or (one.after > one.before) != (other.after > other.before):
        return False
    return isinstance(one, Creep) or abs(_first_index(one) - _first_index(other)) < MINIMUM_RUNS


def _first_index(one: ChangePoint | Creep) -> int:
    return one.first_bad if isinstance(one, Creep) else one.index


def _sentence(one: ChangePoint | Creep, count: int) -> str:
    kind = "creep" if isinstance(one, Creep) else "step"
    change = f" ({one.after / one.before - 1:+.1%})" if one.before else ""
    size = f"a {kind} from {one.before:.6g} to {one.after:.6g}{change}"
    since = f"shown by the newest {count - _first_index(one)} of {count} runs"
    return f"{size} {since}, p {one.p_value:.0e}, {one.deviations:.1f} standard deviations"
