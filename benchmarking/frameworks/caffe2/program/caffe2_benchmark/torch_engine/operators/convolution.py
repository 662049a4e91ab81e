"""Convolutions."""

from __future__ import annotations

from typing import Any, Callable, Optional, Sequence

import torch
import torch.nn.functional as functional

from ..registry import FLOAT, Compute, Operator, by_shape, operator, require
from .geometry import Fit, Window, is_channels_last, to_channels_first, to_channels_last

FUSED_CONVOLUTION = "Conv+"
_CONVOLUTIONS = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}


@operator("Conv", "Conv1D", "Conv2D", "Conv3D", inputs=(2, 3), takes=FLOAT)
def convolution(op: Operator) -> Compute:
    """Weights: (M, C / group, kernel...), in NHWC (M, kernel..., C / group)."""
    window = Window.of(op.arguments)
    group = op.arguments.integer("group", 1)
    channels_last = is_channels_last(op.arguments)

    def prepare(x: Any, weight: Any, bias: Optional[Any] = None) -> Compute:
        if channels_last:
            x, weight = to_channels_first(x), to_channels_first(weight)
        fit = window.fit(x.shape[2:])
        require(list(weight.shape[2:]) == fit.kernel, "the weights' kernel is not %s" % fit.kernel)
        packed = _pack(op, weight, x, fit, group)
        run = _direct(fit, group) if packed is None else _packed(fit, group)
        if not channels_last:
            return run if packed is None or op.repack(1, packed) else _with_weight(run, packed)

        def compute(x: Any, weight: Any, bias: Optional[Any] = None) -> Any:
            chosen = to_channels_first(weight) if packed is None else packed
            return to_channels_last(run(to_channels_first(x), chosen, bias))

        return compute

    return by_shape(prepare)


def _pack(op: Operator, weight: Any, x: Any, fit: Fit, group: int) -> Optional[Any]:
    """The weights in the layout that oneDNN wants; None where they may change or oneDNN is not there."""
    if op.constant(1) is None or len(fit.kernel) != 2 or weight.dtype != torch.float32:
        return None
    # Of another shape of the input they have been packed already.
    return weight if weight.is_mkldnn else _packed_weight(weight, x, fit, group)


def _packed_weight(weight: Any, x: Any, fit: Fit, group: int) -> Optional[Any]:
    """None where oneDNN is not there."""
    reorder = _reorder_weight()
    if reorder is None:
        return None
    padding = fit.heads if fit.is_symmetric else [0, 0]
    return reorder(weight.contiguous(), padding, fit.stride, fit.dilation, group, list(x.shape))


def _reorder_weight() -> Optional[Callable[..., Any]]:
    """None where torch is older than this function, or built without oneDNN."""
    try:
        function: Callable[..., Any] = torch.ops.mkldnn._reorder_convolution_weight
    except (AttributeError, RuntimeError):
        return None
    return function if torch._C._has_mkldnn else None


def _packed(fit: Fit, group: int, activation: str = "none") -> Compute:
    # The function with all its overloads is called faster than its overload ``default``.
    convolve = torch.ops.mkldnn._convolution_pointwise
    stride, dilation = fit.stride, fit.dilation
    if fit.is_symmetric:
        padding = fit.heads
        return lambda x, weight, bias=None: convolve(
            x, weight, bias, padding, stride, dilation, group, activation, [], ""
        )
    sides, none = fit.torch_padding, [0, 0]
    return lambda x, weight, bias=None: convolve(
        functional.pad(x, sides), weight, bias, none, stride, dilation, group, activation, [], ""
    )


def _direct(fit: Fit, group: int) -> Compute:
    convolve = _CONVOLUTIONS[len(fit.kernel)]

    def compute(x: Any, weight: Any, bias: Optional[Any] = None) -> Any:
        padding = fit.heads
        if not fit.is_symmetric:
            x, padding = functional.pad(x, fit.torch_padding), [0] * len(fit.sides)
        return convolve(x, weight, bias, fit.stride, padding, fit.dilation, group)

    return compute


@operator(FUSED_CONVOLUTION, inputs=(3, 4))
def fused_convolution(op: Operator) -> Compute:
    """Inputs: x, weights, bias and, perhaps, a blob to add; with the argument ``relu`` Relu comes last.

    No net names it: optimizing makes it, out of convolutions whose weights are constants, in NCHW.
    """
    window = Window.of(op.arguments)
    group = op.arguments.integer("group", 1)
    has_relu = op.arguments.boolean("relu", False)

    def prepare(x: Any, weight: Any, bias: Any, other: Optional[Any] = None) -> Compute:
        fit = window.fit(x.shape[2:])
        require(list(weight.shape[2:]) == fit.kernel, "the weights' kernel is not %s" % fit.kernel)
        packed = _pack(op, weight, x, fit, group)
        if packed is None:
            return _then(_direct(fit, group), has_relu)
        if other is None:
            run = _packed(fit, group, "relu" if has_relu else "none")
        else:
            run = _packed_with_sum(fit, group, has_relu, op.overwrites)
        return run if op.repack(1, packed) else _with_weight(run, packed)

    return by_shape(prepare)


def _with_weight(run: Compute, weight: Any) -> Compute:
    return lambda x, _, *more: run(x, weight, *more)


def _then(convolve: Compute, has_relu: bool) -> Compute:
    def compute(x: Any, weight: Any, bias: Any, other: Optional[Any] = None) -> Any:
        y = convolve(x, weight, bias)
        if other is not None:
            y.add_(other)
        return y.relu_() if has_relu else y

    return compute


def _packed_with_sum(fit: Fit, group: int, has_relu: bool, overwrites: bool) -> Compute:
    package = torch.ops.mkldnn
    stride, dilation, padding = fit.stride, fit.dilation, fit.heads if fit.is_symmetric else [0, 0]
    last = ["add", 1.0, "relu" if has_relu else None, [], None]

    def compute(x: Any, weight: Any, bias: Any, other: Any) -> Any:
        if not fit.is_symmetric:
            x = functional.pad(x, fit.torch_padding)
        channels_innermost = other.contiguous(memory_format=torch.channels_last)
        if overwrites:
            return package._convolution_pointwise_.binary(
                channels_innermost, x, weight, bias, padding, stride, dilation, group, *last
            )
        return package._convolution_pointwise.binary(
            x, channels_innermost, weight, bias, padding, stride, dilation, group, *last
        )

    return compute


@operator("ConvTranspose", inputs=(2, 3), takes=FLOAT)
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

    def prepare(x: Any, weight: Any, bias: Optional[Any] = None) -> Compute:
        if channels_last:
            x, weight = to_channels_first(x), to_channels_first(weight)
        kernel = list(weight.shape[2:])
        require(kernel == list(window.kernel), "the weights' kernel is not %s" % window.kernel)
        require(weight.shape[0] == x.shape[1], "the weights are not for %d channels" % x.shape[1])
        if op.constant(1) is not None and group == 1 and max(stride) > 1 and not any(adjustment):
            run = _by_phases(x, weight, stride)
        else:
            run = lambda x, weight, bias: torch.conv_transpose2d(  # noqa: E731
                x, weight, bias, stride, [0, 0], adjustment, group
            )
        top, left, bottom, right = pads

        def compute(x: Any, weight: Any, bias: Optional[Any] = None) -> Any:
            if channels_last:
                x, weight = to_channels_first(x), to_channels_first(weight)
            y = run(x, weight, bias)
            y = y[:, :, top : y.shape[2] - bottom, left : y.shape[3] - right]
            return to_channels_last(y) if channels_last else y

        return compute

    return by_shape(prepare)


def _by_phases(x: Any, weight: Any, stride: Sequence[int]) -> Compute:
    """A transposed convolution as an ordinary one with a channel for each place within a stride.

    Output place q * stride + p is a sum over the input places q, q - 1 ... of the weights p, p + stride ...
    """
    (inputs, outputs, *kernel), (step_y, step_x) = weight.shape, stride
    taps = [-(-size // step) for size, step in zip(kernel, stride)]
    phases = weight.new_zeros((outputs, step_y, step_x, inputs, *taps))
    for row in range(kernel[0]):
        for column in range(kernel[1]):
            place = taps[0] - 1 - row // step_y, taps[1] - 1 - column // step_x
            phases[(slice(None), row % step_y, column % step_x, slice(None), *place)] = weight[
                :, :, row, column
            ].t()
    phases = phases.reshape(outputs * step_y * step_x, inputs, *taps)
    height, width = ((size - 1) * step + k for size, step, k in zip(x.shape[2:], stride, kernel))
    fit = Fit(taps, [1, 1], [1, 1], [(tap - 1, tap - 1) for tap in taps], [])
    packed = _packed_weight(phases, x, fit, 1)
    convolve = _direct(fit, 1) if packed is None else _packed(fit, 1)
    weights = phases if packed is None else packed

    def compute(x: Any, _: Any, bias: Optional[Any] = None) -> Any:
        repeated = None if bias is None else bias.repeat_interleave(step_y * step_x)
        y = convolve(x.contiguous(memory_format=torch.channels_last), weights, repeated)
        return _interleaved(y, outputs, step_y, step_x)[:, :, :height, :width]

    return compute


def _interleaved(x: Any, channels: int, step_y: int, step_x: int) -> Any:
    """(N, channels * step_y * step_x, H, W) to (N, channels, H * step_y, W * step_x)."""
    pixels = x.permute(0, 2, 3, 1).contiguous()
    count, height, width, _ = pixels.shape
    inner = step_x
    if step_x == 2:  # two neighbours move as one number of twice the size
        pixels, inner = pixels.view(torch.float64), 1
    parts = pixels.reshape(count, height, width, channels, step_y, inner).permute(0, 3, 1, 4, 2, 5)
    y = parts.reshape(count, channels, height * step_y, width * inner)
    return y.view(torch.float32) if step_x == 2 else y
