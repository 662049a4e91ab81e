"""Transposed convolutions."""

from __future__ import annotations

from typing import Any, Optional, Sequence

import torch

from ..registry import FLOAT, Compute, Operator, by_shape, operator, require
from .convolution import direct, packed_run, packed_weight
from .geometry import (
    Fit,
    Window,
    is_channels_last,
    pair,
    to_channels_first,
    to_channels_last,
    with_channels_innermost,
)

FEW_CHANNELS = 4
"""Fewer channels than this are interleaved faster as planes than as pixels."""


@operator("ConvTranspose", inputs=(2, 3), takes=FLOAT)
def transposed_convolution(op: Operator) -> Compute:
    """Weights: (Cin, Cout / group, kernel...); the output is (in - 1) * stride + kernel + adj - pads."""
    window = Window.of(op.arguments)
    group = op.arguments.integer("group", 1)
    channels_last = is_channels_last(op.arguments)
    adjustment = pair(op.arguments, "adj") or [0, 0]
    stride = list(window.stride) or [1, 1]
    pads = list(window.pads) or [0, 0, 0, 0]
    require(all(one < step for one, step in zip(adjustment, stride)), "adj must be less than the stride")

    def prepare(x: Any, weight: Any, bias: Optional[Any] = None) -> Compute:
        if channels_last:
            x, weight = to_channels_first(x), to_channels_first(weight)
        kernel = list(weight.shape[2:])
        require(kernel == list(window.kernel), "the weights' kernel is not %s" % window.kernel)
        require(weight.shape[0] == x.shape[1], "the weights do not fit %d channels" % x.shape[1])
        if op.constant(1) is not None and group == 1 and max(stride) > 1 and not any(adjustment):
            run = _by_phases(x, weight, stride)
        else:
            run = lambda x, weight, bias: torch.conv_transpose2d(  # noqa: E731
                x, weight, bias, stride, [0, 0], adjustment, group
            )
        top, left, bottom, right = pads
        for axis, both in enumerate((top + bottom, left + right)):
            size = (x.shape[2 + axis] - 1) * stride[axis] + kernel[axis] + adjustment[axis] - both
            require(size >= 0, "the padding %s cuts off more than the whole output" % pads)

        def compute(x: Any, weight: Any, bias: Optional[Any] = None) -> Any:
            if channels_last:
                x, weight = to_channels_first(x), to_channels_first(weight)
            y = run(x, weight, bias)
            y = y[:, :, top : y.shape[2] - bottom, left : y.shape[3] - right]
            return to_channels_last(y) if channels_last else y

        return compute

    return by_shape(prepare)


def _by_phases(x: Any, weight: Any, stride: Sequence[int]) -> Compute:
    """A transposed convolution as an ordinary convolution with a channel for each position within a stride.

    Output position q * stride + p is a sum over the input positions q, q - 1 ... of the weights p, p + stride
    ...
    """
    (inputs, outputs, *kernel), (step_y, step_x) = weight.shape, stride
    taps = [-(-size // step) for size, step in zip(kernel, stride)]
    phases = weight.new_zeros((step_y, step_x, outputs, inputs, *taps))
    for row in range(kernel[0]):
        for column in range(kernel[1]):
            place = taps[0] - 1 - row // step_y, taps[1] - 1 - column // step_x
            phase = phases[row % step_y, column % step_x]
            phase[(slice(None), slice(None), *place)] = weight[:, :, row, column].t()
    as_planes = outputs < FEW_CHANNELS and step_x == 2
    if as_planes:
        phases = phases.permute(2, 0, 1, 3, 4, 5)
    phases = phases.reshape(outputs * step_y * step_x, inputs, *taps)
    fit = Fit(taps, [1, 1], [1, 1], [(tap - 1, tap - 1) for tap in taps], [])
    packed = packed_weight(phases, x, fit, 1)
    convolve = direct(fit, 1) if packed is None else packed_run(fit, 1)
    weights = phases if packed is None else packed
    height, width = ((size - 1) * step + k for size, step, k in zip(x.shape[2:], stride, kernel))

    def compute(x: Any, _: Any, bias: Optional[Any] = None) -> Any:
        repeated = None
        if bias is not None:
            steps = step_y * step_x
            repeated = bias.repeat_interleave(steps) if as_planes else bias.repeat(steps)
        y = convolve(with_channels_innermost(x), weights, repeated)
        pixels = y.permute(0, 2, 3, 1).contiguous()
        if as_planes:
            return _planes(pixels, outputs, step_y)[:, :, :height, :width]
        return _pixels(pixels, (step_y, step_x), (height, width), outputs)

    return compute


def _planes(pixels: Any, channels: int, step_y: int) -> Any:
    """(N, H, W, channels * step_y * 2) to (N, channels, H * step_y, W * 2).

    Two neighbours move as one number of twice the size.
    """
    count, height, width, _ = pixels.shape
    # A view as another type needs a last dimension of stride 1, which a dimension of size 1 need not have.
    pairs = pixels.reshape(-1).view(torch.float64)
    parts = pairs.reshape(count, height, width, channels, step_y).permute(0, 3, 1, 4, 2)
    return parts.reshape(-1).view(torch.float32).reshape(count, channels, height * step_y, 2 * width)


def _pixels(pixels: Any, steps: Sequence[int], sizes: Sequence[int], channels: int) -> Any:
    """(N, H, W, step_y * step_x * channels) to (N, channels, height, width), channels innermost."""
    count, height, width, _ = pixels.shape
    step_y, step_x = steps
    parts = pixels.reshape(count, height, width, step_y, step_x * channels)
    y = pixels.new_empty((count, *sizes, channels))
    whole, rest = divmod(sizes[1], step_x)
    for phase in range(step_y):
        rows = y[:, phase::step_y]
        source = parts[:, : rows.shape[1], :, phase]
        block = (count, rows.shape[1], whole, step_x * channels)
        rows[:, :, : whole * step_x].view(block).copy_(source[:, :, :whole])
        if rest:
            last = source[:, :, whole, : rest * channels]
            rows[:, :, whole * step_x :] = last.reshape(count, rows.shape[1], rest, channels)
    return y.permute(0, 3, 1, 2)
