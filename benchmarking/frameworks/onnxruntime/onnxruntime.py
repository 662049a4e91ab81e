"""ONNX Runtime: ONNX models, run by a program of this project."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from benchmarking.frameworks.framework_base import Invocation
from benchmarking.frameworks.kit.signature import Signature
from benchmarking.frameworks.own_program import OwnProgramFramework


class OnnxRuntime(OwnProgramFramework):
    name: ClassVar[str] = "onnxruntime"
    title: ClassVar[str] = "ONNX Runtime"
    backends: ClassVar[tuple[str, ...]] = (
        *("default", "extended", "basic", "disabled"),
        *("cuda", "tensorrt", "openvino", "coreml", "xnnpack", "dnnl"),
    )
    formats: ClassVar[tuple[str, ...]] = ("onnx",)
    model_keys: ClassVar[tuple[str, ...]] = ("model",)
    input_types: ClassVar[tuple[str, ...]] = (
        *("float", "double", "float16", "int", "int64_t", "int16_t", "int8_t"),
        *("uint8_t", "uint16_t", "bool", "string"),
    )
    program_name: ClassVar[str] = "onnxruntime_benchmark"
    program_package: ClassVar[str] = "benchmarking.frameworks.onnxruntime.program"
    program_modules: ClassVar[tuple[str, ...]] = ("onnxruntime", "numpy")
    composed_options: ClassVar[tuple[str, ...]] = ("model",)

    def model_arguments(self, invocation: Invocation) -> Mapping[str, str]:
        return {"model": invocation.model_files["model"]}

    def model_signature(self, model_files: Mapping[str, Path]) -> Signature:
        from benchmarking.frameworks.kit import onnx_file

        return onnx_file.read(str(model_files["model"])).signature
