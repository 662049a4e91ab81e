"""Operators that treat the elements of several tensors pair by pair."""

from __future__ import annotations

from functools import reduce
from typing import Any, Callable, Dict

import torch

from ..arguments import Arguments
from ..registry import ANY, FLOAT, NUMBER, Compute, Operator, operator, require


@operator("Dropout", outputs=(1, 2), in_place=((0, 0),), takes=FLOAT, shares_memory=True)
def dropout(op: Operator) -> Compute:
    """In test mode it copies, and leaves the mask unwritten."""
    require_copy(op.arguments)
    return (lambda x: x) if op.output_count == 1 else (lambda x: (x,))


def require_copy(arguments: Arguments) -> None:
    """Of ``Dropout``.

    Raises:
        NetError: it would do more than to copy, or an argument is wrong.
    """
    require(arguments.boolean("is_test", False), "only is_test = 1 is supported: this program does not train")
    require(0 <= arguments.number("ratio", 0.5) < 1, "the ratio must be from 0 to below 1")


@operator("Sum", inputs=(1, ANY), in_place=((0, 0),), takes=NUMBER, same_type=True)
def add_all(op: Operator) -> Compute:
    def compute(first: Any, *others: Any) -> Any:
        require(all(other.shape == first.shape for other in others), "the inputs have different shapes")
        if op.overwrites:
            return reduce(torch.Tensor.add_, others, first)
        if not others:
            return first.clone()
        return reduce(torch.Tensor.add_, others[1:], first + others[0])

    return compute


@operator("Mean", inputs=(1, ANY), in_place=((0, 0),), same_type=True)
def mean_of_inputs(op: Operator) -> Compute:
    add = add_all(op)
    return lambda *inputs: add(*inputs).div_(len(inputs))


@operator("Pow", inputs=(1, 2), in_place=((0, 0), (1, 0)), takes=FLOAT)
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
        is_over = [name in op.outputs for name in op.inputs]
        axis = broadcast_axis(op)
        if op.arguments.boolean("broadcast", False):
            require(not is_over[1], "with the argument broadcast it can only overwrite the first input")
            return lambda a, b: function(a, _aligned(a, b, axis))
        require(axis == -1, "axis and axis_str need the argument broadcast")
        if any(is_over):
            return _of_the_shape_of(is_over.index(True), function)
        return function

    return prepare


def broadcast_axis(op: Operator) -> int:
    """Of the older broadcast: ``axis``, or the place of the letter ``axis_str`` in the order; -1: none."""
    axis, letter = op.arguments.integer("axis", -1), op.arguments.text("axis_str", "")
    if not letter:
        require(axis >= -1, "the axis must be 0 or above")
        return axis
    order = op.arguments.text("order", "NCHW")
    require(axis == -1, "axis and axis_str cannot be given together")
    require(len(letter) == 1 and letter in order, "the axis_str %r is not a letter of %s" % (letter, order))
    return order.index(letter)


def _of_the_shape_of(index: int, function: Callable[[Any, Any], Any]) -> Compute:
    """For a result that is written over an input, and so has to be as large."""

    def compute(*inputs: Any) -> Any:
        result = function(*inputs)
        require(result.shape == inputs[index].shape, "the result is larger than the input that it overwrites")
        return result

    return compute


def _aligned(a: Any, b: Any, axis: int) -> Any:
    """Caffe2's older broadcast: b's dimensions are a's from ``axis`` on; -1: a's last ones."""
    if b.numel() == 1:
        return b.reshape(())
    start = a.dim() - b.dim() if axis == -1 else axis
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
    _places = ((0, 0),) if _type == "Div" else ((0, 0), (1, 0))
    operator(_type, inputs=(2, 2), in_place=_places, takes=NUMBER, same_type=True)(binary(_function))
