"""What oneDNN compiles once, before the timed loop, including its weights.

torch's other interfaces to oneDNN search for a kernel and describe all memory again in every run: this takes
25 to 40 us for each convolution, which is longer than many small convolutions compute. torch keeps what
oneDNN has compiled (with its Graph API) only in graphs of torch.jit: each convolution is a separate graph.
"""

from __future__ import annotations

from typing import Any, Callable, Optional

import torch
import torch.nn.functional as functional

from ..registry import Compute
from .geometry import Fit, with_channels_innermost

COMPILED = "oneDNNFusionGroup"
"""torch.jit's name for the part of a graph that oneDNN has compiled."""


def is_there() -> bool:
    """Also switches it on."""
    try:
        torch._C._jit_set_llga_enabled(True)
        return bool(torch._C._has_mkldnn and torch._C._get_mkldnn_enabled())
    except (AttributeError, RuntimeError):  # torch is too old, or was built without it
        return False


def convolution(
    x: Any, weight: Any, bias: Optional[Any], fit: Fit, group: int, has_relu: bool
) -> Optional[Compute]:
    """For tensors like ``x``; the other inputs are the same in every run, and are ignored there.

    None: oneDNN does not compile it here, or is switched off. Two dimensions, (N, C, H, W), host tensors.
    """
    if not is_there() or weight.dtype != torch.float32 or weight.device.type != "cpu":
        return None
    laid_out = _layout(x, fit)
    try:
        function = _function(weight.contiguous(), bias, fit, group, has_relu)
        for _ in range(2):  # the first run records types and shapes, the second compiles for them
            function(laid_out(x))
        is_compiled = COMPILED in str(torch._C._last_executed_optimized_graph())
    except (RuntimeError, AttributeError, TypeError):  # an older torch assembles graphs differently
        return None
    return (lambda x, *_: function(laid_out(x))) if is_compiled else None


def _function(weight: Any, bias: Optional[Any], fit: Fit, group: int, has_relu: bool) -> Callable[[Any], Any]:
    """Its graph is assembled by hand, because tracing takes ten times as long as everything else."""
    graph: Any = torch._C.Graph()

    def add(kind: str, x: Any, *others: Any) -> Any:
        operands = [x, *map(graph.insertConstant, others)]
        y = graph.appendNode(graph.create(kind, operands, 1)).output()
        y.setType(torch._C.TensorType.get())
        return y

    # An input that oneDNN cannot pad is padded already.
    padding = fit.heads if fit.is_symmetric else [0, 0]
    window = (fit.stride, padding, fit.dilation, group)
    y = add("aten::conv2d", graph.addInput("x"), weight, bias, *window)
    graph.registerOutput(add("aten::relu", y) if has_relu else y)
    function: Callable[[Any], Any] = torch._C._create_function_from_graph("convolution", graph)
    return function


def _layout(x: Any, fit: Fit) -> Callable[[Any], Any]:
    """Converts an input for the graph: padded where oneDNN cannot pad, channels innermost."""

    def laid_out(x: Any) -> Any:
        return with_channels_innermost(x if fit.is_symmetric else functional.pad(x, fit.torch_padding))

    found = laid_out(x)
    shape = found.shape
    channels, height, width = shape[1:]
    strides = (channels * height * width, 1, channels * width, channels)
    if found.stride() == strides:
        return with_channels_innermost if fit.is_symmetric else laid_out
    # The stride of a dimension of size 1 may be any number. This one tells torch which layout is meant;
    # otherwise the result has the other layout.
    return lambda x: laid_out(x).as_strided(shape, strides)
