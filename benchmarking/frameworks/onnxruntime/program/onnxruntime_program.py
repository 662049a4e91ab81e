"""The ONNX Runtime benchmark program: an ONNX model, at an optimization level or on an execution provider."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import AbstractSet, Any, Dict, List, Mapping, NamedTuple

from benchmarking.frameworks.kit.errors import ModelError, UsageError
from benchmarking.frameworks.kit.flags import Settings, flag
from benchmarking.frameworks.kit.kernels import Fact
from benchmarking.frameworks.kit.program import BackendRow, LoadedModel, Preparation, Program

from . import __version__, onnx_file

LEVELS = {
    "default": "ORT_ENABLE_ALL",
    "extended": "ORT_ENABLE_EXTENDED",
    "basic": "ORT_ENABLE_BASIC",
    "disabled": "ORT_DISABLE_ALL",
}
"""Of the optimization of the graph, which then runs on the CPU."""
PROVIDERS = {
    "cuda": ("CUDAExecutionProvider", "onnxruntime-gpu"),
    "tensorrt": ("TensorrtExecutionProvider", "onnxruntime-gpu"),
    "openvino": ("OpenVINOExecutionProvider", "onnxruntime-openvino"),
    "coreml": ("CoreMLExecutionProvider", "onnxruntime on a Mac"),
    "xnnpack": ("XnnpackExecutionProvider", ""),
    "dnnl": ("DnnlExecutionProvider", ""),
}
"""Execution providers, and the package that has each of them; none: it has to be compiled."""
CPU = "CPUExecutionProvider"


@dataclass(frozen=True)
class OnnxRuntimeSettings(Settings):
    model: str = flag("", "the .onnx file")
    backend: str = flag(
        "default",
        "how the graph is optimized (default, extended, basic, disabled), or what else than the CPU runs it;"
        " --list_backends lists them",
    )
    backend_options: str = flag("", "cuda has tf32: products of fewer bits, which are faster")


class Backend(NamedTuple):
    level: str
    provider: str
    options: Dict[str, str]
    """Of the provider."""


class OnnxRuntimeProgram(Program):
    name = "onnxruntime_benchmark"
    version = __version__
    description = "runs an ONNX model and prints how long each iteration took"
    settings = OnnxRuntimeSettings

    def backends(self) -> List[BackendRow]:
        available = _runtime().get_available_providers()
        rows: List[BackendRow] = [{"name": name, "available": True, "reason": ""} for name in LEVELS]
        for name, (provider, _) in PROVIDERS.items():
            there = provider in available
            rows.append({"name": name, "available": there, "reason": "" if there else _missing(name)})
        return rows

    def require(self, settings: Settings) -> None:
        if not _own(settings).model:
            raise UsageError("--model is missing: the ONNX file to run")

    def prepare(self, settings: Settings) -> Preparation:
        return _OnnxPreparation(_own(settings))


class _OnnxPreparation(Preparation):
    def __init__(self, settings: OnnxRuntimeSettings) -> None:
        self._settings = settings
        self._file = onnx_file.read(settings.model)
        self._runtime = _runtime()
        self._backend = _backend(settings, self._runtime.get_available_providers())

    @property
    def model_name(self) -> str:
        return self._file.name

    @property
    def facts(self) -> Mapping[str, Fact]:
        return {
            "engine": "onnxruntime",
            "onnxruntime": self._runtime.__version__,
            "optimize": self._backend.level,
            "model_versions": self._file.versions,
            "operators_in_file": self._file.operators,
            "operator_resolution_ns": 1000,
            "precision": "tf32" if self._backend.options.get("use_tf32") == "1" else "as in the model",
        }

    def load(self, inputs: Dict[str, Any], wanted: AbstractSet[str]) -> LoadedModel:
        from .session import OnnxModel

        unknown = sorted(wanted - {"*", *self._file.outputs})
        if unknown:
            raise ModelError(
                "--output: the model %s has no output %r; it has %s"
                % (self.model_name, unknown[0], ", ".join(self._file.outputs))
            )
        return OnnxModel(self._runtime, self._file, self._backend, self._settings.threads, inputs)


def _runtime() -> Any:
    """Raises:
    UsageError: it is not installed.
    """
    # Before the import: at once it starts a thread, writes below the home directory and looks up a host.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        import onnxruntime
    except ImportError as error:
        raise UsageError(
            "ONNX Runtime cannot be imported: %s; pip install 'onnxruntime>=1.20,<2'" % error
        ) from error
    onnxruntime.set_default_logger_severity(3)  # errors
    return onnxruntime


def _backend(settings: OnnxRuntimeSettings, available: List[str]) -> Backend:
    """Raises:
    UsageError: there is no such backend, or it is not available, or it has no such option.
    """
    name = settings.backend
    options = [option for option in settings.backend_options.split(",") if option]
    if name not in LEVELS and name not in PROVIDERS:
        raise UsageError("--backend: %r is not one of %s" % (name, ", ".join([*LEVELS, *PROVIDERS])))
    for option in options:
        if (name, option) != ("cuda", "tf32"):
            raise UsageError("--backend_options: the backend %s has no option %r" % (name, option))
    if name in LEVELS:
        return Backend(name, CPU, {})
    provider = PROVIDERS[name][0]
    if provider not in available:
        raise UsageError("--backend %s: %s" % (name, _missing(name)))
    return Backend("default", provider, {"use_tf32": str(int("tf32" in options))} if name == "cuda" else {})


def _missing(name: str) -> str:
    package = PROVIDERS[name][1]
    how = "use %s" % package if package else "compile one that has it"
    return "this onnxruntime has no execution provider %s; %s" % (name, how)


def _own(settings: Settings) -> OnnxRuntimeSettings:
    if not isinstance(settings, OnnxRuntimeSettings):
        raise TypeError("the ONNX Runtime program has settings of its own, not %r" % type(settings))
    return settings
