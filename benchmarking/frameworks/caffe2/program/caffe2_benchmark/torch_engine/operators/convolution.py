"""Convolutions."""

from __future__ import annotations

from typing import Any, Optional

import torch
import torch.nn.functional as functional

from ..registry import Compute, Operator, operator, require
from .geometry import Window, is_channels_last, to_channels_first, to_channels_last

_CONVOLUTIONS = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}
_TRANSPOSED = {1: torch.conv_transpose1d, 2: torch.conv_transpose2d, 3: torch.conv_transpose3d}


@operator("Conv", "Conv1D", "Conv2D", "Conv3D", inputs=(2, 3))
def convolution(op: Operator) -> Compute:
    """Weights: (M, C / group, kernel...), in NHWC (M, kernel..., C / group)."""
    window = Window.of(op.arguments)
    group = op.arguments.integer("group", 1)
    channels_last = is_channels_last(op.arguments)

    def compute(x: Any, weight: Any, bias: Optional[Any] = None) -> Any:
        if channels_last:
            x, weight = to_channels_first(x), to_channels_first(weight)
        fit = window.fit(x.shape[2:])
        require(list(weight.shape[2:]) == fit.kernel, "the weights' kernel is not %s" % fit.kernel)
        padding = fit.heads
        if not fit.is_symmetric:
            x = functional.pad(x, fit.torch_padding)
            padding = [0] * len(fit.sides)
        y = _CONVOLUTIONS[len(fit.kernel)](x, weight, bias, fit.stride, padding, fit.dilation, group)
        return to_channels_last(y) if channels_last else y

    return compute


@operator("ConvTranspose", inputs=(2, 3))
def transposed_convolution(op: Operator) -> Compute:
    """Weights: (Cin, Cout / group, kernel...); the output is (in - 1) * stride + kernel + adj - pads."""
    window = Window.of(op.arguments)
    group = op.arguments.integer("group", 1)
    channels_last = is_channels_last(op.arguments)
    if op.arguments.has("adj"):
        adjustment = [op.arguments.integer("adj", 0)] * 2
    else:
        adjustment = [op.arguments.integer("adj_h", 0), op.arguments.integer("adj_w", 0)]
    stride = list(window.stride) or [1, 1]
    pads = list(window.pads) or [0, 0, 0, 0]
    require(all(one < step for one, step in zip(adjustment, stride)), "adj must be less than the stride")

    def compute(x: Any, weight: Any, bias: Optional[Any] = None) -> Any:
        if channels_last:
            x, weight = to_channels_first(x), to_channels_first(weight)
        require(
            list(weight.shape[2:]) == list(window.kernel), "the weights' kernel is not %s" % window.kernel
        )
        y = _TRANSPOSED[2](x, weight, bias, stride, [0, 0], adjustment, group)
        if any(pads):
            top, left, bottom, right = pads
            y = y[:, :, top : y.shape[2] - bottom, left : y.shape[3] - right].contiguous()
        return to_channels_last(y) if channels_last else y

    return compute
