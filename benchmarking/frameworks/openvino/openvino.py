"""OpenVINO: models in its own files, in ONNX files and in TensorFlow Lite's, run by a program of this
project.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from benchmarking.frameworks.kit.signature import Signature
from benchmarking.frameworks.own_program import OwnProgramFramework


class OpenVino(OwnProgramFramework):
    name: ClassVar[str] = "openvino"
    title: ClassVar[str] = "OpenVINO"
    backends: ClassVar[tuple[str, ...]] = ("f32", "bf16", "f16", "gpu")
    formats: ClassVar[tuple[str, ...]] = ("openvino", "onnx", "tflite")
    program_name: ClassVar[str] = "openvino_benchmark"
    program_package: ClassVar[str] = "benchmarking.frameworks.openvino.program"
    program_modules: ClassVar[tuple[str, ...]] = ("openvino", "numpy")
    telemetry: ClassVar[str] = "kept out of the process (openvino_telemetry)"
    runtime_packages: ClassVar[tuple[str, ...]] = ("openvino", "openvino-nightly")
    composed_options: ClassVar[tuple[str, ...]] = ("model", "weights")

    def model_keys_of(self, model_format: str) -> tuple[str, ...]:
        return ("model", "weights") if model_format == "openvino" else self.model_keys

    def model_signature(self, model_files: Mapping[str, Path]) -> Signature:
        from benchmarking.frameworks.openvino.program import model_file

        return model_file.signature(str(model_files["model"]), str(model_files.get("weights", "")))
