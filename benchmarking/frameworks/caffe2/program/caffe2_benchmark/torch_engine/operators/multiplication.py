"""Products of matrices and of their rows."""

from __future__ import annotations

from typing import Any, Callable

import torch

from ..registry import FLOAT, Compute, Operator, operator, require
from .linear import canonical_axis

NORM_FLOOR = 1e-12
"""The least squared norm that a cosine divides by."""


@operator("MatMul", inputs=(2, 2), takes=FLOAT, same_type=True)
def multiply_matrices(op: Operator) -> Compute:
    """Each input is flattened to a matrix at its axis (1), then transposed if asked for."""
    axes = op.arguments.integer("axis_a", 1), op.arguments.integer("axis_b", 1)
    transposed = op.arguments.boolean("trans_a", False), op.arguments.boolean("trans_b", False)

    def matrix(x: Any, axis: int, is_transposed: bool) -> Any:
        rows = x.shape[: canonical_axis(axis, x.dim())].numel()
        x = x.reshape(rows, x.shape[canonical_axis(axis, x.dim()) :].numel())
        return x.t() if is_transposed else x

    return lambda a, b: torch.mm(matrix(a, axes[0], transposed[0]), matrix(b, axes[1], transposed[1]))


@operator("BatchMatMul", inputs=(2, 2), takes=FLOAT, same_type=True)
def multiply_batches(op: Operator) -> Compute:
    """(..., M, K) and (..., K, N) to (..., M, N); with ``broadcast`` as numpy does."""
    transposed = op.arguments.boolean("trans_a", False), op.arguments.boolean("trans_b", False)
    broadcasts = op.arguments.boolean("broadcast", False)

    def compute(a: Any, b: Any) -> Any:
        is_vector = a.dim() == 1 or b.dim() == 1
        require(broadcasts or is_vector or a.shape[:-2] == b.shape[:-2], "the inputs have different batches")
        if transposed[0] and a.dim() > 1:
            a = a.transpose(-1, -2)
        if transposed[1] and b.dim() > 1:
            b = b.transpose(-1, -2)
        product = torch.matmul(a, b)
        return product if product.dim() else product.reshape(1)

    return compute


def _of_rows(function: Callable[[Any, Any], Any]) -> Callable[[Operator], Compute]:
    """(N, ...) and (N, ...) to (N,)."""

    def compute(a: Any, b: Any) -> Any:
        require(a.shape == b.shape, "the inputs have different shapes")
        rows = a.shape[0] if a.dim() else 1
        columns = a.shape[1:].numel()
        return function(a.reshape(rows, columns), b.reshape(rows, columns))

    return lambda op: compute


def _dot(a: Any, b: Any) -> Any:
    return (a * b).sum(1)


def _cosine(a: Any, b: Any) -> Any:
    squares = _dot(a, a).clamp_(min=NORM_FLOOR) * _dot(b, b).clamp_(min=NORM_FLOOR)
    return _dot(a, b) / squares.sqrt()


for _type, _function in (
    ("DotProduct", _dot),
    ("CosineSimilarity", _cosine),
    ("SquaredL2Distance", lambda a, b: (a - b).square().sum(1) / 2),
):
    operator(_type, inputs=(2, 2), takes=FLOAT, same_type=True)(_of_rows(_function))
