"""Operators that look values up by their place, or tell places."""

from __future__ import annotations

from typing import Any, Callable

import torch

from ..registry import FLOAT_OR_DOUBLE, Compute, Operator, operator, require
from .linear import canonical_axis


@operator("Gather", inputs=(2, 2))
def gather(op: Operator) -> Compute:
    """(A..., n, B...) and indices (I...) to (A..., I..., B...), with n at ``axis``."""
    return _gather(op, op.arguments.integer("axis", 0))


@operator("BatchGather", inputs=(2, 2))
def batch_gather(op: Operator) -> Compute:
    return _gather(op, 1)


def _gather(op: Operator, axis: int) -> Compute:
    wraps = op.arguments.boolean("wrap_indices", False)

    def compute(x: Any, indices: Any) -> Any:
        place = canonical_axis(axis, x.dim())
        flat = indices.reshape(-1).to(torch.int64)
        if wraps:
            flat = torch.where(flat < 0, flat + x.shape[place], flat)
        require(
            flat.numel() == 0 or (int(flat.min()) >= 0 and int(flat.max()) < x.shape[place]),
            "an index is outside of 0 ... %d" % (x.shape[place] - 1),
        )
        y = x.index_select(place, flat)
        return y.reshape(*x.shape[:place], *indices.shape, *x.shape[place + 1 :])

    return compute


@operator("OneHot", inputs=(2, 2))
def one_hot(op: Operator) -> Compute:
    """Indices (n,) and how many there are to (n, count)."""

    def compute(indices: Any, count: Any) -> Any:
        require(
            indices.dim() == 1 and count.numel() == 1, "the indices are no vector, or the count no number"
        )
        size = int(count)
        require(
            indices.numel() == 0 or (int(indices.min()) >= 0 and int(indices.max()) < size),
            "an index is outside of 0 ... %d" % (size - 1),
        )
        return torch.nn.functional.one_hot(indices.to(torch.int64), size).to(torch.float32)

    return compute


def _extreme(function: Callable[..., Any]) -> Callable[[Operator], Compute]:
    def prepare(op: Operator) -> Compute:
        axis = op.arguments.integer("axis", -1)
        keeps = op.arguments.boolean("keepdims", True)
        return lambda x: function(x, dim=canonical_axis(axis, x.dim()), keepdim=keeps)

    return prepare


operator("ArgMax")(_extreme(torch.argmax))
operator("ArgMin")(_extreme(torch.argmin))


@operator("TopK", outputs=(2, 3), takes=FLOAT_OR_DOUBLE)
def largest(op: Operator) -> Compute:
    """Values, their places along ``axis`` and, as a third output, their places in the flattened input."""
    count = op.arguments.integer("k", -1)
    axis = op.arguments.integer("axis", -1)
    require(count > 0, "k must be above 0")

    def compute(x: Any) -> Any:
        place = canonical_axis(axis, x.dim())
        ordered, indices = torch.sort(x, dim=place, descending=True, stable=True)
        kept = min(count, x.shape[place])
        values, places = ordered.narrow(place, 0, kept), indices.narrow(place, 0, kept)
        if kept < count:
            values, places = _padded(values, place, count - kept, 0), _padded(places, place, count - kept, -1)
        if op.output_count == 2:
            return values.contiguous(), places.contiguous()
        flat = torch.arange(x.numel()).reshape(x.shape).gather(place, indices).narrow(place, 0, kept)
        if kept < count:
            flat = _padded(flat, place, count - kept, -1)
        return values.contiguous(), places.contiguous(), flat.reshape(-1)

    return compute


def _padded(x: Any, axis: int, count: int, value: int) -> Any:
    shape = list(x.shape)
    shape[axis] = count
    return torch.cat([x, torch.full(shape, value, dtype=x.dtype)], axis)
