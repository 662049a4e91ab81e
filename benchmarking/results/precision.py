"""How precisely programs compute, as they report it in the fact ``precision``. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarking.results.model import Fact

PRECISION = "precision"
TOLERANCES = {"f64": 1e-3, "f32": 1e-3, "tf32": 1e-2, "f16": 1e-2, "bf16": 5e-2, "int8": 2e-1}
"""From the most precise to the least: the largest deviation of a right answer, as a fraction of its largest
value. Rounding adds up over a net: bf16 keeps 8 bits, and an encoder of 12 layers is off by a hundredth."""
USUAL = "f32"


def of(facts: Mapping[str, Fact]) -> str:
    """Empty: the program does not report it, or in words of its own."""
    told = facts.get(PRECISION)
    return told if isinstance(told, str) and told in TOLERANCES else ""


def tolerance(*precisions: str) -> float:
    """Of an answer that is compared with another one: what belongs to the less precise of the two."""
    return max(TOLERANCES[one or USUAL] for one in precisions)


def most_precise(precisions: Sequence[str]) -> str:
    """Of those that are known; empty: none is."""
    return min(filter(None, precisions), key=_rank, default="")


def is_less(one: str, other: str) -> bool:
    """Whether ``one`` is known to be less precise."""
    return bool(one and other) and _rank(one) > _rank(other)


def _rank(precision: str) -> int:
    return list(TOLERANCES).index(precision)
