"""The costs of operators as ONNX Runtime runs them."""

from __future__ import annotations

from typing import List

from benchmarking.frameworks.kit import flops
from benchmarking.frameworks.kit.costs import OperatorFacts, TensorFacts

from .profile import ProfiledOperator, Tensor

_ITEM_BYTES = {"double": 8, "int64": 8, "uint64": 8, "float": 4, "int32": 4, "uint32": 4}
_SHORT_BYTES = {"float16": 2, "bfloat16": 2, "int16": 2, "uint16": 2}


def facts(operator: ProfiledOperator) -> OperatorFacts:
    inputs = [_tensor(operator, "input", at, tensor) for at, tensor in enumerate(operator.inputs)]
    outputs = [_tensor(operator, "output", at, tensor) for at, tensor in enumerate(operator.outputs)]
    inputs = _with_weights(inputs, operator.parameter_bytes)
    return OperatorFacts(operator.name, flops.count(operator.type, inputs, outputs), inputs, outputs)


def _tensor(operator: ProfiledOperator, kind: str, at: int, tensor: Tensor) -> TensorFacts:
    size = {**_ITEM_BYTES, **_SHORT_BYTES}.get(tensor.type, 1)
    return TensorFacts("%s/%s%d" % (operator.name, kind, at), tensor.shape, size, False)


def _with_weights(inputs: List[TensorFacts], parameter_bytes: int) -> List[TensorFacts]:
    """Marks inputs as weights: their number of bytes is known, but not which inputs they are; usually the
    last ones.
    """
    marked = list(inputs)
    for at in sorted(range(len(inputs)), key=lambda at: (at == 0, at)):
        size = inputs[at].size * inputs[at].item_bytes
        if 0 < size <= parameter_bytes:
            parameter_bytes -= size
            marked[at] = inputs[at]._replace(is_weight=True)
    return marked
