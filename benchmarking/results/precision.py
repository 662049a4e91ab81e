"""The precision with which programs compute, as they report it in the fact ``precision``. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarking.results.model import Fact

PRECISION = "precision"
TOLERANCES = {"f64": 1e-3, "f32": 1e-3, "tf32": 1e-2, "f16": 1e-2, "bf16": 5e-2, "int8": 2e-1}
"""From the most precise to the least precise: the largest deviation of a correct output, as a fraction of its
largest value. Rounding errors accumulate over a net: bf16 keeps 8 bits, and an encoder of 12 layers is off by
a hundredth.
"""
USUAL = "f32"
"""Of a program that does not report it, or says that it computes as the model asks."""


def of(facts: Mapping[str, Fact]) -> str:
    """The least precise of those that are reported (``bf16+f32``); empty where none is known."""
    reported = facts.get(PRECISION)
    known = [one for one in str(reported).split("+") if one in TOLERANCES]
    return max(known, key=_rank, default="")


def tolerance(*precisions: str) -> float:
    """The tolerance of an output that is compared with another: that of the less precise of the two."""
    return max(TOLERANCES[one or USUAL] for one in precisions)


def most_precise(precisions: Sequence[str]) -> str:
    return min((one or USUAL for one in precisions), key=_rank, default=USUAL)


def is_less(one: str, other: str) -> bool:
    """Whether ``one`` is known to be less precise."""
    return bool(one) and _rank(one) > _rank(other)


def _rank(precision: str) -> int:
    return list(TOLERANCES).index(precision)
