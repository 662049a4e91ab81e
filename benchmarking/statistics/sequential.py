"""From pairs to verdicts: group-sequential exact signed-rank tests. docs/statistics.md explains them.

Every function is pure. A pair is one fresh process of the treatment and one of the control whose iterations
alternate; it is reduced to a single number, x = log(treatment / control).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import NormalDist, stdev
from typing import TYPE_CHECKING, TypeVar

from benchmarking.errors import UsageError
from benchmarking.results.model import (
    CHANGED,
    NET_DELAY,
    Comparison,
    Confirmation,
    SequentialDecision,
    Verdict,
)
from benchmarking.statistics import summaries

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NEIGHBOURS = 2
"""The largest distance in rounds between two iterations that are compared."""

FALSE_ALARMS_PER_RUN = 0.001
"""The largest probability that a run confirms a regression although there is none, for any number of its
tests.
"""

MOST_PAIRS = 1000
FORECAST_PAIRS = 4
"""With fewer pairs the scatter is not known at all."""

SHARES = (
    (6, 0.00, 0.32),
    (8, 0.40, 0.20),
    (12, 0.10, 0.12),
    (18, 0.15, 0.12),
    (26, 0.15, 0.12),
    (40, 0.20, 0.12),
)
"""The looks at the data (interim analyses): the number of pairs, and the fractions of alpha and beta that are
spent.
"""
LOOK_GROWTH = 1.5
"""Beyond the last of them, the number of pairs grows by this factor from look to look."""
LOOK_DISTANCE = 1.25
"""The smallest distance of a look from the last look, as a factor."""

VERIFICATION_UNCHANGED_FROM = 18
"""The ``unchanged_from`` of the second stage. It confirms 89 % of true +2 %, while 1 confirms 85 %."""


@dataclass(frozen=True)
class Look:
    """A number of pairs at which a decision is possible, and the error probabilities spent there."""

    pairs: int
    alpha: float
    beta: float


@dataclass(frozen=True)
class SequentialPlan:
    """What counts as a regression, how certain a verdict has to be, and when it may be given.

    Raises:
        UsageError: a value makes no sense, with its option.
    """

    minimum_effect: float = 0.01
    """A change with a smaller estimate (0.01: 1 %) is neither a regression nor an improvement; a change with
    a larger estimate is not called unchanged.
    """
    target_change: float = 0.03
    """The smallest change that must not be called unchanged."""
    alpha: float = 0.01
    """The largest probability that identical programs are called regressed, and separately that they are
    called improved.
    """
    beta: float = 0.05
    """The largest probability that a change of ``target_change`` is called unchanged."""
    max_pairs: int = 40
    unchanged_from: int = 1
    """With fewer pairs nothing is called unchanged; ``max_pairs`` are always enough."""

    def __post_init__(self) -> None:
        if not 0 < self.minimum_effect < math.inf:
            raise UsageError(
                f"--minimum_effect {self.minimum_effect}: must be greater than 0, such as 0.01 for 1 %"
            )
        if not self.minimum_effect < self.target_change < math.inf:
            raise UsageError(
                f"--target_change {self.target_change}: must be greater than --minimum_effect, "
                f"{self.minimum_effect}"
            )
        for name in ("alpha", "beta"):
            if not 0 < getattr(self, name) < 0.5:
                raise UsageError(f"--{name} {getattr(self, name)}: must be a probability between 0 and 0.5")
        fewest = math.ceil(-math.log2(min(self.alpha, self.beta)))
        if not fewest <= self.max_pairs <= MOST_PAIRS:
            raise UsageError(
                f"--max_pairs {self.max_pairs}: with --alpha {self.alpha} and --beta {self.beta} "
                f"between {fewest} and {MOST_PAIRS} pairs are needed"
            )

    @classmethod
    def for_target(
        cls,
        target_change: float,
        *,
        minimum_effect: float | None = None,
        max_pairs: int | None = None,
        alpha: float = alpha,
        beta: float = beta,
    ) -> SequentialPlan:
        """A plan that finds a change of the target's size or rules it out, however many pairs that takes.

        ``minimum_effect`` and ``max_pairs`` follow from the target unless they are given.

        Raises:
            UsageError: as the plan itself.
        """
        if minimum_effect is None:
            minimum_effect = min(cls.minimum_effect, target_change / 2)
        if max_pairs is None:
            max_pairs = MOST_PAIRS if target_change < cls.target_change else cls.max_pairs
        return cls(minimum_effect, target_change, alpha, beta, max_pairs)

    @property
    def looks(self) -> tuple[Look, ...]:
        """In ascending order; the last look is at ``max_pairs``."""
        return _looks(self, 1)

    def for_run(self, tests: int) -> SequentialPlan:
        """The same plan for a run with this number of tests whose suspected regressions are verified, with
        alpha as small as necessary.

        Both stages have to raise a false alarm, for the net or among the operators: this happens with a
        probability of at most 2 alpha^2 per test, and summed over the tests of at most
        ``FALSE_ALARMS_PER_RUN``.
        """
        if tests < 1:
            raise ValueError(f"{tests} tests")
        return replace(self, alpha=min(self.alpha, math.sqrt(FALSE_ALARMS_PER_RUN / (2 * tests))))

    def for_verification(self) -> SequentialPlan:
        """The same plan for the second stage, which is rare and may therefore take more time before it drops
        a suspicion.
        """
        return replace(self, unchanged_from=VERIFICATION_UNCHANGED_FROM)

    def looks_until(self, pairs: int, *, limit_reached: bool, tests: int = 1) -> tuple[Look, ...]:
        """The looks possible with ``pairs`` pairs. At a limit, the last pair is a look that may spend
        everything that is left.

        ``tests``: the number of tests that share alpha by Holm's method. Each test has its own beta.
        """
        looks = tuple(look for look in _looks(self, tests) if look.pairs <= pairs)
        if not limit_reached or pairs >= self.max_pairs:
            return looks
        looks = tuple(look for look in looks if look.pairs < pairs)
        alpha = self.alpha - sum(look.alpha for look in looks)
        beta = self.beta - sum(look.beta for look in looks)
        return (*looks, Look(pairs, alpha, beta))


@lru_cache(maxsize=256)
def _looks(plan: SequentialPlan, tests: int) -> tuple[Look, ...]:
    """A share is spent as far as the attainable levels of the test, multiples of 2^-pairs, allow.

    For alpha, the levels are those of the smallest of ``tests`` p-values. The rest is carried over to the
    next look, and the last look gets everything.
    """
    looks: list[Look] = []
    alpha_due = beta_due = 0.0
    for pairs, alpha_share, beta_share in _shares(plan.max_pairs):
        alpha_due += alpha_share * plan.alpha
        beta_due += beta_share * plan.beta
        alpha = tests * summaries.signed_rank_cut(pairs, alpha_due / tests)[1]
        may_be_unchanged = pairs >= min(plan.unchanged_from, plan.max_pairs)
        beta = summaries.signed_rank_cut(pairs, beta_due)[1] if may_be_unchanged else 0.0
        alpha_due, beta_due = alpha_due - alpha, beta_due - beta
        looks.append(Look(pairs, alpha, beta))
    return tuple(looks)


def _shares(max_pairs: int) -> list[tuple[int, float, float]]:
    """The pairs and the shares of alpha and beta of each look; the shares of each kind sum up to 1."""
    *first, (pairs, *_) = SHARES
    later = [pairs]
    while (pairs := round(pairs * LOOK_GROWTH)) * LOOK_DISTANCE <= max_pairs:
        later.append(pairs)
    _, alpha_rest, beta_rest = SHARES[-1]
    count = 1 + sum(one * LOOK_DISTANCE <= max_pairs for one in later)
    planned = [*first, *((one, alpha_rest / count, beta_rest / count) for one in later)]
    kept = [look for look in planned if look[0] * LOOK_DISTANCE <= max_pairs]
    rest = (1 - sum(look[1] for look in kept), 1 - sum(look[2] for look in kept))
    return [*kept, (max_pairs, *rest)]


def pair_log_ratio(treatment_values: Sequence[float], control_values: Sequence[float]) -> float:
    """The number x = log(treatment / control) of one pair, from the values of each arm in the order of the
    rounds.

    It is the median of log(T_i / C_j) over all rounds i and j at most ``NEIGHBOURS`` apart: Hodges and
    Lehmann's two-sample estimate of shift (Hollander, Wolfe and Chicken, 3rd ed., 4.2), restricted to values
    measured under the same conditions. Exchanging the arms only changes its sign.

    A value that is not positive (below the clock's resolution) or not finite is left out. The result is NaN
    if fewer than half of the rounds can be used: the pair is discarded.
    """
    import numpy as np

    treatment, control = (np.asarray(one, dtype=np.float64) for one in (treatment_values, control_values))
    if treatment.shape != control.shape:
        raise ValueError(f"{treatment.size} values of the treatment, {control.size} of the control")
    usable = [np.isfinite(one) & (one > 0) for one in (treatment, control)]
    if 2 * int((usable[0] & usable[1]).sum()) < max(treatment.size, 1):
        return math.nan
    logs = [np.log(np.where(fine, one, 1.0)) for one, fine in zip((treatment, control), usable, strict=True)]
    size = treatment.size
    ratios = [
        (logs[0][i] - logs[1][j])[usable[0][i] & usable[1][j]]
        for lag in range(-NEIGHBOURS, NEIGHBOURS + 1)
        for i, j in [(slice(max(lag, 0), size + min(lag, 0)), slice(max(-lag, 0), size - max(lag, 0)))]
    ]
    return float(np.median(np.concatenate(ratios)))


def decide(
    plan: SequentialPlan, log_ratios: Sequence[float], *, limit_reached: bool = False
) -> SequentialDecision | None:
    """The verdict on a single type, or None if another pair is needed. As ``decide_all``."""
    decisions = decide_all(plan, {NET_DELAY: log_ratios}, limit_reached=limit_reached)
    return None if decisions is None else decisions[NET_DELAY]


def decide_once(
    plan: SequentialPlan, log_ratios: Mapping[str, Sequence[float]]
) -> dict[str, SequentialDecision]:
    """The verdicts on all types from all these pairs, whose number was chosen before: a single look, which
    spends all of alpha and beta. ``max_pairs`` and ``unchanged_from`` of the plan do not matter.

    Of more than ``MOST_PAIRS``, it takes the first.
    """
    log_ratios = {name: values[:MOST_PAIRS] for name, values in log_ratios.items()}
    fixed = Look(_pairs(log_ratios), plan.alpha, plan.beta)
    sizes = _sizes(log_ratios)
    evidence = {name: _evidence(plan, tuple(values)) for name, values in log_ratios.items()}
    verdicts = _verdicts(plan, dict.fromkeys(log_ratios, fixed), evidence)
    return {
        name: _decision(plan, _Judgement(verdicts.get(name, Verdict.INCONCLUSIVE), fixed, one), sizes[name])
        for name, one in evidence.items()
    }


def _pairs(log_ratios: Mapping[str, Sequence[float]]) -> int:
    lengths = {len(values) for values in log_ratios.values()}
    if len(lengths) != 1:
        raise ValueError(f"one x per pair and type is needed, there are {sorted(lengths)}")
    return lengths.pop()


def _sizes(types: Iterable[str]) -> dict[str, int]:
    """The number of tests with which each type shares alpha."""
    names = list(types)
    return {name: 1 if name == NET_DELAY else len(_operators(names)) for name in names}


def decide_all(
    plan: SequentialPlan, log_ratios: Mapping[str, Sequence[float]], *, limit_reached: bool = False
) -> dict[str, SequentialDecision] | None:
    """The verdicts on all types of one test, or None if another pair is needed.

    Call it after each pair with all pairs so far: for each type one x per pair, NaN if it has none. It
    decides only at the plan's looks, and when ``limit_reached`` says that there will be no further pair. The
    limit must not depend on which arm was faster; a limit on time does not.

    The net is decided separately. The probability that any operators, of whatever number, are falsely called
    regressed is at most alpha (``holm`` at each look). A test continues until its net is decided; then only
    for a suspicious operator, or as long as no operator explains why the net has changed. Without a net
    (suspects that are verified) it continues until all types are decided. Types that are undecided at the end
    are inconclusive.
    """
    pairs, sizes = _pairs(log_ratios), _sizes(log_ratios)
    looks = {
        size: plan.looks_until(pairs, limit_reached=limit_reached, tests=size)
        for size in {1, *sizes.values()}
    }
    decided: dict[str, _Judgement] = {}
    for index, look in enumerate(looks[1]):
        evidence = {name: _evidence(plan, tuple(values[: look.pairs])) for name, values in log_ratios.items()}
        own_looks = {name: looks[size][index] for name, size in sizes.items()}
        for name, verdict in _verdicts(plan, own_looks, evidence).items():
            decided.setdefault(name, _Judgement(verdict, own_looks[name], evidence[name]))
        is_last = look.pairs == plan.max_pairs or (limit_reached and look.pairs == pairs)
        if is_last or not _needs_more_pairs(plan, look, evidence, decided):
            ended = {
                name: decided.get(name, _Judgement(Verdict.INCONCLUSIVE, own_looks[name], one))
                for name, one in evidence.items()
            }
            return {name: _decision(plan, one, sizes[name]) for name, one in ended.items()}
    return None


def forecast(plan: SequentialPlan, log_ratios: Sequence[float]) -> int | None:
    """About how many pairs it takes to find a change of the target's size or to rule it out, by the scatter
    of the first pairs; None if these are too few.

    Normal theory, for the tests and for an estimate that has to lie on the right side of the minimum effect.
    The signed-rank test needs pi / 3 times as many pairs as the t-test (Hollander, Wolfe and Chicken, 3rd
    ed., 3.11). The result is the look at which there are enough.
    """
    usable = [one for one in log_ratios if math.isfinite(one)]
    if len(usable) < FORECAST_PAIRS:
        return None
    z_alpha, z_beta = (NormalDist().inv_cdf(1 - level) for level in (plan.alpha, plan.beta))
    target, least = math.log1p(plan.target_change), math.log1p(plan.minimum_effect)
    errors = max((z_alpha + z_beta) / target, z_beta / (target - least), z_beta / least)
    needed = math.pi / 3 * (errors * stdev(usable)) ** 2
    return next((look.pairs for look in plan.looks if look.alpha and look.pairs >= needed), plan.max_pairs)


def confirm(first: SequentialDecision, second: SequentialDecision) -> Confirmation:
    """Combines a suspected regression with its verification on fresh pairs: their common verdict, or
    inconclusive if they differ.
    """
    if first.verdict is second.verdict:
        reason = f"{first.verdict.value} in both stages: {second.reason}; in the first stage {first.reason}"
        return Confirmation(first.verdict, reason, first, second)
    reason = (
        f"not confirmed: first {first.verdict.value} ({first.reason}), "
        f"{second.verdict.value} on fresh pairs ({second.reason})"
    )
    return Confirmation(Verdict.INCONCLUSIVE, reason, first, second)


Judged = TypeVar("Judged", SequentialDecision, Confirmation)


def canary_alarms(canary: SequentialDecision | Confirmation) -> bool:
    """Whether the control and its identical copy were found to differ, in either direction."""
    return canary.verdict in CHANGED


def void(judged: Judged, canary: SequentialDecision | Confirmation) -> Judged:
    """The same with the verdict inconclusive, because the run's canary raised an alarm; all
    numbers are kept.
    """
    void_reason = f"void, because the control differs from its own copy ({canary.reason})"
    reason = f"{void_reason}; otherwise {judged.verdict.value}"
    return replace(judged, verdict=Verdict.INCONCLUSIVE, reason=f"{reason}: {judged.reason}")


@dataclass(frozen=True)
class _Evidence:
    """The evidence of one type's pairs at a look. The p-values are one-sided, from exact
    signed-rank tests.
    """

    pairs: int
    usable: NDArray[np.float64]
    estimate: float
    """Hodges and Lehmann's estimate of x; NaN without a usable pair."""
    p_slower: float
    p_faster: float
    p_not_slower: float
    """The p-values of changes smaller than the target."""
    p_not_faster: float

    def is_slower(self, change: float) -> bool:
        return self.estimate >= math.log1p(change)

    def is_faster(self, change: float) -> bool:
        return self.estimate <= -math.log1p(change)


@dataclass(frozen=True)
class _Judgement:
    verdict: Verdict
    look: Look
    evidence: _Evidence


@lru_cache(maxsize=8192)
def _evidence(plan: SequentialPlan, log_ratios: tuple[float, ...]) -> _Evidence:
    """Cached, because each look is needed again with every pair that follows."""
    import numpy as np

    array = np.asarray(log_ratios, dtype=np.float64)
    usable = array[np.isfinite(array)]
    target = math.log1p(plan.target_change)
    return _Evidence(
        pairs=len(array),
        usable=usable,
        estimate=summaries.middle(summaries.walsh_averages(usable)) if usable.size else math.nan,
        p_slower=summaries.signed_rank_p_value(usable),
        p_faster=summaries.signed_rank_p_value(-usable),
        p_not_slower=summaries.signed_rank_p_value(target - usable),
        p_not_faster=summaries.signed_rank_p_value(target + usable),
    )


def _at_most(p_value: float, level: float) -> bool:
    return p_value <= level * (1 + summaries.ROUNDING)


def _verdicts(
    plan: SequentialPlan, looks: Mapping[str, Look], evidence: Mapping[str, _Evidence]
) -> dict[str, Verdict]:
    """The verdicts on the types that are decided at this look, each with its own alpha and beta."""
    slower: set[str] = set()
    faster: set[str] = set()
    for family in ([NET_DELAY] if NET_DELAY in evidence else [], _operators(evidence)):
        alpha = looks[family[0]].alpha if family else 0.0
        slower |= holm({name: evidence[name].p_slower for name in family}, alpha)
        faster |= holm({name: evidence[name].p_faster for name in family}, alpha)
    verdicts = {}
    for name, one in evidence.items():
        is_slower, is_faster = one.is_slower(plan.minimum_effect), one.is_faster(plan.minimum_effect)
        if name in slower and is_slower:
            verdicts[name] = Verdict.REGRESSED
        elif name in faster and is_faster:
            verdicts[name] = Verdict.IMPROVED
        elif not (is_slower or is_faster) and _at_most(
            max(one.p_not_slower, one.p_not_faster), looks[name].beta
        ):
            verdicts[name] = Verdict.UNCHANGED
    return verdicts


def holm(p_values: Mapping[str, float], level: float) -> set[str]:
    """The hypotheses that are rejected, with a probability of at most ``level`` that any of them is true.

    Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    rejected: set[str] = set()
    for name in sorted(p_values, key=lambda one: p_values[one]):
        if not _at_most(p_values[name], level / (len(p_values) - len(rejected))):
            break
        rejected.add(name)
    return rejected


def _operators(types: Iterable[str]) -> list[str]:
    return [name for name in types if name != NET_DELAY]


def _needs_more_pairs(
    plan: SequentialPlan,
    look: Look,
    evidence: Mapping[str, _Evidence],
    decided: Mapping[str, _Judgement],
) -> bool:
    undecided = [name for name, one in evidence.items() if name not in decided and one.usable.size]
    if NET_DELAY not in evidence:
        return bool(undecided)
    if NET_DELAY not in decided:
        return True
    verdict = decided[NET_DELAY].verdict
    explained = any(decided[name].verdict is verdict for name in _operators(decided))
    if verdict in CHANGED and not explained:
        return bool(undecided)
    return any(_is_suspicious(plan, look, evidence[name]) for name in undecided)


def _is_suspicious(plan: SequentialPlan, look: Look, one: _Evidence) -> bool:
    """Whether the change is worth finding: it would be one if this were the only operator, or it is as
    certain as so few pairs allow.
    """
    level = max(look.alpha, 2.0**-look.pairs)
    return (_at_most(one.p_slower, level) and one.is_slower(plan.target_change)) or (
        _at_most(one.p_faster, level) and one.is_faster(plan.target_change)
    )


def _decision(plan: SequentialPlan, judgement: _Judgement, family_size: int) -> SequentialDecision:
    one, look = judgement.evidence, judgement.look
    pairs = one.usable.size
    walsh = summaries.walsh_averages(one.usable)
    comparison = summaries.compare_walsh(walsh, pairs) if pairs else None
    smallest = _smallest_change(plan, walsh, pairs, (look.alpha or plan.alpha) / family_size)
    return SequentialDecision(
        verdict=judgement.verdict,
        reason=_reason(plan, one, judgement.verdict, comparison, smallest),
        pairs=one.pairs,
        comparison=comparison,
        smallest_change=smallest,
        p_slower=one.p_slower,
        p_faster=one.p_faster,
    )


def smallest_change(plan: SequentialPlan, log_ratios: NDArray[np.float64], alpha: float) -> float | None:
    """The smallest change that a test at level ``alpha`` detects with a probability of about 1 - beta, or
    None.

    It depends only on the scatter of these pairs, not on their centre: the distance from the lower confidence
    limit at level alpha to the upper limit at level beta, both from the signed-rank test (Hollander, Wolfe
    and Chicken, 3rd ed., 3.3), is the normal theory's (z_alpha + z_beta) standard errors without its
    assumption. A change whose estimate is likely below the minimum effect is not detected either.
    """
    return _smallest_change(plan, summaries.walsh_averages(log_ratios), len(log_ratios), alpha)


def _smallest_change(
    plan: SequentialPlan, walsh: NDArray[np.float64], pairs: int, alpha: float
) -> float | None:
    alpha_cut, beta_cut = (summaries.signed_rank_cut(pairs, level)[0] for level in (alpha, plan.beta))
    if not (alpha_cut and beta_cut):
        return None
    center = summaries.middle(walsh)
    below = [center - float(walsh[cut - 1]) for cut in (alpha_cut, beta_cut)]
    above = [float(walsh[-cut]) - center for cut in (alpha_cut, beta_cut)]
    effect = math.log1p(plan.minimum_effect) + max(below[1], above[1])
    return math.expm1(max(below[0] + above[1], above[0] + below[1], effect))


def _reason(
    plan: SequentialPlan,
    one: _Evidence,
    verdict: Verdict,
    comparison: Comparison | None,
    smallest: float | None,
) -> str:
    if comparison is None:
        return f"none of {_count(one.pairs)} could be used: no times, or below the clock's resolution"
    left_out = one.pairs - one.usable.size
    pairs = f"{_count(one.pairs)}{f', {left_out} of them unusable' if left_out else ''}"
    numbers = f"{_change(comparison)} after {pairs}"
    if verdict in CHANGED:
        p_value = one.p_slower if verdict is Verdict.REGRESSED else one.p_faster
        return f"{numbers}; p {p_value:.2g}"
    if verdict is Verdict.UNCHANGED:
        return f"{numbers}; a change of {100 * plan.target_change:.3g} % or more is ruled out"
    if smallest is None:
        return f"{numbers}; too few pairs to detect any change"
    return f"{numbers}; a change below {100 * smallest:.2g} % can go unnoticed"


def _count(pairs: int) -> str:
    return f"{pairs} pair{'' if pairs == 1 else 's'}"


def _change(comparison: Comparison) -> str:
    text = f"{100 * (comparison.ratio - 1):+.2f} %"
    interval = comparison.ratio_interval
    if interval is None:
        return text
    low, high = (f"{100 * (one - 1):+.2f} %" for one in (interval.low, interval.high))
    return f"{text} ({100 * interval.confidence:.3g} % interval {low} to {high})"
