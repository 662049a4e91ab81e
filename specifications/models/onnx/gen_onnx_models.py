"""Writes the ONNX models of this directory from the Caffe2 models beside it: the same nets and weights.

    python gen_onnx_models.py

Needs the packages onnx and protobuf. Running it again gives the same bytes with the same version of onnx.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from benchmarking.frameworks.caffe2.program.caffe2_benchmark import net_file  # noqa: E402

HERE = Path(__file__).resolve().parent
CAFFE2 = HERE.parent / "caffe2"
OPSET, IR_VERSION = 17, 8
"""What every ONNX Runtime since 1.12 (2022) reads."""


@dataclass
class Weights:
    """8-bit steps, and the operators that make the weights of them, which a runtime does once beforehand."""

    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    nodes: list[onnx.NodeProto] = field(default_factory=list)


def weights(init_net: Any) -> Weights:
    """Of an init net in which six operators make a weight: fill, cast, fill, add, fill, multiply."""
    made = Weights()
    operators = list(init_net.op)
    for fill, _, middle, _, scale, product in zip(*(operators[start::6] for start in range(6)), strict=True):
        (name,) = product.output
        values = {argument.name: argument for argument in fill.arg}
        steps = np.frombuffer(values["values"].strings[0], np.uint8).reshape(list(values["shape"].ints))
        made.arrays |= {
            f"{name}_steps": steps,
            f"{name}_middle": np.array(number(middle)),
            f"{name}_scale": np.array(number(scale)),
        }
        parts = [f"{name}_{part}" for part in ("steps", "cast", "middle", "centred", "scale")]
        made.nodes += [
            helper.make_node("Cast", parts[:1], parts[1:2], parts[1], to=TensorProto.FLOAT),
            helper.make_node("Add", parts[1:3], parts[3:4], parts[3]),
            helper.make_node("Mul", parts[3:5], [name], name),
        ]
    return made


def number(fill: Any) -> np.float32:
    return np.float32(next(argument.f for argument in fill.arg if argument.name == "value"))


def lenet() -> onnx.ModelProto:
    pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        helper.make_node("Conv", ["data", "conv1_w", "conv1_b"], ["conv1"], "conv1", kernel_shape=[5, 5]),
        helper.make_node("MaxPool", ["conv1"], ["pool1"], "pool1", **pool),
        helper.make_node("Conv", ["pool1", "conv2_w", "conv2_b"], ["conv2"], "conv2", kernel_shape=[5, 5]),
        helper.make_node("MaxPool", ["conv2"], ["pool2"], "pool2", **pool),
        helper.make_node("Flatten", ["pool2"], ["flat"], "flat"),
        helper.make_node("Gemm", ["flat", "fc3_w", "fc3_b"], ["fc3"], "fc3", transB=1),
        helper.make_node("Relu", ["fc3"], ["relu3"], "relu3"),
        helper.make_node("Gemm", ["relu3", "pred_w", "pred_b"], ["pred"], "pred", transB=1),
        helper.make_node("Softmax", ["pred"], ["softmax"], "softmax", axis=1),
    ]
    init_net = net_file.read(str(CAFFE2 / "lenet/init_net.pb"), "init_net")
    made = weights(init_net)
    graph = helper.make_graph(
        [*made.nodes, *nodes],
        "lenet",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, ["batch", 1, 28, 28])],
        [helper.make_tensor_value_info("softmax", TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(array, name) for name, array in made.arrays.items()],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name=""
    )


def main() -> None:
    model = lenet()
    onnx.checker.check_model(model, full_check=True)
    content = model.SerializeToString(deterministic=True)
    path = HERE / "lenet/lenet.onnx"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    print(f"{path.relative_to(HERE)}: {len(content)} bytes")
    print(f"  md5    {hashlib.md5(content).hexdigest()}\n  sha256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
