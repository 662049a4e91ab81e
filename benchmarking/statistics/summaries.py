"""Turns samples into numbers: summaries, A/B comparison, errors relative to golden values."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from benchmarking.errors import CaseError
from benchmarking.results.model import Comparison, ErrorStatistics, Interval, Percentiles, Summary

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CONFIDENCE = 0.95
"""The minimum coverage of an interval, if there are enough samples."""

ROUNDING = 1e-9
"""The relative amount by which a probability may exceed a level and still count as equal to it."""

MOST_WITH_MEAN_RANKS = 100
"""Among more differences, ties are broken by their order. Mean ranks have another distribution for each
pattern of ties, which takes seconds for a thousand of them; without ties it is the same for all operators.
"""

NEAR_ZERO = 1e-8
"""The rounding error that is allowed of outputs whose expected values are all 0: numpy's absolute tolerance.

It is not allowed beside other values, because it may be larger than they are.
"""
SMALLEST_SIZE = 2.0**-126
"""The smallest number that float32 holds with its full precision: what is smaller has the size of a rounding
error.
"""


def summarize(values: Sequence[float] | NDArray[np.float64], processes: Sequence[int] = ()) -> Summary:
    """Summarizes at least one value; percentiles are interpolated linearly (Hyndman and Fan 1996, type 7).

    ``processes`` gives the process of each value. Values of the same process are more similar than values of
    different processes, so with several processes the interval of the median is that of the processes'
    medians.
    """
    import numpy as np

    array = np.asarray(values, dtype=np.float64)
    ordered = np.sort(array)
    p0, p10, p50, p90, p95, p99, p100 = _at(ordered, (0, 10, 50, 90, 95, 99, 100))
    with np.errstate(invalid="ignore"):  # infinite values have no mean, or no deviation from it
        mean = float(array.mean())
        deviation = float(array.std(ddof=1)) if array.size > 1 else 0.0
    return Summary(
        p0=p0,
        p10=p10,
        p50=p50,
        p90=p90,
        p100=p100,
        count=array.size,
        mean=mean,
        standard_deviation=deviation,
        p95=p95,
        p99=p99,
        median_interval=_median_interval(_independent(ordered, array, processes)),
    )


def percentiles(values: NDArray[np.float64]) -> Percentiles:
    """The five percentiles of the contract, as ``summarize`` computes them."""
    import numpy as np

    return Percentiles(*_at(np.sort(values), (0, 10, 50, 90, 100)))


def _at(ordered: NDArray[np.float64], percentages: Sequence[int]) -> list[float]:
    """numpy's percentiles; next to infinite values, where its interpolation gives NaN, the infinite one."""
    import numpy as np

    with np.errstate(invalid="ignore"):
        found: list[float] = np.percentile(ordered, percentages).tolist()
    if math.isnan(ordered[-1]) or not np.isinf(ordered[[0, -1]]).any():
        return found
    for number, percentage in enumerate(percentages):
        index, rest = divmod(percentage * (len(ordered) - 1), 100)
        low, high = float(ordered[index]), float(ordered[index + (rest > 0)])
        if low == high:
            found[number] = low
        elif math.isinf(low) or math.isinf(high):
            found[number] = low + high  # infinite, or NaN between the two infinities
    return found


def _independent(
    ordered: NDArray[np.float64], values: NDArray[np.float64], processes: Sequence[int]
) -> NDArray[np.float64]:
    """The independent values in ascending order: the values themselves, or the medians of several
    processes.
    """
    import numpy as np

    if len(set(processes)) < 2:
        return ordered
    return np.sort(list(_medians_by_pair(values.tolist(), processes).values()))


def _median_interval(ordered: NDArray[np.float64]) -> Interval | None:
    """The interval between two order statistics, exact for any continuous distribution of independent
    samples.

    The number of samples below the median is binomial(n, 1/2), so the interval from the k-th smallest to the
    k-th largest misses it with probability 2 P(B < k) (David and Nagaraja, Order Statistics, 3rd ed., 7.1).
    """
    count = len(ordered)
    # Below this rank all probabilities together are less than exp(-700) (Hoeffding 1963), which is 0.
    rank, miss = max(0, count // 2 - 20 * math.isqrt(count)), 0.0
    log_half_power = -count * math.log(2)
    while rank < count // 2:
        log_choose = math.lgamma(count + 1) - math.lgamma(rank + 1) - math.lgamma(count - rank + 1)
        next_miss = miss + 2 * math.exp(log_choose + log_half_power)
        if next_miss > 1 - CONFIDENCE:
            break
        rank, miss = rank + 1, next_miss
    if rank == 0:
        return None
    return Interval(float(ordered[rank - 1]), float(ordered[count - rank]), 1 - miss)


def difference_percentiles(treatment: Percentiles, control: Percentiles) -> Percentiles:
    """The contract's ``diff_summary`` of two delays: interval arithmetic, not the distribution of
    differences.

    It exists for the programs that read it; for a comparison use ``compare``.
    """
    return Percentiles(
        p0=treatment.p0 - control.p100,
        p10=treatment.p10 - control.p90,
        p50=treatment.p50 - control.p50,
        p90=treatment.p90 - control.p10,
        p100=treatment.p100 - control.p0,
    )


def compare(
    treatment_values: Sequence[float],
    treatment_pairs: Sequence[int],
    control_values: Sequence[float],
    control_pairs: Sequence[int],
) -> Comparison | None:
    """The ratio treatment / control over pairs of processes: Hodges-Lehmann estimate and exact interval.

    For each pair, x = log(median of the treatment / median of the control); then as ``compare_log_ratios``.
    None if no pair is complete, or if a median is not positive.
    """
    import numpy as np

    treatment = _medians_by_pair(treatment_values, treatment_pairs)
    control = _medians_by_pair(control_values, control_pairs)
    common = sorted(treatment.keys() & control.keys())
    if not common or any(arm[pair] <= 0 for arm in (treatment, control) for pair in common):
        return None
    return compare_log_ratios(np.log([treatment[pair] / control[pair] for pair in common]))


def compare_log_ratios(log_ratios: Sequence[float] | NDArray[np.float64]) -> Comparison:
    """The ratio over at least one pair, each given as a finite x = log(treatment / control).

    The estimate is the median of the Walsh averages; the interval inverts Wilcoxon's signed-rank test
    (Hollander, Wolfe and Chicken, Nonparametric Statistical Methods, 3rd ed., 3.2 and 3.3). With fewer than 6
    pairs no such interval covers 95 %: the widest interval is returned, with its actual coverage.
    """
    return compare_walsh(walsh_averages(log_ratios), len(log_ratios))


def compare_walsh(walsh: NDArray[np.float64], pairs: int) -> Comparison:
    """As ``compare_log_ratios``, from the Walsh averages of this number of pairs."""
    return Comparison(
        pairs=pairs,
        ratio=math.exp(middle(walsh)),
        ratio_interval=_signed_rank_interval(walsh, pairs),
    )


def middle(ordered: NDArray[np.float64]) -> float:
    """The median of values in ascending order."""
    return (float(ordered[(len(ordered) - 1) // 2]) + float(ordered[len(ordered) // 2])) / 2


def walsh_averages(values: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """(x_i + x_j) / 2 for all i <= j, in ascending order, shape (n (n + 1) / 2,); their median is Hodges and
    Lehmann's estimate, and the number of negative averages is the sum of the negative ranks.
    """
    import numpy as np

    array = np.asarray(values, dtype=np.float64)
    rows, columns = np.triu_indices(len(array))
    return np.sort((array[rows] + array[columns]) / 2)


def _medians_by_pair(values: Sequence[float], pairs: Sequence[int]) -> dict[int, float]:
    import numpy as np

    grouped: defaultdict[int, list[float]] = defaultdict(list)
    for value, pair in zip(values, pairs, strict=True):
        grouped[pair].append(value)
    return {pair: float(np.median(group)) for pair, group in grouped.items()}


def _signed_rank_interval(walsh: NDArray[np.float64], pairs: int) -> Interval | None:
    """Drops as many Walsh averages at each end as the null distribution of the test allows."""
    if pairs < 2:
        return None
    dropped, miss = signed_rank_cut(pairs, (1 - CONFIDENCE) / 2)
    if dropped == 0:
        dropped, miss = 1, 2.0**-pairs
    return Interval(
        low=math.exp(float(walsh[dropped - 1])),
        high=math.exp(float(walsh[-dropped])),
        confidence=1 - 2 * miss,
    )


def signed_rank_probabilities(count: int) -> NDArray[np.float64]:
    """P(W = w) for w = 0 ... n(n+1)/2 under the null hypothesis: each rank is in W with probability 1/2."""
    return _sum_probabilities(range(1, count + 1))


@lru_cache(maxsize=1024)
def signed_rank_cut(count: int, level: float) -> tuple[int, float]:
    """The number of smallest values of W that together are at most as likely as ``level``, and their
    probability.
    """
    import numpy as np

    cumulative = _upper_tail(tuple(range(1, count + 1)))[::-1]  # the distribution is symmetric
    values = int(np.searchsorted(cumulative, level * (1 + ROUNDING), side="right"))
    return values, float(cumulative[values - 1]) if values else 0.0


def signed_rank_p_value(differences: Sequence[float] | NDArray[np.float64]) -> float:
    """One-sided: the probability of a rank sum of the positive differences at least as large as this one.

    It is conditional on the magnitudes, and therefore exact also with ties and zeros: under the null
    hypothesis every pattern of signs is equally likely, whatever the magnitudes are. Ties get their mean
    rank; zeros are ranked but have no sign (Pratt 1959, Remarks on zeros and ties in the Wilcoxon signed rank
    procedures). No difference may be NaN; without any difference, p is 1.

    Among more than ``MOST_WITH_MEAN_RANKS``, ties are ranked in their order, which the signs do not influence
    either, and zeros count as negative: p is at least as large as if they had random signs.
    """
    import numpy as np

    array = np.asarray(differences, dtype=np.float64)
    if array.size > MOST_WITH_MEAN_RANKS:
        ascending = array[np.argsort(np.abs(array), kind="stable")]
        positive_ranks = np.flatnonzero(ascending > 0) + 1
        return float(_upper_tail(tuple(range(1, array.size + 1)))[positive_ranks.sum()])
    _, group, sizes = np.unique(np.abs(array), return_inverse=True, return_counts=True)
    doubled_ranks = (2 * np.cumsum(sizes) - sizes + 1)[group]
    tail = _upper_tail(tuple(sorted(doubled_ranks[array != 0].tolist())))
    return float(tail[int(doubled_ranks[array > 0].sum())])


@lru_cache(maxsize=32)  # of a thousand pairs, each takes 4 MB
def _upper_tail(ranks: tuple[int, ...]) -> NDArray[np.float64]:
    """P(S >= s) for s = 0 ... sum of the ranks."""
    import numpy as np

    return np.cumsum(_sum_probabilities(ranks)[::-1])[::-1]


def _sum_probabilities(ranks: Iterable[int]) -> NDArray[np.float64]:
    """P(S = s) for s = 0 ... sum of the ranks, if each rank is in S with probability 1/2."""
    import numpy as np

    ranks = list(ranks)
    probabilities = np.zeros(sum(ranks) + 1)
    probabilities[0] = 1.0
    largest = 0
    for rank in ranks:
        without = probabilities[: largest + 1] / 2
        largest += rank
        probabilities[: len(without)] = without
        probabilities[rank : largest + 1] += without
    return probabilities


def error_statistics(output: NDArray[np.float64], golden: NDArray[np.float64]) -> ErrorStatistics:
    """The errors between two arrays of shape (n,). If a value is NaN on one side only, every error is NaN.

    Raises:
        CaseError: they have different lengths.
    """
    import numpy as np

    _require_same_length(output, golden)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        absolute = np.where(_same(output, golden), 0.0, np.abs(output - golden))
        relative = np.where(absolute == 0, 0.0, absolute / np.abs(golden))
        norms = float(np.linalg.norm(output) * np.linalg.norm(golden))
        return ErrorStatistics(
            count=output.size,
            max_absolute=float(absolute.max()),
            max_relative=float(relative.max()),
            root_mean_square=float(np.sqrt(np.mean(absolute**2))),
            cosine_similarity=float(output @ golden) / norms if norms else float(not absolute.any()),
        )


def allowed_rounding(fraction: float, largest: float) -> float:
    """The largest error of an output that counts as rounding.

    Args:
        fraction: of the largest expected value; 0: no error is allowed.
        largest: the largest finite magnitude that is expected; 0 if nothing shows how large the values are.
    """
    return NEAR_ZERO if fraction and largest < SMALLEST_SIZE else fraction * largest


def beyond_tolerance(
    output: NDArray[np.float64], golden: NDArray[np.float64], atol: float, rtol: float
) -> tuple[int, int]:
    """The number of values that deviate by more than ``atol + rtol * |golden|``, and the index of the worst
    value.

    A NaN is beyond any tolerance, unless the golden value is also NaN.

    Raises:
        CaseError: the arrays, of shape (n,), have different lengths.
    """
    import numpy as np

    _require_same_length(output, golden)
    with np.errstate(invalid="ignore"):
        excess = np.abs(output - golden) - (atol + rtol * np.abs(golden))
    excess = np.where(np.isnan(excess), np.inf, excess)
    excess = np.where(_same(output, golden), -np.inf, excess)
    return int(np.count_nonzero(excess > 0)), int(np.argmax(excess))


def _same(output: NDArray[np.float64], golden: NDArray[np.float64]) -> NDArray[np.bool_]:
    import numpy as np

    same: NDArray[np.bool_] = (output == golden) | (np.isnan(output) & np.isnan(golden))
    return same


def _require_same_length(output: NDArray[np.float64], golden: NDArray[np.float64]) -> None:
    if output.size != golden.size:
        raise CaseError(f"the output has {output.size} values instead of {golden.size}")
    if output.size == 0:
        raise CaseError("the output has no values")
