"""Pooling."""

from __future__ import annotations

from typing import Any, Dict, Tuple

import torch
import torch.nn.functional as functional

from ..registry import Compute, Operator, operator, require
from .geometry import Fit, Window, is_channels_last, to_channels_first, to_channels_last

_MAX = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
_AVERAGE = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}


def _fitter(op: Operator) -> Any:
    window = Window.of(op.arguments)
    if not window.is_global and window.kernel and window.pads:
        require(
            all(pad < window.kernel[axis % len(window.kernel)] for axis, pad in enumerate(window.pads)),
            "the padding must be less than the kernel",
        )
    return window.fit


def _torch_can_pad(fit: Fit) -> bool:
    return fit.is_symmetric and all(2 * head <= kernel for head, kernel in zip(fit.heads, fit.kernel))


@operator("MaxPool", "MaxPool1D", "MaxPool2D", "MaxPool3D")
def max_pool(op: Operator) -> Compute:
    fit_to = _fitter(op)
    channels_last = is_channels_last(op.arguments)

    def compute(x: Any) -> Any:
        if channels_last:
            x = to_channels_first(x)
        fit = fit_to(x.shape[2:])
        padding = fit.heads
        if not _torch_can_pad(fit):
            x = functional.pad(x, fit.torch_padding, value=float("-inf"))
            padding = [0] * len(fit.sides)
        y = _MAX[len(fit.kernel)](x, fit.kernel, fit.stride, padding, fit.dilation)
        return to_channels_last(y) if channels_last else y

    return compute


@operator("AveragePool", "AveragePool1D", "AveragePool2D", "AveragePool3D")
def average_pool(op: Operator) -> Compute:
    """Divides by the part of the window that lies on the input, unless ``count_include_pad``."""
    fit_to = _fitter(op)
    channels_last = is_channels_last(op.arguments)
    count_padding = op.arguments.boolean("count_include_pad", False)
    fractions: Dict[Tuple[int, ...], Any] = {}

    def padded_average(x: Any, fit: Fit) -> Any:
        pool = _AVERAGE[len(fit.kernel)]
        y = pool(functional.pad(x, fit.torch_padding), fit.kernel, fit.stride)
        if count_padding:
            return y
        sizes = tuple(x.shape[2:])
        if sizes not in fractions:
            inside = functional.pad(torch.ones((1, 1, *sizes), dtype=x.dtype), fit.torch_padding)
            fractions[sizes] = pool(inside, fit.kernel, fit.stride)
        return y / fractions[sizes]

    def compute(x: Any) -> Any:
        if channels_last:
            x = to_channels_first(x)
        fit = fit_to(x.shape[2:])
        if _torch_can_pad(fit):
            pool = _AVERAGE[len(fit.kernel)]
            y = pool(x, fit.kernel, fit.stride, fit.heads, count_include_pad=count_padding)
        else:
            y = padded_average(x, fit)
        return to_channels_last(y) if channels_last else y

    return compute
