"""From pairs to verdicts: group-sequential exact signed-rank tests. docs/statistics.md explains them.

Every function is pure. A pair is one fresh process of the treatment and one of the control whose iterations
alternate; it counts as a single number, x = log(treatment / control).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
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
"""How many rounds apart two iterations may be to be compared."""

FALSE_ALARMS_PER_RUN = 0.001
"""How likely a run confirms a regression at most where there is none, whatever the number of its tests."""

MOST_PAIRS = 1000

SHARES = (
    (6, 0.00, 0.32),
    (8, 0.40, 0.20),
    (12, 0.10, 0.12),
    (18, 0.15, 0.12),
    (26, 0.15, 0.12),
    (40, 0.20, 0.12),
)
"""Of the looks at the data: pairs so far, and the shares of alpha and beta that are spent."""
LOOK_GROWTH = 1.5
"""Beyond the last of them each look has so many times the pairs of the one before."""
LOOK_DISTANCE = 1.25
"""No look is closer to the last one."""

VERIFICATION_PASSES_FROM = 18
"""The second stage's ``passes_from``. It confirms 89 % of true +2 % where 1 confirms 85 %."""


@dataclass(frozen=True)
class Look:
    """A number of pairs at which something can be decided, and the error probabilities spent there."""

    pairs: int
    alpha: float
    beta: float


@dataclass(frozen=True)
class SequentialPlan:
    """What is a regression, how sure a verdict has to be, and when it may be given.

    Raises:
        UsageError: a value makes no sense, with its option.
    """

    minimum_effect: float = 0.01
    """A change whose estimate is smaller (0.01: 1 %) is no regression and no improvement; one whose estimate
    is not does not pass for unchanged."""
    target_change: float = 0.03
    """A change that must not pass for unchanged."""
    alpha: float = 0.01
    """How likely identical programs are called regressed at most, and as likely improved."""
    beta: float = 0.05
    """How likely a change of ``target_change`` passes for unchanged at most."""
    max_pairs: int = 40
    passes_from: int = 1
    """With fewer pairs nothing passes for unchanged; ``max_pairs`` are always enough."""

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
                f"at least {fewest} pairs are needed, and {MOST_PAIRS} are the most"
            )

    @property
    def looks(self) -> tuple[Look, ...]:
        """In ascending order; the last one is at ``max_pairs``."""
        return _looks(self, 1)

    def for_run(self, tests: int) -> SequentialPlan:
        """The same for a run of so many tests whose suspicions are verified: alpha as small as needed.

        Both stages have to raise a false alarm, for the net or among the operators: at most 2 alpha^2 per
        test, and the sum over the tests at most ``FALSE_ALARMS_PER_RUN``.
        """
        if tests < 1:
            raise ValueError(f"{tests} tests")
        return replace(self, alpha=min(self.alpha, math.sqrt(FALSE_ALARMS_PER_RUN / (2 * tests))))

    def for_verification(self) -> SequentialPlan:
        """The same for the second stage, which is rare: it takes its time before it drops a suspicion."""
        return replace(self, passes_from=VERIFICATION_PASSES_FROM)

    def looks_until(self, pairs: int, *, limit_reached: bool, tests: int = 1) -> tuple[Look, ...]:
        """Those that ``pairs`` pairs allow. At a limit the last is a look, with all that is not spent.

        ``tests``: how many share alpha by Holm's method. Beta is each one's own.
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
    """A share is spent as far as the levels of a test, multiples of 2^-pairs, can use it up.

    For alpha those of the smallest of ``tests`` p-values. The rest goes to the next look, and to the last one
    everything.
    """
    looks: list[Look] = []
    alpha_due = beta_due = 0.0
    for pairs, alpha_share, beta_share in _shares(plan.max_pairs):
        alpha_due += alpha_share * plan.alpha
        beta_due += beta_share * plan.beta
        alpha = tests * summaries.signed_rank_cut(pairs, alpha_due / tests)[1]
        may_pass = pairs >= min(plan.passes_from, plan.max_pairs)
        beta = summaries.signed_rank_cut(pairs, beta_due)[1] if may_pass else 0.0
        alpha_due, beta_due = alpha_due - alpha, beta_due - beta
        looks.append(Look(pairs, alpha, beta))
    return tuple(looks)


def _shares(max_pairs: int) -> list[tuple[int, float, float]]:
    """Pairs and shares of alpha and beta of each look; each kind of shares sums up to 1."""
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
    """One pair's x = log(treatment / control), from as many values of each arm in the order of the rounds.

    The median of log(T_i / C_j) over all rounds i and j at most ``NEIGHBOURS`` apart: Hodges and Lehmann's
    two-sample estimate of shift (Hollander, Wolfe and Chicken, 3rd ed., 4.2), kept to what was measured under
    the same conditions. With the arms exchanged it changes nothing but its sign.

    A value that is not positive (below the clock's resolution) or not finite is left out. NaN where the
    rounds of less than half of them can be used: the pair says nothing.
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
    """The verdict about a single type, or None: one more pair is needed. As ``decide_all``."""
    decisions = decide_all(plan, {NET_DELAY: log_ratios}, limit_reached=limit_reached)
    return None if decisions is None else decisions[NET_DELAY]


def decide_all(
    plan: SequentialPlan, log_ratios: Mapping[str, Sequence[float]], *, limit_reached: bool = False
) -> dict[str, SequentialDecision] | None:
    """The verdicts about every type of one test, or None: one more pair is needed.

    Call it after each pair with all pairs so far: for each type one x per pair, NaN where it has none. It
    decides at the plan's looks only, and when ``limit_reached`` says that there will be no further pair. The
    limit must not depend on which arm was the faster one; a limit on seconds does not.

    The net is decided by itself. Of the operators, however many, one or more are falsely called regressed
    with a probability of at most alpha (``holm`` at each look). A test goes on until its net is decided; then
    only for an operator that is suspicious, or as long as no operator explains why the net has changed.
    Without a net (suspects that are verified) it goes on until all are decided. What is undecided at the end
    is inconclusive.
    """
    lengths = {len(values) for values in log_ratios.values()}
    if len(lengths) != 1:
        raise ValueError(f"one x per pair and type is needed, there are {sorted(lengths)}")
    pairs = lengths.pop()
    sizes = {name: 1 if name == NET_DELAY else len(_operators(log_ratios)) for name in log_ratios}
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
        if is_last or not _goes_on(plan, look, evidence, decided):
            ended = {
                name: decided.get(name, _Judgement(Verdict.INCONCLUSIVE, own_looks[name], one))
                for name, one in evidence.items()
            }
            return {name: _decision(plan, one, sizes[name]) for name, one in ended.items()}
    return None


def confirm(first: SequentialDecision, second: SequentialDecision) -> Confirmation:
    """A suspicion and its verification on fresh pairs: what both say, and inconclusive where they differ."""
    if first.verdict is second.verdict:
        reason = f"{first.verdict.value} in both stages: {second.reason}, at first {first.reason}"
        return Confirmation(first.verdict, reason, first, second)
    reason = (
        f"not confirmed: {first.verdict.value} at first ({first.reason}), "
        f"{second.verdict.value} on fresh pairs ({second.reason})"
    )
    return Confirmation(Verdict.INCONCLUSIVE, reason, first, second)


Judged = TypeVar("Judged", SequentialDecision, Confirmation)


def canary_alarms(canary: SequentialDecision | Confirmation) -> bool:
    """Whether the control and its identical copy were found to differ, in either direction."""
    return canary.verdict in CHANGED


def void(judged: Judged, canary: SequentialDecision | Confirmation) -> Judged:
    """The same with the verdict inconclusive, as the run's canary alarmed; all numbers are kept."""
    reason = f"void, as the control differs from its own copy ({canary.reason}); else {judged.verdict.value}"
    return replace(judged, verdict=Verdict.INCONCLUSIVE, reason=f"{reason}: {judged.reason}")


@dataclass(frozen=True)
class _Evidence:
    """What one type's pairs say at a look. The p-values are one-sided, of exact signed-rank tests."""

    pairs: int
    usable: NDArray[np.float64]
    estimate: float
    """Hodges and Lehmann's, of x; NaN without a usable pair."""
    p_slower: float
    p_faster: float
    p_not_slower: float
    """Of a change smaller than the target."""
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
    """Kept, as each look is asked for again with every pair that follows."""
    import numpy as np

    array = np.asarray(log_ratios, dtype=np.float64)
    usable = array[np.isfinite(array)]
    target = math.log1p(plan.target_change)
    return _Evidence(
        pairs=len(array),
        usable=usable,
        estimate=float(np.median(summaries.walsh_averages(usable))) if usable.size else math.nan,
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
    """Of the types that are decided at this look, each with its own alpha and beta."""
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
    """The hypotheses that are refused, with a probability of at most ``level`` that any of them is true.

    Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    refused: set[str] = set()
    for name in sorted(p_values, key=lambda one: p_values[one]):
        if not _at_most(p_values[name], level / (len(p_values) - len(refused))):
            break
        refused.add(name)
    return refused


def _operators(types: Iterable[str]) -> list[str]:
    return [name for name in types if name != NET_DELAY]


def _goes_on(
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
    """A change worth finding that were one if it were the only operator, or as sure as so few pairs allow."""
    level = max(look.alpha, 2.0**-look.pairs)
    return (_at_most(one.p_slower, level) and one.is_slower(plan.target_change)) or (
        _at_most(one.p_faster, level) and one.is_faster(plan.target_change)
    )


def _decision(plan: SequentialPlan, judgement: _Judgement, family_size: int) -> SequentialDecision:
    one, look = judgement.evidence, judgement.look
    comparison = summaries.compare_log_ratios(one.usable) if one.usable.size else None
    smallest = smallest_change(plan, one.usable, (look.alpha or plan.alpha) / family_size)
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
    """The smallest change that a test at level ``alpha`` finds with a probability of about 1 - beta, or None.

    From the scatter of these pairs alone, wherever their centre is: the distance from the lower confidence
    limit at level alpha to the upper one at level beta, both from the signed-rank test (Hollander, Wolfe and
    Chicken, 3rd ed., 3.3), is the normal theory's (z_alpha + z_beta) standard errors without its assumption.
    Nor is a change found whose estimate is likely below the minimum effect.
    """
    import numpy as np

    alpha_cut, beta_cut = (
        summaries.signed_rank_cut(len(log_ratios), level)[0] for level in (alpha, plan.beta)
    )
    if not (alpha_cut and beta_cut):
        return None
    walsh = summaries.walsh_averages(log_ratios)
    center = float(np.median(walsh))
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
        return f"{numbers}; as much by chance: p {p_value:.2g}"
    if verdict is Verdict.UNCHANGED:
        return f"{numbers}; a change of {100 * plan.target_change:.3g} % or more is ruled out"
    if smallest is None:
        return f"{numbers}; too few to find any change"
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
