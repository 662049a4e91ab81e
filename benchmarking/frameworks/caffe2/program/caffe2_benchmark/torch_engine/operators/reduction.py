"""Operators that reduce many numbers to one."""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, List, Optional

import torch

from ..registry import FLOAT, FLOAT_OR_DOUBLE, NUMBER, Compute, Operator, operator, require
from .linear import canonical_axis

_Reduce = Callable[..., Any]


def _mean(x: Any, dim: List[int], keepdim: bool) -> Any:
    """The mean, 0 for no values; for integers rounded towards 0."""
    if x.is_floating_point() and x.numel():
        return torch.mean(x, dim, keepdim=keepdim)
    total = torch.sum(x, dim, keepdim=keepdim, dtype=x.dtype)
    count = math.prod(x.shape[axis] for axis in dim)
    return torch.div(total, count, rounding_mode="trunc").to(x.dtype) if count else total


def _or_if_empty(function: _Reduce, limit: str) -> _Reduce:
    """For no values, the smallest or largest number of the type."""

    def reduce(x: Any, dim: List[int], keepdim: bool) -> Any:
        if all(x.shape[axis] for axis in dim):
            return function(x, dim=dim, keepdim=keepdim)
        info = torch.finfo(x.dtype) if x.is_floating_point() else torch.iinfo(x.dtype)
        return torch.full_like(torch.sum(x, dim, keepdim=keepdim, dtype=x.dtype), getattr(info, limit))

    return reduce


_REDUCTIONS: Dict[str, _Reduce] = {
    "Sum": lambda x, dim, keepdim: torch.sum(x, dim, keepdim=keepdim, dtype=x.dtype),
    "Mean": _mean,
    "Max": _or_if_empty(torch.amax, "min"),
    "Min": _or_if_empty(torch.amin, "max"),
    "L1": lambda x, dim, keepdim: x.abs().sum(dim, keepdim=keepdim),
    "L2": lambda x, dim, keepdim: x.square().sum(dim, keepdim=keepdim).sqrt(),
}


def _over_axes(function: _Reduce) -> Callable[[Operator], Compute]:
    """``axes``: all axes if it is missing or empty."""

    def prepare(op: Operator) -> Compute:
        axes = op.arguments.integers("axes")
        keeps = op.arguments.boolean("keepdims", True)

        def compute(x: Any) -> Any:
            if x.dim() == 0:
                return function(x.reshape(1), dim=[0], keepdim=False)
            dims = [canonical_axis(axis, x.dim()) for axis in axes or range(x.dim())]
            return function(x, dim=sorted(set(dims)), keepdim=keeps)

        return compute

    return prepare


def _over_one_side(name: str, is_front: bool) -> Callable[[Operator], Compute]:
    """Over the first or last ``num_reduce_dim`` dimensions; a second input gives the number of values that
    count.
    """
    function = _REDUCTIONS[name]

    def prepare(op: Operator) -> Compute:
        count = op.arguments.integer("num_reduce_dim", 1)

        def compute(x: Any, lengths: Optional[Any] = None) -> Any:
            require(0 <= count <= x.dim(), "num_reduce_dim %d is more than the number of dimensions" % count)
            if lengths is not None:
                return _of_lengths(name, x, lengths, count, is_front)
            dims = list(range(count)) if is_front else list(range(x.dim() - count, x.dim()))
            return function(x, dim=dims, keepdim=False) if dims else x.clone()

        return compute

    return prepare


def _of_lengths(name: str, x: Any, lengths: Any, count: int, is_front: bool) -> Any:
    """The first value also counts if the length is 0, but the mean divides by the length."""
    kept = x.shape[count:] if is_front else x.shape[: x.dim() - count]
    x = x.reshape(-1, kept.numel()).t() if is_front else x.reshape(kept.numel(), -1)
    require(lengths.shape == (kept.numel(),), "the number of lengths is not %d" % kept.numel())
    counts = torch.arange(x.shape[1], device=x.device)[None, :] < lengths[:, None].clamp(min=1)
    if name == "Max":
        return torch.where(counts, x, torch.full_like(x, float("-inf"))).amax(1).reshape(kept)
    total = torch.where(counts, x, torch.zeros_like(x)).sum(1, dtype=x.dtype)
    if name == "Mean":
        total = torch.div(total, lengths, rounding_mode=None if x.is_floating_point() else "trunc")
    return total.to(x.dtype).reshape(kept)


for _name, _function in _REDUCTIONS.items():
    operator("Reduce" + _name, takes=FLOAT if _name in ("Mean", "L1", "L2") else NUMBER)(
        _over_axes(_function)
    )
for _name in ("Sum", "Mean", "Max"):
    _takes = FLOAT if _name == "Max" else NUMBER
    operator("ReduceFront" + _name, inputs=(1, 2), takes=_takes)(_over_one_side(_name, is_front=True))
    operator("ReduceBack" + _name, inputs=(1, 2), takes=_takes)(_over_one_side(_name, is_front=False))


@operator("SumElements", takes=FLOAT)
def sum_of_elements(op: Operator) -> Compute:
    return _mean_of_all if op.arguments.boolean("average", False) else torch.sum


def _mean_of_all(x: Any) -> Any:
    return x.mean() if x.numel() else x.new_zeros(())


@operator("SumSqrElements", takes=FLOAT_OR_DOUBLE)
def sum_of_squares(op: Operator) -> Compute:
    reduce = _mean_of_all if op.arguments.boolean("average", False) else torch.sum
    return lambda x: reduce(x.square())


@operator("AveragedLoss", takes=FLOAT)
def averaged_loss(op: Operator) -> Compute:
    return _mean_of_all
