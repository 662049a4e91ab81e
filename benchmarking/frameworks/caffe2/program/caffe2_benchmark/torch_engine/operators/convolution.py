"""Convolutions."""

from __future__ import annotations

from typing import Any, Callable, Optional

import torch
import torch.nn.functional as functional

from ..registry import FLOAT, Compute, Operator, by_shape, operator, require
from .geometry import Fit, Window, is_channels_last, to_channels_first, to_channels_last

FUSED_CONVOLUTION = "Conv+"
_CONVOLUTIONS = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}
_TRANSPOSED = {1: torch.conv_transpose1d, 2: torch.conv_transpose2d, 3: torch.conv_transpose3d}


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
            if packed is not None:
                op.repack(1, packed)
            return run

        def compute(x: Any, weight: Any, bias: Optional[Any] = None) -> Any:
            chosen = to_channels_first(weight) if packed is None else packed
            return to_channels_last(run(to_channels_first(x), chosen, bias))

        return compute

    return by_shape(prepare)


def _pack(op: Operator, weight: Any, x: Any, fit: Fit, group: int) -> Optional[Any]:
    """The weights in the layout that oneDNN wants; None where they may change or oneDNN is not there."""
    if op.constant(1) is None or len(fit.kernel) != 2 or weight.dtype != torch.float32:
        return None
    if weight.is_mkldnn:
        return weight
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
    convolve = torch.ops.mkldnn._convolution_pointwise.default
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
        op.repack(1, packed)
        if other is None:
            return _packed(fit, group, "relu" if has_relu else "none")
        return _packed_with_sum(fit, group, has_relu, op.overwrites)

    return by_shape(prepare)


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
