"""Operators that change the size of an image."""

from __future__ import annotations

from typing import Any, List, Optional, Sequence, Tuple

import torch
import torch.nn.functional as functional

from ..registry import Compute, Operator, operator, require
from .geometry import is_channels_last


def _scales(op: Operator, names: Sequence[str], given: Optional[Any]) -> List[float]:
    """The scale of each dimension: from the second input if there is one, otherwise from the arguments."""
    if given is None:
        return [op.arguments.number(name + "_scale", 1.0) for name in names]
    require(given.numel() == len(names), "the number of scales is not %d" % len(names))
    return [float(one) for one in given.reshape(-1)]


@operator("ResizeNearest", inputs=(1, 2))
def resize_to_nearest(op: Operator) -> Compute:
    return _nearest(op, ["height", "width"])


@operator("ResizeNearest3D")
def resize_to_nearest_in_time_too(op: Operator) -> Compute:
    height, width = (op.arguments.number(name + "_scale", 1.0) for name in ("height", "width"))
    require(height == width == 2, "Caffe2 supports only a height_scale and a width_scale of 2")
    require(not is_channels_last(op.arguments), "only the order NCHW is supported")
    return _nearest(op, ["temporal", "height", "width"])


def _nearest(op: Operator, names: Sequence[str]) -> Compute:
    """The value at output i is that of input floor(i / scale)."""
    channels_last = is_channels_last(op.arguments)

    def compute(x: Any, given: Optional[Any] = None) -> Any:
        require(x.dim() == len(names) + 2, "the input does not have %d dimensions" % (len(names) + 2))
        first_axis = 1 if channels_last else 2
        for axis, factor in enumerate(_scales(op, names, given), start=first_axis):
            size = x.shape[axis]
            places = (torch.arange(int(size * factor), dtype=torch.float32) / factor).to(torch.int64)
            x = x.index_select(axis, places.clamp_(max=size - 1))
        return x

    return compute


@operator("UpsampleBilinear", inputs=(1, 2))
def upsample(op: Operator) -> Compute:
    """The corners of input and output are the same values."""

    def compute(x: Any, given: Optional[Any] = None) -> Any:
        scales = _scales(op, ["height", "width"], given)
        require(x.dim() == 4, "the input does not have 4 dimensions")
        sizes = [int(size * factor) for size, factor in zip(x.shape[2:], scales)]
        if 0 in sizes:
            return x.new_zeros((*x.shape[:2], *sizes))
        return functional.interpolate(x, size=sizes, mode="bilinear", align_corners=True)

    return compute


@operator("SpaceToBatch")
def space_to_batch(op: Operator) -> Compute:
    """(N, C, H, W) to (block^2 * N, C, H / block, W / block), the place within a block outermost."""
    block, padding = _blocks(op)

    def compute(x: Any) -> Any:
        x = functional.pad(x, [padding] * 4)
        count, channels, height, width = x.shape
        require(height % block == width % block == 0, "the padded image is not a multiple of the block size")
        parts = x.reshape(count, channels, height // block, block, width // block, block)
        return parts.permute(3, 5, 0, 1, 2, 4).reshape(-1, channels, height // block, width // block)

    return compute


@operator("BatchToSpace")
def batch_to_space(op: Operator) -> Compute:
    """The inverse of SpaceToBatch."""
    block, padding = _blocks(op)

    def compute(x: Any) -> Any:
        count, channels, height, width = x.shape
        require(count % (block * block) == 0, "the batch is not a multiple of the block size squared")
        parts = x.reshape(block, block, count // block**2, channels, height, width)
        y = parts.permute(2, 3, 4, 0, 5, 1).reshape(-1, channels, height * block, width * block)
        return y[:, :, padding : y.shape[2] - padding, padding : y.shape[3] - padding].contiguous()

    return compute


def _blocks(op: Operator) -> Tuple[int, int]:
    """The size of a block, and the padding on each side; ``pad_t`` and so on have no effect here."""
    block = op.arguments.integer("block_size", 2)
    require(block > 0, "block_size must be above 0")
    require(not is_channels_last(op.arguments), "only the order NCHW is supported")
    return block, op.arguments.integer("pad", 0)
