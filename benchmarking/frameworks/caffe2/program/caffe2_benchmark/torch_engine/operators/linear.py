"""Fully connected layers and softmax."""

from __future__ import annotations

from typing import Any, NamedTuple, Tuple

import torch
import torch.nn.functional as functional

from ..registry import FLOAT, Compute, Operator, by_shape, operator, require


def canonical_axis(axis: int, dimensions: int) -> int:
    require(-dimensions <= axis < dimensions, "there is no axis %d among %d" % (axis, dimensions))
    return axis % dimensions


class Layer(NamedTuple):
    """A fully connected layer for one shape of the input."""

    rows: int
    inputs: int
    outputs: int
    weight_shape: Tuple[int, int]
    """Of the weights as a matrix, as they lie there."""
    is_transposed: bool
    """Whether that is (inputs, outputs)."""
    result: Tuple[int, ...]
    """The output's shape."""

    def on(self, multiply: Compute) -> Compute:
        """A function of a matrix and whatever else, as one of the input as it is."""
        rows, inputs, result = self.rows, self.inputs, self.result
        return lambda x, *others: multiply(x.reshape(rows, inputs), *others).reshape(result)


def fitting(op: Operator, x: Any, weight: Any, bias: Any) -> Layer:
    """y = x w^T + b, with x flattened at ``axis`` and w at ``axis_w``; leading dimensions of x stay.

    FCTransposed has the weights the other way round: y = x w + b.
    """
    kept = x.shape[: canonical_axis(op.arguments.integer("axis", 1), x.dim())]
    columns = x.shape[len(kept) :].numel()
    axis_w = canonical_axis(op.arguments.integer("axis_w", 1), weight.dim())
    first, second = weight.shape[:axis_w].numel(), weight.shape[axis_w:].numel()
    is_transposed = op.type == "FCTransposed"
    outputs, inputs = (second, first) if is_transposed else (first, second)
    require(inputs == columns, "the weights do not fit an input of %d values" % columns)
    require(bias.dim() == 1 and bias.numel() == outputs, "the bias does not have %d values" % outputs)
    return Layer(kept.numel(), inputs, outputs, (first, second), is_transposed, (*kept, outputs))


def as_matrix(weight: Any, layer: Layer) -> Any:
    """The weights as (outputs, inputs)."""
    weight = weight.reshape(layer.weight_shape)
    return weight.t() if layer.is_transposed else weight


@operator("FC", "FCTransposed", inputs=(3, 3), takes=FLOAT)
def fully_connected(op: Operator) -> Compute:
    def prepare(x: Any, weight: Any, bias: Any) -> Compute:
        layer = fitting(op, x, weight, bias)
        return layer.on(lambda x, weight, bias: functional.linear(x, as_matrix(weight, layer), bias))

    return by_shape(prepare)


@operator("Softmax", takes=FLOAT)
def softmax(op: Operator) -> Compute:
    """Normalises everything from ``axis`` on together."""
    axis = op.arguments.integer("axis", 1)

    def compute(x: Any) -> Any:
        return torch.softmax(x.flatten(canonical_axis(axis, x.dim())), dim=-1).reshape(x.shape)

    return compute
