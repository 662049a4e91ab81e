"""The operators whose functions work equally on tensors of a GPU and of the host.

Operators that create tensors on the host, or that are written with numpy, are not among them.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any, Callable, Mapping

import torch

from ..operators import OPERATORS
from ..operators.convolution import FUSED_CONVOLUTION
from ..registry import Compute, Operator, Registration

_POOLS = tuple(
    name + dimensions for name in ("MaxPool", "AveragePool") for dimensions in ("", "1D", "2D", "3D")
)
_ON_TENSORS = (
    *("Conv", "Conv1D", "Conv2D", "Conv3D", FUSED_CONVOLUTION, "ConvTranspose", "FC", "FCTransposed"),
    *(*_POOLS, "LpPool", "MatMul", "BatchMatMul", "DotProduct", "CosineSimilarity", "SquaredL2Distance"),
    *("LRN", "SpatialBN", "InstanceNorm", "GroupNorm", "LayerNorm", "Normalize", "NormalizeL1", "Softmax"),
    *(
        "Relu",
        "PRelu",
        "LeakyRelu",
        "ReluN",
        "Clip",
        "Elu",
        "Selu",
        "Sigmoid",
        "Tanh",
        "Softplus",
        "Softsign",
    ),
    *("Swish", "HardSigmoid", "Gelu", "Mish", "Logit", "Abs", "Atan", "Cbrt", "Ceil", "Cos", "Cosh", "Cube"),
    *("Acos", "Asin", "Erf", "Exp", "Floor", "Log", "Negative", "Reciprocal", "Rsqrt", "Sign", "Sin", "Sinh"),
    *("Sqr", "Sqrt", "Tan", "Scale", "AffineChannel", "Add", "Sub", "Mul", "Div", "Pow", "Sum", "Max", "Min"),
    *("Mean", "EQ", "NE", "GT", "GE", "LT", "LE", "And", "Or", "Xor", "Not", "Where", "ArgMax", "ArgMin"),
    *("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceFrontSum"),
    *("ReduceFrontMean", "ReduceFrontMax", "ReduceBackSum", "ReduceBackMean", "ReduceBackMax", "SumElements"),
    *("SumSqrElements", "AveragedLoss", "ChannelShuffle", "PadImage", "UpsampleBilinear", "SpaceToBatch"),
    *("BatchToSpace", "Transpose", "NCHW2NHWC", "NHWC2NCHW", "Flatten", "FlattenToVec", "ExpandDims"),
    *("Squeeze", "ResizeLike", "Copy", "Alias", "AliasWithName", "StopGradient", "Cast", "TopK", "Dropout"),
)
_WITH_SIZES = ("Concat", "DepthConcat", "Split", "Reshape")
"""These also return sizes, which are created on the host."""


def operators(device: str) -> Mapping[str, Registration]:
    return MappingProxyType(
        {
            **{name: OPERATORS[name] for name in _ON_TENSORS},
            **{name: _brought_to(device, OPERATORS[name]) for name in _WITH_SIZES},
        }
    )


def _brought_to(device: str, registration: Registration) -> Registration:
    """Copies all outputs to the device."""

    def bring(value: Any) -> Any:
        return value.to(device) if isinstance(value, torch.Tensor) else value

    def prepare(op: Operator) -> Compute:
        compute: Callable[..., Any] = registration.prepare(op)
        if op.output_count == 1:
            return compute
        return lambda *inputs: tuple(map(bring, compute(*inputs)))

    return replace(registration, prepare=prepare)
