"""Fully connected layers and softmax."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as functional

from ..registry import FLOAT, Compute, Operator, by_shape, operator, require


def canonical_axis(axis: int, dimensions: int) -> int:
    require(-dimensions <= axis < dimensions, "there is no axis %d among %d" % (axis, dimensions))
    return axis % dimensions


@operator("FC", "FCTransposed", inputs=(3, 3), takes=FLOAT)
def fully_connected(op: Operator) -> Compute:
    """y = x w^T + b, with x flattened at ``axis`` and w at ``axis_w``; leading dimensions of x stay.

    FCTransposed has the weights the other way round: y = x w + b.
    """
    axis = op.arguments.integer("axis", 1)
    axis_w = op.arguments.integer("axis_w", 1)
    is_transposed = op.type == "FCTransposed"

    def prepare(x: Any, weight: Any, bias: Any) -> Compute:
        kept = x.shape[: canonical_axis(axis, x.dim())]
        columns = x.shape[len(kept) :].numel()
        first = weight.shape[: canonical_axis(axis_w, weight.dim())].numel()
        second = weight.shape[canonical_axis(axis_w, weight.dim()) :].numel()
        outputs, inputs = (second, first) if is_transposed else (first, second)
        require(inputs == columns, "the weights do not fit an input of %d values" % columns)
        require(bias.dim() == 1 and bias.numel() == outputs, "the bias has not %d values" % outputs)
        rows, result = kept.numel(), (*kept, outputs)

        def compute(x: Any, weight: Any, bias: Any) -> Any:
            weight = weight.reshape(first, second)
            y = functional.linear(x.reshape(rows, columns), weight.t() if is_transposed else weight, bias)
            return y.reshape(result)

        return compute

    return by_shape(prepare)


@operator("Softmax", takes=FLOAT)
def softmax(op: Operator) -> Compute:
    """Normalises everything from ``axis`` on together."""
    axis = op.arguments.integer("axis", 1)

    def compute(x: Any) -> Any:
        return torch.softmax(x.flatten(canonical_axis(axis, x.dim())), dim=-1).reshape(x.shape)

    return compute
