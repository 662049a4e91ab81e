"""The OpenVINO benchmark program: a model on the CPU, computed in the precision that the backend names."""

from __future__ import annotations

import functools
import os
import sys
from dataclasses import dataclass
from typing import AbstractSet, Any, Dict, List, Mapping

from benchmarking.frameworks.kit import runtime
from benchmarking.frameworks.kit.errors import UsageError
from benchmarking.frameworks.kit.flags import Settings, flag
from benchmarking.frameworks.kit.kernels import Fact
from benchmarking.frameworks.kit.program import BackendRow, LoadedModel, Preparation, Program

from . import __version__, model_file

CAPABILITIES = {"f32": "FP32", "bf16": "BF16", "f16": "FP16"}
"""Maps the backend to the capability that a device must report for it."""
GPU = "gpu"
THROUGHPUT = "throughput"


@dataclass(frozen=True)
class OpenVinoSettings(Settings):
    model: str = flag("", "the .xml, .onnx or .tflite file", required=True)
    weights: str = flag("", "the .bin file of an .xml file; by default the file next to it")
    backend: str = flag(
        "f32", "the precision in which the CPU computes (f32, bf16, f16), or gpu; --list_backends lists all"
    )
    backend_options: str = flag(
        "",
        "throughput: an iteration consists of one inference on each thread, all at once",
    )


class OpenVinoProgram(Program[OpenVinoSettings]):
    name = "openvino_benchmark"
    version = __version__
    description = "runs a model with OpenVINO and prints how long each iteration took"
    settings = OpenVinoSettings

    def backends(self) -> List[BackendRow]:
        missing = _missing(_runtime())
        return [
            {"name": name, "available": name not in missing, "reason": missing.get(name, "")}
            for name in (*CAPABILITIES, GPU)
        ]

    def require(self, settings: OpenVinoSettings) -> None:
        if settings.backend not in (*CAPABILITIES, GPU):
            names = ", ".join([*CAPABILITIES, GPU])
            raise UsageError("--backend: %r is not one of %s" % (settings.backend, names))
        if settings.backend_options not in ("", THROUGHPUT):
            raise UsageError(
                "--backend_options: %r is not %s, the only option" % (settings.backend_options, THROUGHPUT)
            )

    def prepare(self, settings: OpenVinoSettings) -> Preparation:
        return _OpenVinoPreparation(settings)


class _OpenVinoPreparation(Preparation):
    def __init__(self, settings: OpenVinoSettings) -> None:
        self._settings = settings
        self._file = model_file.read(settings.model, settings.weights)
        self._runtime = _runtime()

    @property
    def model_name(self) -> str:
        return self._file.name

    @property
    def facts(self) -> Mapping[str, Fact]:
        return {
            "engine": "openvino",
            "openvino": self._runtime.__version__,
            "model_versions": self._file.versions,
            "operator_resolution_ns": 1000,
        }

    def load(self, inputs: Dict[str, Any], wanted: AbstractSet[str]) -> LoadedModel:
        from .compiled_model import OpenVinoModel

        settings = self._settings
        reason = _missing(self._runtime).get(settings.backend)
        if reason:
            raise UsageError("--backend %s: %s" % (settings.backend, reason))
        return OpenVinoModel(
            self._runtime, _core(self._runtime), self._file, _properties(settings), inputs, wanted
        )


def _properties(settings: OpenVinoSettings) -> Dict[str, Any]:
    """Properties of the compiled model. By default, OpenVINO changes the caller's affinity, computes in bf16
    if the CPU can, and computes products with 8-bit weights in 8 bits.
    """
    if settings.backend == GPU:
        return {"PERF_COUNT": True, "INFERENCE_PRECISION_HINT": "f32"}
    throughput = settings.backend_options == THROUGHPUT
    return {
        "PERF_COUNT": True,
        "INFERENCE_PRECISION_HINT": settings.backend,
        "PERFORMANCE_HINT": "THROUGHPUT" if throughput else "LATENCY",
        "NUM_STREAMS": settings.threads if throughput else 1,
        "INFERENCE_NUM_THREADS": settings.threads,
        "EXECUTION_MODE_HINT": "ACCURACY" if settings.backend == "f32" else "PERFORMANCE",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
        "ENABLE_CPU_PINNING": False,
        "ENABLE_HYPER_THREADING": True,
    }


def _missing(module: Any) -> Dict[str, str]:
    """The reason why a backend is unavailable, by its name."""
    core = _core(module)
    able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    missing = {
        name: "this CPU does not compute in %s; use f32" % name
        for name, capability in CAPABILITIES.items()
        if capability not in able
    }
    if not any(device.startswith("GPU") for device in core.available_devices):
        missing[GPU] = "OpenVINO finds no GPU; it needs an Intel GPU with its OpenCL driver"
    return missing


@functools.lru_cache(maxsize=None)
def _core(module: Any) -> Any:
    """The only one of this process. Each that compiles a model for the CPU gives the main thread another
    stack for signals, and in the end puts back the one before, even if that belongs to a Core that is gone
    (OpenVINO 2026.4): the next signal would then crash the process.
    """
    return module.Core()


def _runtime() -> Any:
    """Raises:
    UsageError: it is not installed.
    """
    # This prevents telemetry from sending anything or writing to the home directory.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    os.environ.setdefault("OPENVINO_LOG_LEVEL", "0")
    return runtime.imported("openvino", "OpenVINO", "openvino>=2025.0,<2027")
