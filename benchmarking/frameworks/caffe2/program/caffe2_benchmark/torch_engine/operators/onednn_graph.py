"""What oneDNN compiles once, before the timed loop, including its weights.

torch's other interfaces to oneDNN search for a kernel and describe all memory again in every run: this takes
25 to 40 us for each convolution, which is longer than many small convolutions compute. torch keeps what
oneDNN has compiled (with its Graph API) only in graphs of torch.jit: each convolution is a separate graph,
or, in a fused net, many operators are one.
"""

from __future__ import annotations

from typing import Any, Callable, List, Optional

import torch
import torch.nn.functional as functional

from ..registry import Compute
from .geometry import Fit, with_channels_innermost

COMPILED = "oneDNNFusionGroup"
"""torch.jit's name for the part of a graph that oneDNN has compiled."""


class Graph:
    """A graph of torch.jit, assembled by hand, because tracing takes ten times as long as everything else.

    Any method may raise RuntimeError, AttributeError or TypeError: an older torch assembles graphs
    differently.
    """

    def __init__(self) -> None:
        self._graph: Any = torch._C.Graph()

    def input(self, name: str) -> Any:
        return self._graph.addInput(name)

    def constant(self, value: Any) -> Any:
        return self._graph.insertConstant(value)

    def add(self, kind: str, *inputs: Any) -> Any:
        """Appends an operator of torch whose result is a tensor; returns the result."""
        output = self._append(kind, inputs)
        output.setType(torch._C.TensorType.get())
        return output

    def list_of(self, tensors: List[Any]) -> Any:
        output = self._append("prim::ListConstruct", tensors)
        output.setType(torch._C.ListType(torch._C.TensorType.get()))
        return output

    def _append(self, kind: str, inputs: Any) -> Any:
        return self._graph.appendNode(self._graph.create(kind, list(inputs), 1)).output()

    def convolution(self, x: Any, weight: Any, bias: Optional[Any], fit: Fit, group: int) -> Any:
        """``x``: of this graph, padded if oneDNN cannot pad; the others are tensors."""
        padding = fit.heads if fit.is_symmetric else [0, 0]
        values = (weight.contiguous(), bias, fit.stride, padding, fit.dilation, group)
        return self.add("aten::conv2d", x, *map(self.constant, values))

    def function(self, name: str, outputs: List[Any]) -> Callable[..., Any]:
        """Takes the graph's inputs; returns a tensor, or a tuple of several."""
        if len(outputs) > 1:
            together = self._append("prim::TupleConstruct", outputs)
            together.setType(torch._C.TupleType([output.type() for output in outputs]))
            outputs = [together]
        self._graph.registerOutput(outputs[0])
        function: Callable[..., Any] = torch._C._create_function_from_graph(name, self._graph)
        return function


def compile_for(function: Callable[..., Any], *inputs: Any) -> bool:
    """Compiles a graph's function for tensors like ``inputs``; False: oneDNN has compiled nothing of it."""
    try:
        for _ in range(2):  # the first run records types and shapes, the second compiles for them
            function(*inputs)
        return COMPILED in str(torch._C._last_executed_optimized_graph())
    except (RuntimeError, AttributeError):
        return False


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
        graph = Graph()
        y = graph.convolution(graph.input("x"), weight, bias, fit, group)
        function = graph.function("convolution", [graph.add("aten::relu", y) if has_relu else y])
    except (RuntimeError, AttributeError, TypeError):  # an older torch assembles graphs differently
        return None
    return (lambda x, *_: function(laid_out(x))) if compile_for(function, laid_out(x)) else None


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
