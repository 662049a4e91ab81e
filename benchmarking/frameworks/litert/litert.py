"""LiteRT, formerly TensorFlow Lite: models in .tflite files, run by a program of this project."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from benchmarking.frameworks.kit.signature import Signature
from benchmarking.frameworks.own_program import OwnProgramFramework


class LiteRt(OwnProgramFramework):
    name: ClassVar[str] = "litert"
    title: ClassVar[str] = "LiteRT"
    backends: ClassVar[tuple[str, ...]] = ("xnnpack", "builtin")
    formats: ClassVar[tuple[str, ...]] = ("tflite",)
    program_name: ClassVar[str] = "litert_benchmark"
    program_package: ClassVar[str] = "benchmarking.frameworks.litert.program"
    program_modules: ClassVar[tuple[str, ...]] = ("ai_edge_litert", "numpy")
    runtime_packages: ClassVar[tuple[str, ...]] = ("ai-edge-litert", "ai-edge-litert-nightly")

    def model_signature(self, model_files: Mapping[str, Path]) -> Signature:
        from benchmarking.frameworks.kit import tflite_file

        return tflite_file.read(str(model_files["model"])).signature
