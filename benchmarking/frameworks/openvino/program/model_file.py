"""A model file of any kind that OpenVINO reads, checked before OpenVINO is imported."""

from __future__ import annotations

import os
from typing import NamedTuple, Tuple

from benchmarking.frameworks.kit import onnx_file, tflite_file
from benchmarking.frameworks.kit.errors import ModelError
from benchmarking.frameworks.kit.signature import Signature

from . import ir_file

NEWEST_OPSET = 28
"""Of ONNX 1.23. OpenVINO does not say which opsets it knows; it reads a newer one as the newest of them."""


class ModelFile(NamedTuple):
    path: str
    weights: str
    """The separate file of the weights; empty: they are in the model's file, or OpenVINO finds them next to
    it.
    """
    name: str
    outputs: Tuple[str, ...]
    versions: str


def read(path: str, weights: str) -> ModelFile:
    """Refuses other files, because OpenVINO would try to read them as every kind of file that it supports.

    Raises:
        ModelError: it is not a model, or has weights in files that are not beside it.
    """
    kind = os.path.splitext(path)[1].lower()
    if kind == ".xml":
        own = ir_file.read(path, weights)
        return ModelFile(path, own.weights, own.name, own.outputs, "OpenVINO IR")
    if weights:
        raise ModelError("--weights: %s contains its weights; only an .xml file has separate weights" % path)
    if kind == ".onnx":
        onnx = onnx_file.read(path)
        if onnx.opsets.get("ai.onnx", 0) > NEWEST_OPSET:
            raise ModelError(
                "--model: %s has the opset %d of ONNX, and this program knows those up to %d; OpenVINO would"
                " read it as an older one: export the model with an older opset"
                % (path, onnx.opsets["ai.onnx"], NEWEST_OPSET)
            )
        return ModelFile(path, "", onnx.signature.model, onnx.signature.outputs, onnx.versions)
    if kind == ".tflite":
        signature = tflite_file.read(path).signature
        return ModelFile(path, "", signature.model, signature.outputs, "TensorFlow Lite")
    raise ModelError("--model: %s is neither an .xml, an .onnx nor a .tflite file" % path)


def signature(path: str, weights: str) -> Signature:
    """
    Raises:
        ModelError: as ``read``.
    """
    file = read(path, weights)
    kind = os.path.splitext(path)[1].lower()
    if kind == ".onnx":
        return onnx_file.read(path).signature
    if kind == ".tflite":
        return tflite_file.read(path).signature
    return Signature(file.name, ir_file.inputs(path), file.outputs)
