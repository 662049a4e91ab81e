"""Writes the TensorFlow Lite models of this directory from the Caffe2 models beside it: the same weights.

    python gen_tflite_models.py

Needs the packages ai-edge-litert and protobuf. Running it again gives the same bytes.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(ROOT), str(HERE)]

from tflite_writer import GraphWriter  # noqa: E402

from benchmarking.frameworks.caffe2.program.caffe2_benchmark import net_file  # noqa: E402

CAFFE2 = HERE.parent / "caffe2"
VALID, NO_ACTIVATION, RELU = 1, 0, 1
"""Numbers of the schema."""


def steps(init_net: Any) -> dict[str, tuple[np.ndarray, float]]:
    """The weights of an init net in which six operators make each: 8-bit steps from -128, and their size."""
    operators = list(init_net.op)
    found = {}
    for fill, _, middle, _, scale, product in zip(*(operators[start::6] for start in range(6)), strict=True):
        values = {argument.name: argument for argument in fill.arg}
        array = np.frombuffer(values["values"].strings[0], np.uint8).reshape(list(values["shape"].ints))
        if number(middle) != -128:
            raise ValueError(f"{product.output[0]}: its steps do not begin at -128")
        found[product.output[0]] = ((array.astype(np.int16) - 128).astype(np.int8), number(scale))
    return found


def number(fill: Any) -> float:
    return float(next(argument.f for argument in fill.arg if argument.name == "value"))


def lenet() -> bytes:
    weights = steps(net_file.read(str(CAFFE2 / "lenet/init_net.pb"), "init_net"))
    writer = GraphWriter()

    def weight(name: str, *order: int) -> str:
        array, scale = weights[name]
        array = np.ascontiguousarray(array.transpose(order) if order else array)
        writer.constant(f"{name}_steps", array, scale)
        writer.tensor(name, list(array.shape))
        writer.operator("DEQUANTIZE", [f"{name}_steps"], [name], "DequantizeOptions")
        return name

    def convolution(source: str, name: str, size: int, channels: int) -> str:
        writer.tensor(name, [-1, size, size, channels])
        inputs = [source, weight(f"{name}_w", 0, 2, 3, 1), weight(f"{name}_b")]
        writer.operator("CONV_2D", inputs, [name], "Conv2DOptions", padding=VALID, strideW=1, strideH=1)
        return name

    def pool(source: str, name: str, size: int, channels: int) -> str:
        writer.tensor(name, [-1, size, size, channels])
        window = {"strideW": 2, "strideH": 2, "filterWidth": 2, "filterHeight": 2}
        writer.operator("MAX_POOL_2D", [source], [name], "Pool2DOptions", padding=VALID, **window)
        return name

    def connected(source: str, name: str, width: int, activation: int) -> str:
        writer.tensor(name, [-1, width])
        inputs = [source, weight(f"{name}_w"), weight(f"{name}_b")]
        options = {"fusedActivationFunction": activation}
        writer.operator("FULLY_CONNECTED", inputs, [name], "FullyConnectedOptions", **options)
        return name

    # Channels come last here. The weights of fc3 are for a picture whose channels come first.
    array, scale = weights["fc3_w"]
    by_channel = array.reshape(500, 50, 4, 4).transpose(0, 2, 3, 1)
    weights["fc3_w"] = (by_channel.reshape(500, 800), scale)
    writer.tensor("data", [-1, 1, 28, 28])
    writer.constant("picture_shape", np.array([-1, 28, 28, 1], np.int32))
    writer.tensor("picture", [-1, 28, 28, 1])
    writer.operator("RESHAPE", ["data", "picture_shape"], ["picture"])
    last = convolution("picture", "conv1", 24, 20)
    last = convolution(pool(last, "pool1", 12, 20), "conv2", 8, 50)
    pool(last, "pool2", 4, 50)
    writer.constant("flat_shape", np.array([-1, 800], np.int32))
    writer.tensor("flat", [-1, 800])
    writer.operator("RESHAPE", ["pool2", "flat_shape"], ["flat"])
    last = connected(connected("flat", "fc3", 500, RELU), "pred", 10, NO_ACTIVATION)
    writer.tensor("softmax", [-1, 10])
    writer.operator("SOFTMAX", [last], ["softmax"], "SoftmaxOptions", beta=1.0)
    return writer.written(["data"], ["softmax"])


def main() -> None:
    content = lenet()
    path = HERE / "lenet/lenet.tflite"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    print(f"{path.relative_to(HERE)}: {len(content)} bytes")
    print(f"  md5    {hashlib.md5(content).hexdigest()}\n  sha256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
