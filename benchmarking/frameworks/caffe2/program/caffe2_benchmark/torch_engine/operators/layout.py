"""Operators that give the same values another shape, or report the shape."""

from __future__ import annotations

from typing import Any

import torch

from ..registry import Compute, Operator, operator, require


@operator("FlattenToVec", shares_memory=True)
def flatten_to_vector(op: Operator) -> Compute:
    def compute(x: Any) -> Any:
        require(x.dim() >= 1, "the input has no dimension")
        return x.reshape(-1)

    return compute


@operator("ExpandDims", in_place=((0, 0),), shares_memory=True)
def expand_dimensions(op: Operator) -> Compute:
    """``dims`` are places in the output."""
    dims = sorted(set(op.arguments.integers("dims") or []))
    require(bool(dims) and dims[0] >= 0, "dims must name dimensions from 0 on")

    def compute(x: Any) -> Any:
        for axis in dims:
            x = x.unsqueeze(axis)
        return x

    return compute


@operator("Squeeze", in_place=((0, 0),), shares_memory=True)
def squeeze(op: Operator) -> Compute:
    dims = sorted(set(op.arguments.integers("dims") or []), reverse=True)
    require(bool(dims) and dims[-1] >= 0, "dims must name dimensions from 0 on")

    def compute(x: Any) -> Any:
        for axis in dims:
            require(axis < x.dim() and x.shape[axis] == 1, "dimension %d is not 1" % axis)
            x = x.squeeze(axis)
        return x

    return compute


@operator("Shape")
def shape(op: Operator) -> Compute:
    axes = op.arguments.integers("axes")
    return lambda x: torch.tensor(
        list(x.shape) if not axes else [x.shape[axis] for axis in axes], dtype=torch.int64
    )


@operator("Size")
def size(op: Operator) -> Compute:
    return lambda x: torch.tensor(x.numel(), dtype=torch.int64)


@operator("ResizeLike", inputs=(2, 2), shares_memory=True)
def resize_like(op: Operator) -> Compute:
    return lambda x, like: x.reshape(like.shape)


ALIASES = ("Alias", "AliasWithName")
"""An operator that writes one of the names changes the other's blob, too; the plan sees to that."""


@operator("Alias", shares_memory=True)
def alias(op: Operator) -> Compute:
    return lambda x: x


@operator("AliasWithName", in_place=((0, 0),), shares_memory=True)
def alias_with_name(op: Operator) -> Compute:
    require(bool(op.arguments.text("name", "")), "the argument name is missing")
    return lambda x: x
