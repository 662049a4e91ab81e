"""The ONNX Runtime benchmark program: an ONNX model, at an optimization level or on an execution provider."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import AbstractSet, Any, Dict, List, Mapping

from benchmarking.frameworks.kit import onnx_file, runtime
from benchmarking.frameworks.kit.flags import Settings, flag
from benchmarking.frameworks.kit.kernels import Fact
from benchmarking.frameworks.kit.program import BackendRow, LoadedModel, Preparation, Program

from . import __version__, backends

INPUT_TYPES = (
    *("float", "double", "float16", "int", "int64_t", "int16_t", "int8_t"),
    *("uint8_t", "uint16_t", "bool", "string"),
)


@dataclass(frozen=True)
class OnnxRuntimeSettings(Settings):
    model: str = flag("", "the ONNX file", required=True)
    backend: str = flag(
        "default",
        "the optimization of the graph (default, extended, basic, disabled) on the CPU, or another device;"
        " --list_backends lists all",
    )
    backend_options: str = flag("", "cuda has tf32: products of reduced precision, which are faster")


class OnnxRuntimeProgram(Program[OnnxRuntimeSettings]):
    name = "onnxruntime_benchmark"
    version = __version__
    description = "runs an ONNX model and prints how long each iteration took"
    settings = OnnxRuntimeSettings
    input_types = INPUT_TYPES

    def backends(self) -> List[BackendRow]:
        available = _runtime().get_available_providers()
        rows: List[BackendRow] = [{"name": name, "available": True, "reason": ""} for name in backends.LEVELS]
        for name, (provider, _) in backends.PROVIDERS.items():
            there = provider in available
            rows.append(
                {"name": name, "available": there, "reason": "" if there else backends.why_missing(name)}
            )
        return rows

    def prepare(self, settings: OnnxRuntimeSettings) -> Preparation:
        return _OnnxPreparation(settings)


class _OnnxPreparation(Preparation):
    def __init__(self, settings: OnnxRuntimeSettings) -> None:
        self._settings = settings
        self._file = onnx_file.read(settings.model)
        self._runtime = _runtime()
        self._backend = backends.choose(
            settings.backend, settings.backend_option_names, self._runtime.get_available_providers()
        )

    @property
    def model_name(self) -> str:
        return self._file.signature.model

    @property
    def facts(self) -> Mapping[str, Fact]:
        return {
            "engine": "onnxruntime",
            "onnxruntime": self._runtime.__version__,
            "optimize": self._backend.level,
            "model_versions": self._file.versions,
            "operators_in_file": self._file.operators,
            "operator_resolution_ns": 1000,
            "precision": "tf32" if self._uses_tf32 else self._file.precision,
        }

    @property
    def _uses_tf32(self) -> bool:
        return self._backend.options.get("use_tf32") == "1" and self._file.precision in ("f32", "f64")

    def load(self, inputs: Dict[str, Any], wanted: AbstractSet[str]) -> LoadedModel:
        from .session import OnnxModel

        self._file.signature.find_outputs(wanted)
        return OnnxModel(self._runtime, self._file, self._backend, self._settings.threads, inputs)


def _runtime() -> Any:
    """Raises:
    UsageError: it is not installed.
    """
    # Set before the import, which otherwise starts a thread, writes to the home directory and looks up a
    # host.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    module = runtime.imported("onnxruntime", "ONNX Runtime", "onnxruntime>=1.20,<2")
    module.set_default_logger_severity(3)  # errors
    return module
