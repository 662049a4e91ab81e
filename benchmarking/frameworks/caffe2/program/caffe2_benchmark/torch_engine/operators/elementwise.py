"""Operators that treat each element by itself."""

from __future__ import annotations

from typing import Any, Callable, Dict

import torch
import torch.nn.functional as functional

from ..registry import ANY, Compute, Operator, operator, require
from .geometry import is_channels_last
from .linear import canonical_axis

_UNARY: Dict[str, Callable[[Any], Any]] = {
    "Sigmoid": torch.sigmoid,
    "Tanh": torch.tanh,
    "Abs": torch.abs,
    "Exp": torch.exp,
    "Log": torch.log,
    "Sqrt": torch.sqrt,
    "Sqr": torch.square,
    "Negative": torch.neg,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Cos": torch.cos,
    "Floor": torch.floor,
    "Ceil": torch.ceil,
    "Softsign": functional.softsign,
    "Copy": torch.clone,
    "StopGradient": torch.clone,
}


def _unary(function: Callable[[Any], Any]) -> Callable[[Operator], Compute]:
    return lambda op: function


@operator("Relu", in_place=((0, 0),))
def relu(op: Operator) -> Compute:
    return torch.relu_ if op.overwrites else torch.relu


for _type, _function in _UNARY.items():
    operator(_type, in_place=((0, 0),))(_unary(_function))


@operator("Scale", in_place=((0, 0),))
def scale(op: Operator) -> Compute:
    factor = op.arguments.number("scale", 1.0)
    return lambda x: x * factor


@operator("Dropout", outputs=(1, 2), in_place=((0, 0),), shares_memory=True)
def dropout(op: Operator) -> Compute:
    """In test mode it copies, and leaves the mask unwritten."""
    require(
        op.arguments.boolean("is_test", False), "only is_test = 1 is supported: this program does not train"
    )
    return (lambda x: x) if op.output_count == 1 else (lambda x: (x,))


@operator("PRelu", inputs=(2, 2), in_place=((0, 0),))
def parametric_relu(op: Operator) -> Compute:
    channels_last = is_channels_last(op.arguments)

    def compute(x: Any, slope: Any) -> Any:
        if channels_last and slope.numel() > 1:
            return torch.where(x > 0, x, x * slope)
        return functional.prelu(x, slope)

    return compute


@operator("Sum", inputs=(1, ANY), in_place=((0, 0),))
def add_all(op: Operator) -> Compute:
    def compute(first: Any, *others: Any) -> Any:
        require(all(other.shape == first.shape for other in others), "the inputs have different shapes")
        if op.overwrites:
            total = first
        elif others:
            total, others = first + others[0], others[1:]
        else:
            total = first.clone()
        for other in others:
            total.add_(other)
        return total

    return compute


def binary(function: Callable[[Any, Any], Any]) -> Callable[[Operator], Compute]:
    """An operator of two tensors, with numpy's broadcast or, where asked for, Caffe2's older one."""

    def prepare(op: Operator) -> Compute:
        if not op.arguments.boolean("broadcast", False):
            return function
        axis = op.arguments.integer("axis", -1)
        return lambda a, b: function(a, _aligned(a, b, axis))

    return prepare


def _aligned(a: Any, b: Any, axis: int) -> Any:
    """Caffe2's older broadcast: b's dimensions are a's from ``axis`` on; -1: a's last ones."""
    if b.numel() == 1:
        return b.reshape(())
    start = a.dim() - b.dim() if axis == -1 else canonical_axis(axis, a.dim())
    require(
        start >= 0 and a.shape[start : start + b.dim()] == b.shape,
        "%s cannot be broadcast to %s at axis %d" % (list(b.shape), list(a.shape), start),
    )
    return b.reshape(*b.shape, *[1] * (a.dim() - start - b.dim()))


def _divide(a: Any, b: Any) -> Any:
    return torch.div(a, b) if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


_BINARY: Dict[str, Callable[[Any, Any], Any]] = {
    "Add": torch.add,
    "Sub": torch.sub,
    "Mul": torch.mul,
    "Div": _divide,
}

for _type, _function_of_two in _BINARY.items():
    operator(_type, inputs=(2, 2), in_place=((0, 0), (1, 0)))(binary(_function_of_two))
