"""Pooling."""

from __future__ import annotations

import math
from functools import reduce
from typing import Any, Callable, Optional, Sequence

import torch
import torch.nn.functional as functional

from ..registry import FLOAT, Compute, Operator, by_shape, operator, require
from .geometry import (
    Fit,
    Window,
    is_channels_last,
    to_channels_first,
    to_channels_last,
    with_channels_innermost,
)

FEW_CHANNELS = 8
"""Fewer adjacent values than this do not fill a vector register."""

_MAX = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
_AVERAGE = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}


def fitter(op: Operator) -> Any:
    window = Window.of(op.arguments)
    require(all(one == 1 for one in window.dilation), "pooling allows no dilation")
    if not window.is_global and window.kernel and window.pads:
        require(
            all(pad < window.kernel[axis % len(window.kernel)] for axis, pad in enumerate(window.pads)),
            "the padding must be less than the kernel",
        )
    return window.fit


def rounds_up(fit: Fit, sizes: Sequence[int]) -> Optional[bool]:
    """The ``ceil_mode`` of torch with which it has these windows itself; None: there is none.

    Values outside the input count neither for a maximum nor for an average.
    """
    if any(not 0 <= 2 * head <= kernel for head, kernel in zip(fit.heads, fit.kernel)):
        return None
    if len(fit.kernel) == 3 and any(kernel > size for kernel, size in zip(fit.kernel, sizes)):
        return None  # torch compares the kernel with the input without its padding
    for up in (False, True):
        if fit.output == [
            _torch_output(size, kernel, stride, dilation, head, up)
            for size, kernel, stride, dilation, head in zip(
                sizes, fit.kernel, fit.stride, fit.dilation, fit.heads
            )
        ]:
            return up
    return None


def _torch_output(size: int, kernel: int, stride: int, dilation: int, head: int, up: bool) -> int:
    free = size + 2 * head - dilation * (kernel - 1) - 1
    output = (free + (stride - 1 if up else 0)) // stride + 1
    return output - 1 if up and (output - 1) * stride >= size + head else output


def _pool(op: Operator, of_fit: Callable[[Any, Fit], Compute]) -> Compute:
    """``of_fit`` takes the first input and its fit; it works on (N, C, spatial...)."""
    fit_to = fitter(op)
    channels_last = is_channels_last(op.arguments)

    def prepare(x: Any) -> Compute:
        if channels_last:
            run = of_fit(to_channels_first(x), fit_to(x.shape[1:-1]))
            return lambda x: to_channels_last(run(to_channels_first(x)))
        run = of_fit(x, fit_to(x.shape[2:]))
        if x.dim() != 4 or x.shape[1] < FEW_CHANNELS:
            return run
        # Several times faster with the channels innermost, including the reordering.
        return lambda x: run(with_channels_innermost(x))

    return by_shape(prepare)


@operator("MaxPool", "MaxPool1D", "MaxPool2D", "MaxPool3D", takes=FLOAT)
def max_pool(op: Operator) -> Compute:
    def of_fit(x: Any, fit: Fit) -> Compute:
        pool = _MAX[len(fit.kernel)]
        up = rounds_up(fit, x.shape[2:])
        if up is not None:
            return lambda x: pool(x, fit.kernel, fit.stride, fit.heads, fit.dilation, up)
        # As Caffe2's maximum of a window that contains only padding.
        sides, lowest = fit.torch_padding, torch.finfo(torch.float32).min
        return lambda x: pool(functional.pad(x, sides, value=lowest), fit.kernel, fit.stride, 0, fit.dilation)

    return _pool(op, of_fit)


@operator("AveragePool", "AveragePool1D", "AveragePool2D", "AveragePool3D", takes=FLOAT)
def average_pool(op: Operator) -> Compute:
    """Divides by the part of the window that is on the input, unless ``count_include_pad``."""
    count_padding = op.arguments.boolean("count_include_pad", False)

    def of_fit(x: Any, fit: Fit) -> Compute:
        pool = _AVERAGE[len(fit.kernel)]
        if x.dim() == 4 and x.shape[1] < FEW_CHANNELS and not any(fit.torch_padding):
            return lambda x: _average_of_slices(x, fit)
        up = rounds_up(fit, x.shape[2:])
        if up is not None and not (count_padding and (up or not fit.is_symmetric)):
            return lambda x: pool(x, fit.kernel, fit.stride, fit.heads, up, count_padding)
        sides = fit.torch_padding
        if count_padding:
            return lambda x: pool(functional.pad(x, sides), fit.kernel, fit.stride)
        inside = functional.pad(x.new_ones((1, 1, *x.shape[2:])), sides)
        fractions = pool(inside, fit.kernel, fit.stride)
        return lambda x: pool(functional.pad(x, sides), fit.kernel, fit.stride).div_(fractions)

    return _pool(op, of_fit)


def _average_of_slices(x: Any, fit: Fit) -> Any:
    """First rows are summed, then columns. torch's own pooling is slow if there are few channels."""
    for axis, (kernel, stride, output) in enumerate(zip(fit.kernel, fit.stride, fit.output), start=2):
        length = (output - 1) * stride + 1
        slices = [x.narrow(axis, first, length) for first in range(kernel)]
        if stride > 1:
            steps = (slice(None),) * axis + (slice(None, None, stride),)
            slices = [one[steps] for one in slices]
        x = reduce(torch.Tensor.add_, slices[1:], slices[0].clone())
    return x.div_(math.prod(fit.kernel))


@operator("LpPool", takes=FLOAT)
def power_average_pool(op: Operator) -> Compute:
    """The p-th root of the sum of |x|^p; values outside the input count as 0."""
    exponent = op.arguments.number("p", 2.0)

    def of_fit(x: Any, fit: Fit) -> Compute:
        pool, size = _AVERAGE[len(fit.kernel)], math.prod(fit.kernel)
        sides = fit.torch_padding

        def compute(x: Any) -> Any:
            powers = functional.pad(x.abs().pow_(exponent), sides)
            return pool(powers, fit.kernel, fit.stride).mul_(size).pow_(1 / exponent)

        return compute

    return _pool(op, of_fit)
