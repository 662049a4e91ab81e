"""Convolutions."""

from __future__ import annotations

from typing import Any, Callable, Optional

import torch
import torch.nn.functional as functional

from ..registry import FLOAT, Compute, Operator, by_shape, operator, require
from . import onednn_graph
from .geometry import (
    Fit,
    Window,
    is_channels_last,
    to_channels_first,
    to_channels_last,
    with_channels_innermost,
)

FUSED_CONVOLUTION, HAS_RELU = "Conv+", "+relu"
"""The operator and its argument: no net has such names."""
Unpacked = Callable[[Fit, int], Compute]
_CONVOLUTIONS = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}


@operator("Conv", "Conv1D", "Conv2D", "Conv3D", inputs=(2, 3), takes=FLOAT)
def convolution(op: Operator) -> Compute:
    """Weights: (M, C / group, kernel...), in NHWC (M, kernel..., C / group)."""
    return convolution_with(op, direct)


def convolution_with(op: Operator, unpacked: Unpacked) -> Compute:
    """``unpacked`` computes the result if oneDNN has neither compiled it nor packed the weights."""
    window = Window.of(op.arguments)
    group = op.arguments.integer("group", 1)
    channels_last = is_channels_last(op.arguments)

    def prepare(x: Any, weight: Any, bias: Optional[Any] = None) -> Compute:
        if channels_last:
            x, weight = to_channels_first(x), to_channels_first(weight)
        fit = window.fit(x.shape[2:])
        require_fitting(x, weight, bias, fit, group)
        compiled = _compiled(op, x, weight, bias, fit, group)
        if compiled is not None:
            if not channels_last:
                return compiled
            return lambda x, *_: to_channels_last(compiled(to_channels_first(x)))
        packed = _pack(op, weight, x, fit, group)
        run = unpacked(fit, group) if packed is None else packed_run(fit, group)
        if not channels_last:
            return run if packed is None or op.repack(1, packed) else _with_weight(run, packed)

        def compute(x: Any, weight: Any, bias: Optional[Any] = None) -> Any:
            chosen = to_channels_first(weight) if packed is None else packed
            return to_channels_last(run(to_channels_first(x), chosen, bias))

        return compute

    return by_shape(prepare)


def require_fitting(x: Any, weight: Any, bias: Optional[Any], fit: Fit, group: int) -> None:
    require(list(weight.shape[2:]) == fit.kernel, "the weights' kernel is not %s" % fit.kernel)
    outputs, inputs = weight.shape[:2]
    require(
        inputs * group == x.shape[1] and outputs % group == 0,
        "weights of shape %s in %d groups do not fit %d channels" % (list(weight.shape), group, x.shape[1]),
    )
    require(
        bias is None or bias.shape == (outputs,),
        "the bias does not have %d values, one for each output" % outputs,
    )


def require_result_shape(other: Optional[Any], x: Any, weight: Any, fit: Fit) -> None:
    """Of the blob to add, as ``Sum`` requires it: torch would repeat a smaller one."""
    shape = (x.shape[0], weight.shape[0], *fit.output)
    require(other is None or tuple(other.shape) == shape, "the inputs have different shapes")


def _compiled(
    op: Operator, x: Any, weight: Any, bias: Optional[Any], fit: Fit, group: int, has_relu: bool = False
) -> Optional[Compute]:
    """None if a parameter may change, or if oneDNN does not compile it."""
    is_constant = op.constant(1) is not None and (bias is None or op.constant(2) is not None)
    if not is_constant or weight.is_mkldnn or len(fit.kernel) != 2:
        return None
    return onednn_graph.convolution(x, weight, bias, fit, group, has_relu)


def _pack(op: Operator, weight: Any, x: Any, fit: Fit, group: int) -> Optional[Any]:
    """The weights in the layout that oneDNN needs; None if they may change or oneDNN is missing."""
    if op.constant(1) is None or len(fit.kernel) != 2 or weight.dtype != torch.float32:
        return None
    # They have already been packed for another shape of the input.
    return weight if weight.is_mkldnn else packed_weight(weight, x, fit, group)


def packed_weight(weight: Any, x: Any, fit: Fit, group: int) -> Optional[Any]:
    """None if oneDNN is missing."""
    reorder = _reorder_weight()
    if reorder is None or weight.device.type != "cpu":
        return None
    padding = fit.heads if fit.is_symmetric else [0, 0]
    return reorder(weight.contiguous(), padding, fit.stride, fit.dilation, group, list(x.shape))


def _reorder_weight() -> Optional[Callable[..., Any]]:
    """None if torch is older than this function, or if oneDNN is missing or switched off."""
    try:
        function: Callable[..., Any] = torch.ops.mkldnn._reorder_convolution_weight
    except (AttributeError, RuntimeError):
        return None
    return function if torch._C._has_mkldnn and torch._C._get_mkldnn_enabled() else None


def packed_run(fit: Fit, group: int, activation: str = "none") -> Compute:
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


def direct(fit: Fit, group: int) -> Compute:
    convolve = _CONVOLUTIONS[len(fit.kernel)]

    def compute(x: Any, weight: Any, bias: Optional[Any] = None) -> Any:
        padding = fit.heads
        if not fit.is_symmetric:
            x, padding = functional.pad(x, fit.torch_padding), [0] * len(fit.sides)
        return convolve(x, weight, bias, fit.stride, padding, fit.dilation, group)

    return compute


@operator(FUSED_CONVOLUTION, inputs=(3, 4))
def fused_convolution(op: Operator) -> Compute:
    """Inputs: x, weights, bias and, perhaps, a blob to add; with the argument ``+relu`` Relu comes last.

    Nets do not contain it: the optimization creates it from convolutions whose weights are constants, in
    NCHW.
    """
    return fused_convolution_with(op, direct)


def fused_convolution_with(op: Operator, unpacked: Unpacked) -> Compute:
    """As ``convolution_with``."""
    window = Window.of(op.arguments)
    group = op.arguments.integer("group", 1)
    has_relu = op.arguments.boolean(HAS_RELU, False)

    def prepare(x: Any, weight: Any, bias: Any, other: Optional[Any] = None) -> Compute:
        fit = window.fit(x.shape[2:])
        require_fitting(x, weight, bias, fit, group)
        require_result_shape(other, x, weight, fit)
        # The result overwrites the blob to add if that is no longer needed.
        compiled = None if other is not None else _compiled(op, x, weight, bias, fit, group, has_relu)
        if compiled is not None:
            return compiled
        packed = _pack(op, weight, x, fit, group)
        if packed is None:
            return then(unpacked(fit, group), has_relu)
        if other is None:
            run = packed_run(fit, group, "relu" if has_relu else "none")
        else:
            run = _packed_with_sum(fit, group, has_relu, op.overwrites)
        return run if op.repack(1, packed) else _with_weight(run, packed)

    return by_shape(prepare)


def _with_weight(run: Compute, weight: Any) -> Compute:
    return lambda x, _, *more: run(x, weight, *more)


def then(convolve: Compute, has_relu: bool) -> Compute:
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
        channels_innermost = with_channels_innermost(other)
        if overwrites:
            return package._convolution_pointwise_.binary(
                channels_innermost, x, weight, bias, padding, stride, dilation, group, *last
            )
        return package._convolution_pointwise.binary(
            x, channels_innermost, weight, bias, padding, stride, dilation, group, *last
        )

    return compute
