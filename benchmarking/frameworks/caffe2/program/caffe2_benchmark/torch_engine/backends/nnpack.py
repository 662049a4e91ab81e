"""NNPACK: convolutions by fast transforms."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any, Optional

import torch
import torch.nn.functional as functional

from ..operators import OPERATORS
from ..operators.convolution import (
    FUSED_CONVOLUTION,
    HAS_RELU,
    direct,
    require_fitting,
    require_result_shape,
    then,
)
from ..operators.geometry import Fit, Window, is_channels_last
from ..registry import Compute, Operator, by_shape
from .backend import Backend, NoKernelError

KERNEL = "aten::_nnpack_spatial_convolution"
TOLERANCE = 1e-4
"""Relative to the largest value of the output: its transforms lose precision, especially with large kernels.
"""


def _convolution(op: Operator) -> Compute:
    window = Window.of(op.arguments)
    if op.arguments.integer("group", 1) != 1:
        raise NoKernelError("NNPACK does not support groups")
    if is_channels_last(op.arguments):
        raise NoKernelError("NNPACK needs channels first")
    is_fused, has_relu = op.type == FUSED_CONVOLUTION, op.arguments.boolean(HAS_RELU, False)

    def prepare(x: Any, weight: Any, bias: Optional[Any] = None, other: Optional[Any] = None) -> Compute:
        fit = window.fit(x.shape[2:])
        require_fitting(x, weight, bias, fit, 1)
        require_result_shape(other, x, weight, fit)
        if len(fit.kernel) != 2 or list(fit.dilation) != [1, 1]:
            raise NoKernelError("NNPACK needs two dimensions without dilation")
        run = _run(fit)
        _require_accuracy(run, direct(fit, 1), x, weight, bias)
        return then(run, has_relu) if is_fused else run

    return by_shape(prepare)


def _run(fit: Fit) -> Compute:
    # The flag of torch.backends has no effect if the batch is 1, so the function is called by its name.
    convolve = torch._nnpack_spatial_convolution
    padding, stride, sides = fit.heads, fit.stride, fit.torch_padding
    if fit.is_symmetric:
        return lambda x, weight, bias=None: convolve(x, weight, bias, padding, stride)
    return lambda x, weight, bias=None: convolve(functional.pad(x, sides), weight, bias, [0, 0], stride)


def _require_accuracy(run: Compute, reference: Compute, x: Any, weight: Any, bias: Any) -> None:
    try:
        found = run(x, weight, bias)
    except RuntimeError as error:
        raise NoKernelError("NNPACK refuses it") from error
    expected = reference(x, weight, bias)
    if expected.numel() == 0:
        raise NoKernelError("nothing to compute")
    difference, largest = (found - expected).abs().max().item(), expected.abs().max().item()
    if not difference <= TOLERANCE * largest:
        raise NoKernelError("NNPACK is off by %.1e of the largest value" % (difference / max(largest, 1e-30)))


class Nnpack(Backend):
    name = "nnpack"
    covers = "convolutions"
    covered_types = ("Conv", "Conv1D", "Conv2D", "Conv3D", FUSED_CONVOLUTION)
    operators = MappingProxyType(
        {
            name: replace(OPERATORS[name], prepare=_convolution)
            for name in ("Conv", "Conv2D", FUSED_CONVOLUTION)
        }
    )

    @classmethod
    def why_unavailable(cls) -> str:
        if torch._nnpack_available():
            return ""
        return (
            "torch %s has no NNPACK for this processor (it needs AVX2 or NEON); install torch from PyPI there"
            % torch.__version__
        )

    def is_own(self, kernel: str) -> bool:
        return kernel == KERNEL
