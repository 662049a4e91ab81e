"""Convolutions that oneDNN compiles once, before the timed loop, weights included.

torch's other ways to oneDNN look for a kernel and describe all memory to it anew in every run: 25 to 40 us
for each convolution, which is longer than many a small one computes. Only in graphs of torch.jit does torch
keep what oneDNN has compiled (by its Graph API). So each convolution becomes a graph of its own.
"""

from __future__ import annotations

from typing import Any, Callable, List, Optional

import torch
import torch.nn.functional as functional

from ..registry import Compute
from .geometry import Fit, with_channels_innermost

_COMPILED = "oneDNNFusionGroup"
"""What torch.jit calls that part of a graph that oneDNN has compiled."""


def convolution(
    x: Any, weight: Any, bias: Optional[Any], fit: Fit, group: int, has_relu: bool
) -> Optional[Compute]:
    """For tensors that look like ``x``; the other inputs are the same in every run, and ignored there.

    None: oneDNN does not compile it here, or is switched off. Two dimensions, (N, C, H, W), host tensors.
    """
    if not _is_there() or weight.dtype != torch.float32 or weight.device.type != "cpu":
        return None
    laid_out = _layout(x, fit)
    padding = fit.heads if fit.is_symmetric else [0, 0]
    try:
        function = _function(weight, bias, [fit.stride, padding, fit.dilation, group], has_relu)
        for _ in range(2):  # the first run takes down types and shapes, the second one compiles for them
            function(laid_out(x))
    except (RuntimeError, AttributeError, TypeError):  # also: an older torch puts graphs together otherwise
        return None
    if _COMPILED not in str(torch._C._last_executed_optimized_graph()):
        return None
    return lambda x, *_: function(laid_out(x))


def _layout(x: Any, fit: Fit) -> Callable[[Any], Any]:
    """Makes of an input what the graph takes: padded where oneDNN cannot, channels innermost."""

    def laid_out(x: Any) -> Any:
        return with_channels_innermost(x if fit.is_symmetric else functional.pad(x, fit.torch_padding))

    found = laid_out(x)
    shape = found.shape
    channels, height, width = shape[1:]
    strides = (channels * height * width, 1, channels * width, channels)
    if found.stride() == strides:
        return with_channels_innermost if fit.is_symmetric else laid_out
    # The stride of a dimension of size 1 may be any number. This one tells torch which layout is meant; else
    # it gives the result the other one.
    return lambda x: laid_out(x).as_strided(shape, strides)


def _is_there() -> bool:
    try:
        torch._C._jit_set_llga_enabled(True)
        return bool(torch._C._has_mkldnn and torch._C._get_mkldnn_enabled())
    except (AttributeError, RuntimeError):  # torch is too old, or was built without it
        return False


def _function(weight: Any, bias: Optional[Any], numbers: List[Any], has_relu: bool) -> Callable[[Any], Any]:
    """Its graph is put together by hand, as tracing takes ten times as long as all the rest."""
    graph: Any = torch._C.Graph()

    def add(kind: str, *inputs: Any) -> Any:
        node = graph.appendNode(graph.create(kind, list(inputs), 1))
        output = node.output()
        output.setType(torch._C.TensorType.get())
        return output

    constants = [graph.insertConstant(one) for one in (weight.contiguous(), bias, *numbers)]
    y = add("aten::conv2d", graph.addInput("x"), *constants)
    graph.registerOutput(add("aten::relu", y) if has_relu else y)
    function: Callable[[Any], Any] = torch._C._create_function_from_graph("convolution", graph)
    return function
