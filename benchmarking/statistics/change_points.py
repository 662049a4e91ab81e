"""Finds where a series changed its level, and where it drifts: pure functions on arrays.

Candidates come from e-divisive (Matteson and James, A nonparametric approach for multiple change point
analysis of multivariate data, JASA 109, 2014), which tests by permutations. As in Fleming et al., Hunter:
using change point detection to hunt for performance regressions (ICPE 2023), Student's t-test replaces the
permutations: it is cheaper, gives the same results on the same series, and resolves p-values far below what
permutations can.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAXIMUM_P = 1e-6
"""The level of the t-test between the two sides of a change. It is far below 5 %, because the test is made at
every commit of every series, and the runs of a machine are less independent than the test assumes.
"""
MINIMUM_DEVIATIONS = 2.0
"""The minimum size of a change in standard deviations of single runs, estimated as 1.4826 MAD."""
MINIMUM_EFFECT = 0.01
"""The minimum size of a change as a fraction of the level before it."""
MINIMUM_RUNS = 8
"""The minimum number of runs on either side of a change. Up to half as many outliers in a row are therefore
not a level.
"""
NEIGHBOURHOOD = 25
"""The number of runs on each side of a change that are compared: runs further away saw another machine."""

LINK_DEVIATIONS = 3.0
"""The increase of that size at a link (see ``find_change_points``), as the hypotenuse: the level after the
link carries the error of the control's own run, which is one deviation.
"""
LINK_REACH = 3
"""In runs; e-divisive locates a small step to within this distance."""

MINIMUM_CREEP_DEVIATIONS = 3.0
"""For a creep: a machine drifts, and an apparent creep may be a drift that happens to end away from the base.
"""
STAIRS = 3
"""This number of steps in a row in one direction is also a creep."""

_CANDIDATE_P = 1e-3
"""Lenient: a step is only clear once its neighbours are found as well."""
_WINDOW = 400
"""The number of runs that are searched at once for candidates, with half of them overlapping: the cost grows
with its square.
"""
_MAD_TO_DEVIATION = 1.4826
"""The factor for the normal distribution (Rousseeuw and Croux, Alternatives to the median absolute deviation,
JASA 88, 1993).
"""


@dataclass(frozen=True)
class ChangePoint:
    index: int
    """The index of the first value of the new level; the value before it is the last value of the old level.
    """
    before: float
    """The median of the neighbourhood before it, and of the neighbourhood that begins with it, in the unit of
    the series.
    """
    after: float
    p_value: float
    """The probability that two neighbourhoods of one level differ by as much (Student's t-test, two-sided).
    """
    deviations: float
    """The size in standard deviations of single runs."""


@dataclass(frozen=True)
class Creep:
    """A drift in steps too small to be found individually, or in many steps."""

    last_good: int
    first_bad: int
    """The index from which on the level differs from the base by at least ``MINIMUM_EFFECT``."""
    before: float
    """The median of the base, and of the newest runs of the segment."""
    after: float
    p_value: float
    deviations: float


def find_change_points(values: Sequence[float], links: Sequence[int] = ()) -> tuple[ChangePoint, ...]:
    """The changes of level of a series of finite values, oldest first.

    Positive values are compared by their logarithms, so that a change of 3 % is the same at any level, and
    the unit does not matter.

    Args:
        values: one per commit, in the order of the commits.
        links: the indexes at which values begin to rest on another control than those before. There, the
            level carries the error of single runs, and a change has to be larger.
    """
    logs = _comparable(values)
    candidates = _candidates(logs)
    known: dict[tuple[int, int, int], ChangePoint | None] = {}
    while True:
        edges = [0, *candidates, len(logs)]
        found: list[ChangePoint | None] = []
        for key in zip(edges, edges[1:], edges[2:], strict=False):
            if key not in known:
                known[key] = _change_at(values, logs, *key)
            found.append(known[key])
        doubtful = {
            place: math.inf if one is None else one.p_value
            for place, one in enumerate(found)
            if one is None or not _is_certain(one, links)
        }
        if not doubtful:
            return tuple(one for one in found if one is not None)
        # The weakest goes first: the two sides of it are one level now and are judged again.
        del candidates[max(doubtful, key=lambda place: doubtful[place])]


def find_creep(
    values: Sequence[float], changes: Sequence[ChangePoint], links: Sequence[int] = ()
) -> tuple[Creep, ...]:
    """Slow drifts: segments between two changes whose newest runs differ from the base, and several changes
    in the same direction.

    Args:
        values, links: as for ``find_change_points``.
        changes: what that found in them.
    """
    logs = _comparable(values)
    edges = [0, *(one.index for one in changes), len(logs)]
    between = (_creep_between(values, logs, first, end, links) for first, end in pairwise(edges))
    stairs = (_stairs(flight) for flight in _flights(changes))
    found = [one for one in (*between, *stairs) if one is not None]
    return tuple(sorted(found, key=lambda one: (one.last_good, one.first_bad)))


def divergence(logs: NDArray[np.float64], minimum: int) -> tuple[int, int, float]:
    """The split with the largest sample divergence (Matteson and James, equations 5 and 7, with alpha = 1).

    With A the first t values, B those from t to k, and E the mean distance over pairs of different values,

        Q(t, k) = |A| |B| / (|A| + |B|) * (2 E|a - b| - E|a - a'| - E|b - b'|)

    is largest where A and B differ most. k may lie before the end: a level that comes and goes would else
    hide in the mean of what follows it.

    Args:
        logs: of shape (n,) with n >= 2 ``minimum``.
        minimum: the fewest values at either side, 2 or more.

    Returns:
        t, k and Q(t, k); the first of equals.
    """
    import numpy as np

    count = len(logs)
    sums = np.zeros((count + 1, count + 1))
    sums[1:, 1:] = np.abs(logs[:, None] - logs[None, :]).cumsum(axis=0).cumsum(axis=1)
    splits = np.arange(minimum, count - minimum + 1)[:, None]
    ends = np.arange(2 * minimum, count + 1)[None, :]
    allowed = ends - splits >= minimum
    left, right = splits.astype(float), np.where(allowed, ends - splits, minimum).astype(float)
    to_split, to_end, both = sums[splits, splits], sums[ends, ends], sums[splits, ends]
    across = (both - to_split) / (left * right)
    # Each pair is twice in the square of distances, so this is the mean over unordered pairs.
    inside_left = to_split / (left * (left - 1))
    inside_right = (to_end - 2 * both + to_split) / (right * (right - 1))
    q = np.where(allowed, left * right / (left + right) * (2 * across - inside_left - inside_right), -np.inf)
    row, column = np.unravel_index(int(np.argmax(q)), q.shape)
    return int(splits[row, 0]), int(ends[0, column]), float(q[row, column])


def _comparable(values: Sequence[float]) -> NDArray[np.float64]:
    import numpy as np

    array = np.asarray(values, dtype=np.float64)
    return np.log(array) if (array > 0).all() else array


def _candidates(logs: NDArray[np.float64]) -> list[int]:
    """In ascending order."""
    found: set[int] = set()
    for first in range(0, max(len(logs) - _WINDOW // 2, 1), _WINDOW // 2):
        todo = [(first, min(first + _WINDOW, len(logs)))]
        while todo:
            first_of_segment, end_of_segment = todo.pop()
            split = _split(logs[first_of_segment:end_of_segment])
            if split is not None:
                found.add(first_of_segment + split)
                todo += [
                    (first_of_segment, first_of_segment + split),
                    (first_of_segment + split, end_of_segment),
                ]
    return sorted(found)


def _split(logs: NDArray[np.float64]) -> int | None:
    if len(logs) < 2 * MINIMUM_RUNS:
        return None
    split, end, _ = divergence(logs, MINIMUM_RUNS)
    differs = any(_p_value(logs[:split], right) <= _CANDIDATE_P for right in (logs[split:], logs[split:end]))
    return split if differs else None


def _change_at(
    values: Sequence[float], logs: NDArray[np.float64], first: int, index: int, end: int
) -> ChangePoint | None:
    """The change between the levels ``first`` to ``index`` and ``index`` to ``end``; None if one of them is
    too short.
    """
    first, end = max(first, index - NEIGHBOURHOOD), min(end, index + NEIGHBOURHOOD)
    if min(index - first, end - index) < MINIMUM_RUNS:
        return None
    left, right = logs[first:index], logs[index:end]
    return ChangePoint(
        index=index,
        before=_median(values[first:index]),
        after=_median(values[index:end]),
        p_value=_p_value(left, right),
        deviations=_ratio(abs(_median(right) - _median(left)), _deviation(left, right)),
    )


def _is_certain(one: ChangePoint, links: Sequence[int]) -> bool:
    near = sum(abs(one.index - link) <= LINK_REACH for link in links)
    deviations = _needed(MINIMUM_DEVIATIONS, near)
    return one.p_value <= MAXIMUM_P and one.deviations >= deviations and _is_large(one.before, one.after)


def _needed(deviations: float, links: int) -> float:
    """Each link is a step of a random walk."""
    return math.hypot(deviations, LINK_DEVIATIONS * math.sqrt(links))


def _is_large(before: float, after: float) -> bool:
    return before != after and abs(after - before) >= MINIMUM_EFFECT * abs(before)


def _p_value(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """Student's t-test for two samples with equal variance, two-sided; without any variance it is 0 or 1."""
    import numpy as np
    from scipy.special import stdtr

    if np.ptp(left) == 0 and np.ptp(right) == 0:
        return 1.0 if left[0] == right[0] else 0.0
    freedom = len(left) + len(right) - 2
    squares = float(((left - left.mean()) ** 2).sum() + ((right - right.mean()) ** 2).sum())
    error = math.sqrt(squares / freedom * (1 / len(left) + 1 / len(right)))
    if error == 0:  # the squares are too small for a floating-point number
        return 1.0
    return 2 * float(stdtr(freedom, -abs(float(left.mean() - right.mean())) / error))


def _deviation(*levels: NDArray[np.float64]) -> float:
    """The deviation of single runs around the median of their level."""
    import numpy as np

    residuals = np.concatenate([level - np.median(level) for level in levels])
    return _MAD_TO_DEVIATION * _median(np.abs(residuals - np.median(residuals)))


def _ratio(size: float, deviation: float) -> float:
    if deviation == 0:
        return math.inf if size else 0.0
    return size / deviation


def _median(values: Sequence[float] | NDArray[np.float64]) -> float:
    import numpy as np

    return float(np.median(values))


# --- creep --------------------------------------------------------------------------------------------------


def _creep_between(
    values: Sequence[float], logs: NDArray[np.float64], first: int, end: int, links: Sequence[int]
) -> Creep | None:
    import numpy as np

    side = min(NEIGHBOURHOOD, (end - first) // 3)
    if side < MINIMUM_RUNS:
        return None
    base, newest = logs[first : first + side], logs[end - side : end]
    size = _median(newest) - _median(base)
    # Differences of neighbours, because the drift itself is not noise; a difference has twice the variance.
    steps = np.diff(logs[first:end])
    deviation = _MAD_TO_DEVIATION * _median(np.abs(steps - np.median(steps))) / math.sqrt(2)
    before, after = _median(values[first : first + side]), _median(values[end - side : end])
    creep = Creep(
        last_good=first + side - 1,
        first_bad=_first_off(values[first:end], side, before) + first,
        before=before,
        after=after,
        p_value=_p_value(base, newest),
        deviations=_ratio(abs(size), deviation),
    )
    crossed = sum(first + side <= link < end - side for link in links)
    needed = _needed(MINIMUM_CREEP_DEVIATIONS, crossed)
    is_certain = creep.p_value <= MAXIMUM_P and creep.deviations >= needed
    return creep if is_certain and _is_large(before, after) else None


def _first_off(values: Sequence[float], side: int, base: float) -> int:
    """The index from which on the running median stays away from the base; at the latest, the newest ``side``
    values.
    """
    last = len(values) - side
    for index in range(last, side, -1):
        if not _is_large(base, _median(values[index - 1 : index - 1 + MINIMUM_RUNS])):
            return index
    return side


def _flights(changes: Sequence[ChangePoint]) -> list[list[ChangePoint]]:
    """Groups of consecutive changes in the same direction."""
    return [list(flight) for _, flight in groupby(changes, key=lambda one: one.after > one.before)]


def _stairs(flight: Sequence[ChangePoint]) -> Creep | None:
    if len(flight) < STAIRS:
        return None
    first, last = flight[0], flight[-1]
    return Creep(
        last_good=first.index - 1,
        first_bad=last.index,
        before=first.before,
        after=last.after,
        p_value=max(one.p_value for one in flight),
        deviations=min(one.deviations for one in flight),
    )
