"""Operators that treat the elements of several tensors pair by pair."""

from __future__ import annotations

from functools import reduce
from typing import Any, Callable, Dict

import torch

from ..registry import ANY, FLOAT, NUMBER, Compute, Operator, operator, require
from .linear import canonical_axis


@operator("Dropout", outputs=(1, 2), in_place=((0, 0),), shares_memory=True)
def dropout(op: Operator) -> Compute:
    """In test mode it copies, and leaves the mask unwritten."""
    require(
        op.arguments.boolean("is_test", False), "only is_test = 1 is supported: this program does not train"
    )
    return (lambda x: x) if op.output_count == 1 else (lambda x: (x,))


@operator("Sum", inputs=(1, ANY), in_place=((0, 0),))
def add_all(op: Operator) -> Compute:
    def compute(first: Any, *others: Any) -> Any:
        require(all(other.shape == first.shape for other in others), "the inputs have different shapes")
        if op.overwrites:
            return reduce(torch.Tensor.add_, others, first)
        if not others:
            return first.clone()
        return reduce(torch.Tensor.add_, others[1:], first + others[0])

    return compute


@operator("Mean", inputs=(1, ANY), in_place=((0, 0),))
def mean_of_inputs(op: Operator) -> Compute:
    add = add_all(op)
    return lambda *inputs: add(*inputs).div_(len(inputs))


@operator("Pow", inputs=(1, 2), in_place=((0, 0),), takes=FLOAT)
def power(op: Operator) -> Compute:
    """The exponent is the argument or the second input."""
    if op.input_count == 2:
        return _power_by_input(op)
    exponent = op.arguments.number("exponent", 0.0)
    require(op.arguments.has("exponent"), "neither an argument nor an input gives the exponent")
    return lambda x: torch.pow(x, exponent)


def _power_by_input(op: Operator) -> Compute:
    broadcasts = op.arguments.boolean("broadcast", False)
    compute = binary(torch.pow)(op)

    def checked(base: Any, exponent: Any) -> Any:
        require(broadcasts or base.shape == exponent.shape, "the inputs have different shapes")
        return compute(base, exponent)

    return checked


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
        0 <= start <= a.dim() - b.dim()
        and all(size in (1, wanted) for size, wanted in zip(b.shape, a.shape[start:])),
        "%s cannot be broadcast to %s at axis %d" % (list(b.shape), list(a.shape), start),
    )
    return b.reshape(*b.shape, *[1] * (a.dim() - start - b.dim()))


def _divide(a: Any, b: Any) -> Any:
    return torch.div(a, b) if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


_ARITHMETIC: Dict[str, Callable[[Any, Any], Any]] = {
    "Add": torch.add,
    "Sub": torch.sub,
    "Mul": torch.mul,
    "Div": _divide,
}

for _type, _function in _ARITHMETIC.items():
    operator(_type, inputs=(2, 2), in_place=((0, 0), (1, 0)), takes=NUMBER)(binary(_function))
