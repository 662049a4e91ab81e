"""Comparisons, logic, and selections by them."""

from __future__ import annotations

from functools import reduce
from typing import Any, Callable, Dict

import torch

from ..registry import ANY, BOOL, FLOAT, NUMBER, Compute, Operator, operator, require
from .elementwise import binary

_OF_TWO: Dict[str, Callable[[Any, Any], Any]] = {
    "GT": torch.gt,
    "LT": torch.lt,
    "GE": torch.ge,
    "LE": torch.le,
    "EQ": torch.eq,
    "NE": torch.ne,
    "And": torch.logical_and,
    "Or": torch.logical_or,
    "Xor": torch.logical_xor,
}

for _type, _function in _OF_TWO.items():
    _is_logic = _type in ("And", "Or", "Xor")
    operator(
        _type,
        inputs=(2, 2),
        in_place=((0, 0),) if _is_logic else (),
        takes=BOOL if _is_logic else NUMBER + BOOL,
        same_type=True,
    )(binary(_function))


@operator("Not", takes=BOOL)
def negation(op: Operator) -> Compute:
    return torch.logical_not


@operator("Where", inputs=(3, 3), takes=BOOL)
def where(op: Operator) -> Compute:
    """With ``broadcast_on_rows`` the condition has one value for each row."""
    by_row = op.arguments.boolean("broadcast_on_rows", False)

    def compute(condition: Any, x: Any, y: Any) -> Any:
        require(x.dtype in NUMBER + BOOL and x.dtype == y.dtype, "the values' types do not fit")
        require(x.shape == y.shape, "the values have different shapes")
        if by_row:
            require(condition.dim() == 1, "the condition has more than one dimension")
            condition = condition.reshape(-1, *[1] * (x.dim() - 1))
        else:
            require(condition.shape == x.shape, "the condition has another shape than the values")
        return torch.where(condition, x, y)

    return compute


def _over_inputs(function: Callable[[Any, Any], Any]) -> Callable[[Operator], Compute]:
    def compute(*inputs: Any) -> Any:
        require(len({x.shape for x in inputs}) == 1, "the inputs have different shapes")
        return reduce(function, inputs) if len(inputs) > 1 else inputs[0].clone()

    return lambda op: compute


operator("Max", inputs=(1, ANY), in_place=((0, 0),), takes=FLOAT, same_type=True)(_over_inputs(torch.maximum))
operator("Min", inputs=(1, ANY), in_place=((0, 0),), takes=FLOAT, same_type=True)(_over_inputs(torch.minimum))


@operator("IsEmpty")
def is_empty(op: Operator) -> Compute:
    return lambda x: torch.tensor(x.numel() == 0)
