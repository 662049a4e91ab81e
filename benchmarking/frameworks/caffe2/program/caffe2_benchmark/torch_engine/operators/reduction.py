"""Operators that make one number out of many."""

from __future__ import annotations

from typing import Any, Callable, Dict

import torch

from ..registry import Compute, Operator, operator, require
from .linear import canonical_axis

_Reduce = Callable[..., Any]

_REDUCTIONS: Dict[str, _Reduce] = {
    "Sum": torch.sum,
    "Mean": torch.mean,
    "Max": torch.amax,
    "Min": torch.amin,
    "L1": lambda x, dim, keepdim: x.abs().sum(dim, keepdim=keepdim),
    "L2": lambda x, dim, keepdim: x.square().sum(dim, keepdim=keepdim).sqrt(),
}


def _over_axes(function: _Reduce) -> Callable[[Operator], Compute]:
    """``axes``: all where it is not given."""

    def prepare(op: Operator) -> Compute:
        axes = op.arguments.integers("axes")
        keeps = op.arguments.boolean("keepdims", True)

        def compute(x: Any) -> Any:
            dims = [canonical_axis(axis, x.dim()) for axis in (range(x.dim()) if axes is None else axes)]
            return function(x, dim=dims, keepdim=keeps) if dims else x.clone()

        return compute

    return prepare


def _over_one_side(function: _Reduce, is_front: bool) -> Callable[[Operator], Compute]:
    def prepare(op: Operator) -> Compute:
        count = op.arguments.integer("num_reduce_dim", 1)

        def compute(x: Any) -> Any:
            require(0 <= count <= x.dim(), "num_reduce_dim %d is more than there are" % count)
            dims = list(range(count)) if is_front else list(range(x.dim() - count, x.dim()))
            return function(x, dim=dims, keepdim=False) if dims else x.clone()

        return compute

    return prepare


for _name, _function in _REDUCTIONS.items():
    operator("Reduce" + _name)(_over_axes(_function))
for _name in ("Sum", "Mean", "Max"):
    operator("ReduceFront" + _name)(_over_one_side(_REDUCTIONS[_name], is_front=True))
    operator("ReduceBack" + _name)(_over_one_side(_REDUCTIONS[_name], is_front=False))


@operator("SumElements")
def sum_of_elements(op: Operator) -> Compute:
    return torch.mean if op.arguments.boolean("average", False) else torch.sum


@operator("SumSqrElements")
def sum_of_squares(op: Operator) -> Compute:
    reduce = torch.mean if op.arguments.boolean("average", False) else torch.sum
    return lambda x: reduce(x.square())


@operator("AveragedLoss")
def averaged_loss(op: Operator) -> Compute:
    return lambda x: x.mean() if x.numel() else x.new_zeros(())
