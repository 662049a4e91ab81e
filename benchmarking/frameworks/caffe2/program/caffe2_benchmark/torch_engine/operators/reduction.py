"""Operators that make one number out of many."""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional

import torch

from ..registry import FLOAT, FLOAT_OR_DOUBLE, NUMBER, Compute, Operator, operator, require
from .linear import canonical_axis

_Reduce = Callable[..., Any]

_REDUCTIONS: Dict[str, _Reduce] = {
    "Sum": lambda x, dim, keepdim: torch.sum(x, dim, keepdim=keepdim, dtype=x.dtype),
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


def _over_one_side(name: str, is_front: bool) -> Callable[[Operator], Compute]:
    """Of the first or last ``num_reduce_dim`` dimensions; a second input says how many values count."""
    function = _REDUCTIONS[name]

    def prepare(op: Operator) -> Compute:
        count = op.arguments.integer("num_reduce_dim", 1)

        def compute(x: Any, lengths: Optional[Any] = None) -> Any:
            require(0 <= count <= x.dim(), "num_reduce_dim %d is more than there are" % count)
            if lengths is not None:
                return _of_lengths(name, x, lengths, count, is_front)
            dims = list(range(count)) if is_front else list(range(x.dim() - count, x.dim()))
            return function(x, dim=dims, keepdim=False) if dims else x.clone()

        return compute

    return prepare


def _of_lengths(name: str, x: Any, lengths: Any, count: int, is_front: bool) -> Any:
    kept = x.shape[count:] if is_front else x.shape[: x.dim() - count]
    x = x.reshape(-1, kept.numel()).t() if is_front else x.reshape(kept.numel(), -1)
    require(lengths.shape == (kept.numel(),), "there are not %d lengths" % kept.numel())
    counts = torch.arange(x.shape[1])[None, :] < lengths[:, None]
    if name == "Max":
        return torch.where(counts, x, torch.full_like(x, float("-inf"))).amax(1).reshape(kept)
    total = torch.where(counts, x, torch.zeros_like(x)).sum(1)
    return (total / lengths if name == "Mean" else total).reshape(kept)


for _name, _function in _REDUCTIONS.items():
    operator("Reduce" + _name, takes=FLOAT if _name in ("Mean", "L1", "L2") else NUMBER)(
        _over_axes(_function)
    )
for _name in ("Sum", "Mean", "Max"):
    operator("ReduceFront" + _name, inputs=(1, 2))(_over_one_side(_name, is_front=True))
    operator("ReduceBack" + _name, inputs=(1, 2))(_over_one_side(_name, is_front=False))


@operator("SumElements", takes=FLOAT)
def sum_of_elements(op: Operator) -> Compute:
    return torch.mean if op.arguments.boolean("average", False) else torch.sum


@operator("SumSqrElements", takes=FLOAT_OR_DOUBLE)
def sum_of_squares(op: Operator) -> Compute:
    reduce = torch.mean if op.arguments.boolean("average", False) else torch.sum
    return lambda x: reduce(x.square())


@operator("AveragedLoss", takes=FLOAT)
def averaged_loss(op: Operator) -> Compute:
    return lambda x: x.mean() if x.numel() else x.new_zeros(())
