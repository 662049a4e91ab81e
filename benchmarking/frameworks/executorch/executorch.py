"""ExecuTorch: .pte programs, run by a program of ours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from benchmarking.frameworks.framework_base import Invocation
from benchmarking.frameworks.kit.signature import Signature
from benchmarking.frameworks.own_program import OwnProgramFramework


class ExecuTorch(OwnProgramFramework):
    name: ClassVar[str] = "executorch"
    title: ClassVar[str] = "ExecuTorch"
    backends: ClassVar[tuple[str, ...]] = ("exported",)
    formats: ClassVar[tuple[str, ...]] = ("executorch",)
    model_keys: ClassVar[tuple[str, ...]] = ("model",)
    input_types: ClassVar[tuple[str, ...]] = (
        *("float", "double", "float16", "int", "int64_t", "int16_t", "int8_t"),
        *("uint8_t", "bool"),
    )
    program_name: ClassVar[str] = "executorch_benchmark"
    program_package: ClassVar[str] = "benchmarking.frameworks.executorch.program"
    program_modules: ClassVar[tuple[str, ...]] = ("executorch", "torch", "numpy")
    runtime_packages: ClassVar[tuple[str, ...]] = ("executorch",)
    needed_packages: ClassVar[tuple[str, ...]] = ("torch", "numpy")
    composed_options: ClassVar[tuple[str, ...]] = ("model",)

    def model_arguments(self, invocation: Invocation) -> Mapping[str, str]:
        return {"model": invocation.model_files["model"]}

    def model_signature(self, model_files: Mapping[str, Path]) -> Signature | None:
        """None: a file has no names."""
        from benchmarking.frameworks.executorch.program import pte_file

        pte_file.require_program(str(model_files["model"]))
        return None
