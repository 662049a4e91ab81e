"""PyTorch: torch.export packages, AOTInductor packages and TorchScript, run by a program of this project."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from benchmarking.frameworks.framework_base import Invocation
from benchmarking.frameworks.kit.signature import Signature
from benchmarking.frameworks.own_program import OwnProgramFramework


class PyTorch(OwnProgramFramework):
    name: ClassVar[str] = "pytorch"
    title: ClassVar[str] = "PyTorch"
    backends: ClassVar[tuple[str, ...]] = (
        *("eager", "channels_last", "frozen", "inductor"),
        *("cuda", "cuda_channels_last", "cuda_inductor"),
    )
    formats: ClassVar[tuple[str, ...]] = ("pytorch",)
    program_name: ClassVar[str] = "pytorch_benchmark"
    program_package: ClassVar[str] = "benchmarking.frameworks.pytorch.program"
    program_modules: ClassVar[tuple[str, ...]] = ("torch", "numpy")
    runtime_packages: ClassVar[tuple[str, ...]] = ("torch",)
    composed_options: ClassVar[tuple[str, ...]] = ("model", "allow_code")

    def model_arguments(self, invocation: Invocation) -> Mapping[str, str]:
        allowed = {"allow_code": "true"} if invocation.allow_code else {}
        return {**super().model_arguments(invocation), **allowed}

    def model_signature(self, model_files: Mapping[str, Path]) -> Signature | None:
        """Only torch.export packages describe it."""
        from benchmarking.frameworks.pytorch.program import model_file

        path = str(model_files["model"])
        return model_file.read(path).signature if model_file.kind(path) == model_file.EXPORTED else None
