"""Operators that look up values by their position, or report positions."""

from __future__ import annotations

from typing import Any, Callable, Optional

import torch

from ..registry import FLOAT, NUMBER, Compute, Operator, operator, require
from .linear import canonical_axis


@operator("Gather", inputs=(2, 2))
def gather(op: Operator) -> Compute:
    """(A..., n, B...) and indices (I...) to (A..., I..., B...), with n at ``axis``."""
    require(not op.arguments.boolean("match_outer", False), "match_outer is not supported")
    return _gather(op, op.arguments.integer("axis", 0), op.arguments.boolean("wrap_indices", False))


@operator("BatchGather", inputs=(2, 2))
def batch_gather(op: Operator) -> Compute:
    return _gather(op, 1, False)


def _gather(op: Operator, axis: int, wraps: bool) -> Compute:
    def compute(x: Any, indices: Any) -> Any:
        place = canonical_axis(axis, x.dim())
        flat = indices.reshape(-1).to(torch.int64)
        if wraps:
            flat = torch.where(flat < 0, flat + x.shape[place], flat)
        require(
            flat.numel() == 0 or (int(flat.min()) >= 0 and int(flat.max()) < x.shape[place]),
            "an index is outside 0 ... %d" % (x.shape[place] - 1),
        )
        y = x.index_select(place, flat)
        return y.reshape((*x.shape[:place], *indices.shape, *x.shape[place + 1 :]))

    return compute


@operator("OneHot", inputs=(2, 2), takes=(torch.int64,), same_type=True)
def one_hot(op: Operator) -> Compute:
    """Indices (n,) and how many there are to (n, count)."""

    def compute(indices: Any, count: Any) -> Any:
        require(
            indices.dim() == 1 and count.numel() == 1,
            "the indices are not a vector, or the count is not a number",
        )
        size = int(count)
        require(
            indices.numel() == 0 or (int(indices.min()) >= 0 and int(indices.max()) < size),
            "an index is outside 0 ... %d" % (size - 1),
        )
        return torch.nn.functional.one_hot(indices.to(torch.int64), size).to(torch.float32)

    return compute


def _extreme(function: Callable[..., Any]) -> Callable[[Operator], Compute]:
    def prepare(op: Operator) -> Compute:
        axis = _axis(op)
        keeps = op.arguments.boolean("keepdims", True)

        def compute(x: Any) -> Any:
            place = canonical_axis(axis, x.dim())
            if x.shape[place] == 0:
                return torch.zeros_like(x.sum(place, keepdim=keeps), dtype=torch.int64)
            return function(x, dim=place, keepdim=keeps)

        return compute

    return prepare


def _axis(op: Operator) -> int:
    axis = op.arguments.integer("axis", -1)
    require(axis >= -1, "the axis must be -1 or above")
    return axis


operator("ArgMax", takes=NUMBER)(_extreme(torch.argmax))
operator("ArgMin", takes=NUMBER)(_extreme(torch.argmin))


@operator("TopK", inputs=(1, 2), outputs=(2, 3), takes=FLOAT)
def largest(op: Operator) -> Compute:
    """The ``k`` largest values, their places along ``axis`` and, third, their places in the flattened input.

    ``k`` is an argument or the second input.
    """
    given = op.arguments.integer("k", -1)
    axis = _axis(op)
    require(given > 0 or op.input_count == 2, "k must be above 0")

    def compute(x: Any, number: Optional[Any] = None) -> Any:
        count = given if number is None else int(number)
        require(count > 0, "k must be above 0")
        place = canonical_axis(axis, x.dim())
        ordered, indices = torch.sort(x, dim=place, descending=True, stable=True)
        kept = min(count, x.shape[place])
        values, places = ordered.narrow(place, 0, kept), indices.narrow(place, 0, kept)
        if kept < count:
            values, places = _padded(values, place, count - kept, 0), _padded(places, place, count - kept, -1)
        if op.output_count == 2:
            return values.contiguous(), places.contiguous()
        flat = (
            torch.arange(x.numel(), device=x.device)
            .reshape(x.shape)
            .gather(place, indices)
            .narrow(place, 0, kept)
        )
        if kept < count:
            flat = _padded(flat, place, count - kept, -1)
        return values.contiguous(), places.contiguous(), flat.reshape(-1)

    return compute


def _padded(x: Any, axis: int, count: int, value: int) -> Any:
    shape = list(x.shape)
    shape[axis] = count
    return torch.cat([x, torch.full(shape, value, dtype=x.dtype, device=x.device)], axis)
