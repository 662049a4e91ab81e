"""Fully connected layers and softmax."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as functional

from ..registry import Compute, Operator, operator, require


def canonical_axis(axis: int, dimensions: int) -> int:
    require(-dimensions <= axis < dimensions, "there is no axis %d among %d" % (axis, dimensions))
    return axis % dimensions


@operator("FC", inputs=(3, 3))
def fully_connected(op: Operator) -> Compute:
    """y = x w^T + b, with x flattened at ``axis`` and w at ``axis_w``; leading dimensions of x stay."""
    axis = op.arguments.integer("axis", 1)
    axis_w = op.arguments.integer("axis_w", 1)

    def compute(x: Any, weight: Any, bias: Any) -> Any:
        kept = x.shape[: canonical_axis(axis, x.dim())]
        rows = weight.shape[: canonical_axis(axis_w, weight.dim())].numel()
        columns = x.shape[len(kept) :].numel()
        require(weight.numel() == rows * columns, "the weights do not fit an input of %d values" % columns)
        require(bias.dim() == 1 and bias.numel() == rows, "the bias has not %d values" % rows)
        y = functional.linear(x.reshape(kept.numel(), columns), weight.reshape(rows, columns), bias)
        return y.reshape(*kept, rows)

    return compute


@operator("Softmax")
def softmax(op: Operator) -> Compute:
    """Normalises everything from ``axis`` on together."""
    axis = op.arguments.integer("axis", 1)

    def compute(x: Any) -> Any:
        kept = x.shape[: canonical_axis(axis, x.dim())].numel()
        return torch.softmax(x.reshape(kept, -1), dim=1).reshape(x.shape)

    return compute
