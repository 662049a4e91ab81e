"""The floating-point operations of operators as ONNX Runtime runs them; ``kit.costs`` says what counts.

Only shapes are known of what ran, so a window of a pool counts once for each value that it reads.
"""

from __future__ import annotations

import math
from typing import Callable, Dict, List

from benchmarking.frameworks.kit.costs import OperatorFacts, TensorFacts

from .profile import ProfiledOperator, Tensor

_ITEM_BYTES = {"double": 8, "int64": 8, "uint64": 8, "float": 4, "int32": 4, "uint32": 4}
_SHORT_BYTES = {"float16": 2, "bfloat16": 2, "int16": 2, "uint16": 2}


def facts(operator: ProfiledOperator) -> OperatorFacts:
    inputs = [_tensor(operator, "input", at, tensor) for at, tensor in enumerate(operator.inputs)]
    outputs = [_tensor(operator, "output", at, tensor) for at, tensor in enumerate(operator.outputs)]
    inputs = _with_weights(inputs, operator.parameter_bytes)
    count = _FLOPS.get(operator.type)
    return OperatorFacts(operator.name, count(inputs, outputs) if count and outputs else 0, inputs, outputs)


def _tensor(operator: ProfiledOperator, kind: str, at: int, tensor: Tensor) -> TensorFacts:
    size = {**_ITEM_BYTES, **_SHORT_BYTES}.get(tensor.type, 1)
    return TensorFacts("%s/%s%d" % (operator.name, kind, at), tensor.shape, size, False)


def _with_weights(inputs: List[TensorFacts], parameter_bytes: int) -> List[TensorFacts]:
    """How many bytes are weights is known, and which inputs they are is not: mostly the last ones."""
    marked = list(inputs)
    for at in sorted(range(len(inputs)), key=lambda at: (at == 0, at)):
        size = inputs[at].size * inputs[at].item_bytes
        if 0 < size <= parameter_bytes:
            parameter_bytes -= size
            marked[at] = inputs[at]._replace(is_weight=True)
    return marked


_Count = Callable[[List[TensorFacts], List[TensorFacts]], int]


def _convolution(inputs: List[TensorFacts], outputs: List[TensorFacts]) -> int:
    """Weights: output channels first. Channels are counted as they are padded."""
    return 2 * outputs[0].size * math.prod(inputs[1].shape[1:]) if len(inputs) > 1 else 0


def _transposed_convolution(inputs: List[TensorFacts], outputs: List[TensorFacts]) -> int:
    return 2 * inputs[0].size * math.prod(inputs[1].shape[1:]) if len(inputs) > 1 else 0


def _matrix_product(inputs: List[TensorFacts], outputs: List[TensorFacts]) -> int:
    """(M, K) and (K, N) to (M, N), each turned or not: the product of the three sizes is MNK squared.
    Leading dimensions that both have are a batch; those of the first alone are rows like any other."""
    if len(inputs) < 2:
        return 0
    a, b, y = inputs[0].size, inputs[1].size, outputs[0].size
    batch = math.prod(outputs[0].shape[:-2]) if len(inputs[1].shape) > 2 else 1
    return 2 * math.isqrt(a * b * y // max(batch, 1) ** 3) * batch if y else 0


def _per_output(count: int) -> _Count:
    return lambda inputs, outputs: count * outputs[0].size


def _per_input(count: int) -> _Count:
    return lambda inputs, outputs: count * inputs[0].size if inputs else 0


_FLOPS: Dict[str, _Count] = {
    **dict.fromkeys(
        ("Conv", "FusedConv", "NhwcConv", "NhwcFusedConv", "QLinearConv", "ConvInteger"), _convolution
    ),
    "ConvTranspose": _transposed_convolution,
    **dict.fromkeys(("MatMul", "FusedMatMul", "Gemm", "FusedGemm", "MatMulInteger"), _matrix_product),
    **dict.fromkeys(("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"), _per_input(1)),
    **dict.fromkeys(("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin"), _per_input(1)),
    "BatchNormalization": _per_output(2),
    **dict.fromkeys(("LayerNormalization", "InstanceNormalization", "GroupNormalization"), _per_output(7)),
    **dict.fromkeys(("SkipLayerNormalization", "SimplifiedLayerNormalization"), _per_output(8)),
    **dict.fromkeys(("Softmax", "LogSoftmax"), _per_output(5)),
    **dict.fromkeys(("Relu", "LeakyRelu", "Clip", "Sigmoid", "Tanh", "Exp", "Log", "Erf"), _per_output(1)),
    **dict.fromkeys(("Abs", "Sqrt", "Neg", "Reciprocal", "Floor", "Ceil", "Round"), _per_output(1)),
    **dict.fromkeys(("Elu", "Selu", "Softplus", "HardSigmoid", "HardSwish", "Mish"), _per_output(4)),
    **dict.fromkeys(("Gelu", "FastGelu", "BiasGelu", "QuickGelu"), _per_output(4)),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "PRelu"), _per_output(1)),
    **dict.fromkeys(("Greater", "Less", "Equal", "And", "Or", "Xor", "Not"), _per_output(1)),
}
