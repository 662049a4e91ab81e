"""The least work that an operator has to do: arithmetic, and memory read and written once.

A multiplication with an addition counts as two floating-point operations; a comparison, a division, a power
or an exponential counts as one. Moves and look-ups do not count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class TensorFacts(NamedTuple):
    name: str
    shape: tuple[int, ...]
    item_bytes: int
    is_weight: bool
    """Whether the tensor existed before the model ran and is not an input."""

    @property
    def size(self) -> int:
        return math.prod(self.shape)


class OperatorFacts(NamedTuple):
    """One operator of a model as it ran."""

    name: str
    flops: int
    inputs: Sequence[TensorFacts]
    outputs: Sequence[TensorFacts]


class Cost(NamedTuple):
    parameters: int
    flops: int
    """Floating-point operations."""
    bytes: int


def cost(operator: OperatorFacts) -> Cost:
    parameters = sum(tensor.size for tensor in operator.inputs if tensor.is_weight)
    moved = sum(tensor.size * tensor.item_bytes for tensor in (*operator.inputs, *operator.outputs))
    return Cost(parameters, operator.flops, moved)


def total(operators: Sequence[OperatorFacts]) -> Cost:
    """The cost of a model; weights that several operators share are counted once."""
    costs = [cost(operator) for operator in operators]
    weights = {tensor.name: tensor.size for one in operators for tensor in one.inputs if tensor.is_weight}
    return Cost(sum(weights.values()), sum(one.flops for one in costs), sum(one.bytes for one in costs))
