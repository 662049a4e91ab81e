"""oneDNN: every convolution and fully connected layer."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as functional

from ...library_kernels import is_onednn
from ..operators import OPERATORS
from ..operators.convolution import FUSED_CONVOLUTION, convolution_with, fused_convolution_with
from ..operators.geometry import Fit
from ..operators.linear import as_matrix, fitting
from ..registry import Compute, Operator, by_shape
from .backend import Backend, NoKernelError

CONVOLUTIONS = ("Conv", "Conv1D", "Conv2D", "Conv3D", FUSED_CONVOLUTION)
FULLY_CONNECTED = ("FC", "FCTransposed")


def _convolution(op: Operator) -> Compute:
    return convolution_with(op, _unpacked_convolution)


def _fused_convolution(op: Operator) -> Compute:
    return fused_convolution_with(op, _unpacked_convolution)


def _unpacked_convolution(fit: Fit, group: int) -> Compute:
    """For weights that may change, and for numbers of dimensions other than two."""
    sides, none = fit.torch_padding, [0] * len(fit.kernel)
    padding = fit.heads if fit.is_symmetric else none

    def compute(x: Any, weight: Any, bias: Any = None) -> Any:
        padded = x if fit.is_symmetric else functional.pad(x, sides)
        return torch.mkldnn_convolution(padded, weight, bias, padding, fit.stride, fit.dilation, group)

    return compute


def _fully_connected(op: Operator) -> Compute:
    def prepare(x: Any, weight: Any, bias: Any) -> Compute:
        layer = fitting(op, x, weight, bias)
        if min(layer.rows, layer.inputs, layer.outputs) == 0:
            raise NoKernelError("nothing to multiply")
        multiply = torch.ops.mkldnn._linear_pointwise

        def dense(weight: Any) -> Any:
            return as_matrix(weight, layer).contiguous()

        if op.constant(1) is None:
            return layer.on(lambda x, weight, bias: multiply(x, dense(weight), bias, "none", [], ""))
        packed = torch.ops.mkldnn._reorder_linear_weight(dense(weight), layer.rows)
        return layer.on(lambda x, _, bias: multiply(x, packed, bias, "none", [], ""))

    return by_shape(prepare)


class Onednn(Backend):
    name = "onednn"
    covers = "convolutions and FCs"
    covered_types = (*CONVOLUTIONS, *FULLY_CONNECTED)
    operators = MappingProxyType(
        {
            **{name: replace(OPERATORS[name], prepare=_convolution) for name in CONVOLUTIONS[:-1]},
            FUSED_CONVOLUTION: replace(OPERATORS[FUSED_CONVOLUTION], prepare=_fused_convolution),
            **{name: replace(OPERATORS[name], prepare=_fully_connected) for name in FULLY_CONNECTED},
        }
    )

    @classmethod
    def why_unavailable(cls) -> str:
        if not getattr(torch._C, "_has_mkldnn", True):
            return "torch %s was built without oneDNN; install torch from PyPI" % torch.__version__
        try:
            torch.ops.mkldnn._convolution_pointwise, torch.ops.mkldnn._reorder_linear_weight  # noqa: B018
        except (AttributeError, RuntimeError):
            return "torch %s cannot pack weights for oneDNN; install torch 2.0 or newer" % torch.__version__
        return ""

    def is_own(self, kernel: str) -> bool:
        return is_onednn(kernel)
