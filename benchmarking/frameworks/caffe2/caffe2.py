"""Caffe2: the command line and the output of its benchmark programs, the original and this project's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from benchmarking.frameworks.framework_base import Invocation
from benchmarking.frameworks.own_program import OwnProgramFramework, option_text

if TYPE_CHECKING:
    from benchmarking.specs.expand import TestCase

BACKENDS = ("default", "builtin", "eigen", "mkl", "onednn", "nnpack", "opengl", "cuda")
"""The backends of both engines; asking the program would take as long as loading torch."""
AUTOMATIC = "auto"
"""The value of the engine that is chosen by the backend."""


class Caffe2(OwnProgramFramework):
    name: ClassVar[str] = "caffe2"
    title: ClassVar[str] = "Caffe2"
    backends: ClassVar[tuple[str, ...]] = BACKENDS
    formats: ClassVar[tuple[str, ...]] = ("caffe2",)
    model_keys: ClassVar[tuple[str, ...]] = ("init", "predict")
    input_types: ClassVar[tuple[str, ...]] = ("float", "uint8_t", "int")
    program_name: ClassVar[str] = "caffe2_benchmark"
    program_package: ClassVar[str] = "benchmarking.frameworks.caffe2.program"
    program_modules: ClassVar[tuple[str, ...]] = ("torch", "numpy", "google.protobuf")
    runtime_packages: ClassVar[tuple[str, ...]] = ("torch",)
    needed_packages: ClassVar[tuple[str, ...]] = ("numpy", "protobuf")
    composed_options: ClassVar[tuple[str, ...]] = ("init_net", "net", "text_output")
    takes_command_lines: ClassVar[bool] = True
    output_arguments: ClassVar[Mapping[str, str]] = {"text_output": "true"}

    def model_arguments(self, invocation: Invocation) -> Mapping[str, str]:
        return {"init_net": invocation.model_files["init"], "net": invocation.model_files["predict"]}

    def engine(self, case: TestCase) -> str | None:
        engine = option_text(self.options(case).get("engine", AUTOMATIC))
        return None if engine == AUTOMATIC else engine

    def model_outputs(self, model_files: Mapping[str, Path]) -> tuple[str, ...]:
        from benchmarking.frameworks.caffe2.program.caffe2_benchmark import net_file
        from benchmarking.frameworks.caffe2.program.caffe2_benchmark.errors import NetError

        try:
            return tuple(net_file.read(str(model_files["predict"]), "net").external_output)
        except NetError:
            return ()
