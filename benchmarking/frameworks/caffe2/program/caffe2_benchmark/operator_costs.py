"""The floating-point operations of Caffe2's operators; ``kit.costs`` defines what counts."""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, NamedTuple, Sequence, Tuple

from benchmarking.frameworks.kit.costs import OperatorFacts, TensorFacts


class _Operator(NamedTuple):
    arguments: Any
    """The arguments of its OperatorDef."""
    inputs: Sequence[TensorFacts]
    outputs: Sequence[TensorFacts]


def facts(
    name: str,
    types: Tuple[str, ...],
    arguments: Any,
    inputs: Sequence[TensorFacts],
    outputs: Sequence[TensorFacts],
) -> OperatorFacts:
    """``types``: several if several operators are fused; the first is the main operation."""
    flops = 0
    if inputs and outputs:
        flops = _FLOPS.get(types[0], _none)(_Operator(arguments, inputs, outputs))
        flops += sum(_FUSED_PER_OUTPUT.get(type_, 0) for type_ in types[1:]) * outputs[0].size
    return OperatorFacts(name, flops, inputs, outputs)


_Count = Callable[[_Operator], int]


def _none(operator: _Operator) -> int:
    return 0


def _per_output(count: int) -> _Count:
    return lambda operator: count * operator.outputs[0].size


def _per_input(count: int) -> _Count:
    return lambda operator: count * operator.inputs[0].size


def _convolution(operator: _Operator) -> int:
    """Weights: output channels first."""
    weight = operator.inputs[1]
    return 2 * operator.outputs[0].size * weight.size // max(weight.shape[0], 1)


def _transposed_convolution(operator: _Operator) -> int:
    """Weights: input channels first."""
    weight = operator.inputs[1]
    return 2 * operator.inputs[0].size * weight.size // max(weight.shape[0], 1)


def _fully_connected(operator: _Operator) -> int:
    """Each weight is used once for each row of the output, whose size is that of the bias."""
    rows = operator.outputs[0].size // max(operator.inputs[2].size, 1)
    return 2 * rows * operator.inputs[1].size


def _matrix_product(operator: _Operator) -> int:
    """(M, K) and (K, N) to (M, N), in batches: the product of the three sizes is MNK squared."""
    a, b, y = operator.inputs[0].size, operator.inputs[1].size, operator.outputs[0].size
    batch = math.prod(operator.outputs[0].shape[:-2])
    return 2 * math.isqrt(a * b * y // max(batch, 1) ** 3) * batch if y else 0


def _pool(operator: _Operator) -> int:
    """One operation for each element of each window; windows at the edges are counted as whole."""
    values = {one.name: one for one in operator.arguments}
    if "global_pooling" in values and values["global_pooling"].i:
        return operator.inputs[0].size
    if "kernel" in values:
        window = values["kernel"].i ** 2
    elif "kernel_h" in values and "kernel_w" in values:
        window = values["kernel_h"].i * values["kernel_w"].i
    else:
        window = math.prod(values["kernels"].ints) if "kernels" in values else 1
    return int(window * operator.outputs[0].size)


def _local_response(operator: _Operator) -> int:
    """A square, ``size`` additions, a factor, an offset, a power and a product."""
    size = next((one.i for one in operator.arguments if one.name == "size"), 1)
    return int((size + 5) * operator.outputs[0].size)


def _sum(operator: _Operator) -> int:
    return (len(operator.inputs) - 1) * operator.outputs[0].size


_FLOPS: Dict[str, _Count] = {
    **dict.fromkeys(("Conv", "Conv1D", "Conv2D", "Conv3D"), _convolution),
    "ConvTranspose": _transposed_convolution,
    **dict.fromkeys(("FC", "FCTransposed"), _fully_connected),
    **dict.fromkeys(("MatMul", "BatchMatMul"), _matrix_product),
    **dict.fromkeys(
        (p + d for p in ("MaxPool", "AveragePool", "LpPool") for d in ("", "1D", "2D", "3D")), _pool
    ),
    "LRN": _local_response,
    **dict.fromkeys(("Sum", "Max", "Min", "Mean"), _sum),
    **dict.fromkeys(("SpatialBN", "AffineChannel"), _per_output(2)),
    # Mean, deviations, their squares' mean, a division, factor and offset.
    **dict.fromkeys(("InstanceNorm", "GroupNorm", "LayerNorm"), _per_output(7)),
    # Maximum, difference, exponential, sum, division.
    "Softmax": _per_output(5),
    "PRelu": _per_output(2),
    **dict.fromkeys(("Relu", "ReluN", "LeakyRelu", "Clip", "Sigmoid", "Tanh", "Exp", "Log"), _per_output(1)),
    **dict.fromkeys(("Abs", "Sqrt", "Rsqrt", "Sqr", "Negative", "Scale", "Reciprocal"), _per_output(1)),
    **dict.fromkeys(("Elu", "Selu", "Swish", "Softplus", "HardSigmoid", "Gelu", "Mish"), _per_output(4)),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Pow"), _per_output(1)),
    **dict.fromkeys(("GT", "LT", "GE", "LE", "EQ", "NE", "And", "Or", "Xor", "Not"), _per_output(1)),
    **dict.fromkeys(("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "SumElements"), _per_input(1)),
    "PackedInt8BGRANHWCToNCHWCStylizerPreprocess": _per_output(2),
    "BRGNCHWCToPackedInt8BGRAStylizerDeprocess": _per_input(3),
}

_FUSED_PER_OUTPUT = {"Relu": 1, "Sum": 1}
"""The operations on each value of the result; factors and offsets have become part of the weights."""
