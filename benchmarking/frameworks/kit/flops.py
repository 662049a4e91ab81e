"""The floating-point operations of an operator, from its type and its shapes; ``costs`` defines what counts.

Runtimes give the same operators similar names: ``MaxPool``, ``MAX_POOL_2D`` and ``max_pool2d`` are one kind.
Only the shapes at run time are known, so a window of a pool counts once for each value that it reads.
"""

from __future__ import annotations

import math
import re
from typing import Callable, Dict, Sequence

from .costs import TensorFacts

Count = Callable[[Sequence[TensorFacts], Sequence[TensorFacts]], int]
"""The shapes of an operator's inputs, including weights, and of its outputs."""


def count(kind: str, inputs: Sequence[TensorFacts], outputs: Sequence[TensorFacts]) -> int:
    """0 for kinds that move or look up values, and for unknown kinds."""
    counted = _COUNTS.get(_plain(kind))
    return counted(inputs, outputs) if counted and inputs and outputs else 0


def _plain(kind: str) -> str:
    return re.sub(r"_?[123]d$|[^a-z0-9]", "", re.sub(r"_?[123]d$", "", kind.lower()))


def convolution(inputs: Sequence[TensorFacts], outputs: Sequence[TensorFacts]) -> int:
    """Weights: output channels first. Padded channels count."""
    return 2 * outputs[0].size * math.prod(inputs[1].shape[1:]) if len(inputs) > 1 else 0


def transposed_convolution(inputs: Sequence[TensorFacts], outputs: Sequence[TensorFacts]) -> int:
    """Weights: input channels first."""
    return 2 * inputs[0].size * math.prod(inputs[1].shape[1:]) if len(inputs) > 1 else 0


def matrix_product(inputs: Sequence[TensorFacts], outputs: Sequence[TensorFacts]) -> int:
    """(M, K) and (K, N) to (M, N), each possibly transposed: the product of the three sizes is MNK squared.
    Leading dimensions that both have are a batch; those of only the first are further rows.
    """
    if len(inputs) < 2:
        return 0
    a, b, y = inputs[0].size, inputs[1].size, outputs[0].size
    batch = math.prod(outputs[0].shape[:-2]) if len(inputs[1].shape) > 2 else 1
    return 2 * math.isqrt(a * b * y // max(batch, 1) ** 3) * batch if y else 0


def _biased_matrix_product(inputs: Sequence[TensorFacts], outputs: Sequence[TensorFacts]) -> int:
    """The added input comes first."""
    return matrix_product(inputs[1:], outputs)


def attention(inputs: Sequence[TensorFacts], outputs: Sequence[TensorFacts]) -> int:
    """Queries (..., L, E), keys (..., S, E), values (..., S, V): two products, a softmax of (..., L, S)."""
    if len(inputs) < 3:
        return 0
    scores = inputs[0].size // inputs[0].shape[-1] * inputs[1].shape[-2]
    return scores * (2 * inputs[0].shape[-1] + 2 * inputs[2].shape[-1] + 5)


def _per_output(number: int) -> Count:
    return lambda inputs, outputs: number * outputs[0].size


def _per_input(number: int) -> Count:
    return lambda inputs, outputs: number * inputs[0].size


_KINDS: Sequence[tuple[Count, str]] = (
    (convolution, "conv convolution FusedConv NhwcConv NhwcFusedConv QLinearConv ConvInteger"),
    (transposed_convolution, "ConvTranspose ConvolutionBackpropData"),
    (matrix_product, "MatMul FusedMatMul Gemm FusedGemm MatMulInteger FullyConnected BatchMatMul"),
    (matrix_product, "Linear MM BMM"),
    (_biased_matrix_product, "AddMM BAddBMM"),
    (attention, "scaled_dot_product_attention"),
    (_per_input(1), "Pooling MaxPool AvgPool AveragePool GlobalAveragePool GlobalMaxPool L2Pool"),
    (_per_input(1), "AdaptiveAvgPool AdaptiveMaxPool"),
    (_per_input(1), "ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd Sum Mean"),
    (_per_output(2), "BatchNormalization BatchNorm"),
    (_per_output(7), "LayerNormalization InstanceNormalization GroupNormalization MVN"),
    (_per_output(7), "LayerNorm GroupNorm InstanceNorm"),
    (_per_output(8), "SkipLayerNormalization SimplifiedLayerNormalization"),
    (_per_output(5), "Softmax LogSoftmax"),
    (_per_output(1), "Relu Relu6 LeakyRelu Clip Clamp Hardtanh Sigmoid Logistic Tanh Exp Log Erf"),
    (_per_output(1), "Abs Sqrt Rsqrt Square Neg Negative Reciprocal Floor Ceil Ceiling Round"),
    (_per_output(4), "Elu Selu Softplus HardSigmoid HardSwish HSwish HSigmoid Mish Swish SiLU"),
    (_per_output(4), "Gelu FastGelu BiasGelu QuickGelu"),
    (_per_output(1), "Add Sub Subtract Mul Multiply Div Divide Pow Power Max Min Maximum Minimum PRelu"),
    (_per_output(1), "SquaredDifference Greater Less Equal And Or Xor Not"),
    (_per_output(1), "LogicalAnd LogicalOr LogicalXor LogicalNot GreaterEqual LessEqual NotEqual"),
)
_COUNTS: Dict[str, Count] = {_plain(kind): counted for counted, kinds in _KINDS for kind in kinds.split()}
