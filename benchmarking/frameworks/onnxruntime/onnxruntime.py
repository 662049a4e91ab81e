"""ONNX Runtime: ONNX models, run by a program of this project."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from benchmarking.frameworks.kit.signature import Signature
from benchmarking.frameworks.own_program import NUMBER_TYPES, OwnProgramFramework


class OnnxRuntime(OwnProgramFramework):
    name: ClassVar[str] = "onnxruntime"
    title: ClassVar[str] = "ONNX Runtime"
    backends: ClassVar[tuple[str, ...]] = (
        *("default", "extended", "basic", "disabled"),
        *("cuda", "tensorrt", "openvino", "coreml", "xnnpack", "dnnl"),
    )
    formats: ClassVar[tuple[str, ...]] = ("onnx",)
    input_types: ClassVar[tuple[str, ...]] = (*NUMBER_TYPES, "string")
    program_name: ClassVar[str] = "onnxruntime_benchmark"
    program_package: ClassVar[str] = "benchmarking.frameworks.onnxruntime.program"
    program_modules: ClassVar[tuple[str, ...]] = ("onnxruntime", "numpy")
    telemetry: ClassVar[str] = "disabled (ORT_DISABLE_TELEMETRY=1)"
    runtime_packages: ClassVar[tuple[str, ...]] = (
        "onnxruntime",
        *(f"onnxruntime-{one}" for one in ("gpu", "openvino", "directml", "qnn")),
    )

    def model_signature(self, model_files: Mapping[str, Path]) -> Signature:
        from benchmarking.frameworks.kit import onnx_file

        return onnx_file.read(str(model_files["model"])).signature
