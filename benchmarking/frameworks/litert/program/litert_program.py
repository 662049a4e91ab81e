"""The LiteRT benchmark program: a .tflite model, computed by XNNPACK or by LiteRT's own kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import AbstractSet, Any, Dict, List, Mapping

from benchmarking.frameworks.kit import printed, runtime, tflite_file
from benchmarking.frameworks.kit.errors import UsageError
from benchmarking.frameworks.kit.flags import Settings, flag
from benchmarking.frameworks.kit.kernels import Fact
from benchmarking.frameworks.kit.program import BackendRow, LoadedModel, Preparation, Program

from . import __version__

BACKENDS = ("xnnpack", "builtin")


@dataclass(frozen=True)
class LiteRtSettings(Settings):
    model: str = flag("", "the .tflite file", required=True)
    backend: str = flag(
        "xnnpack", "xnnpack: XNNPACK's kernels where they exist; builtin: only LiteRT's own", choices=BACKENDS
    )


class LiteRtProgram(Program[LiteRtSettings]):
    name = "litert_benchmark"
    version = __version__
    description = "runs a .tflite model and prints how long each iteration took"
    settings = LiteRtSettings

    def backends(self) -> List[BackendRow]:
        _runtime()
        return [{"name": name, "available": True, "reason": ""} for name in BACKENDS]

    def require(self, settings: LiteRtSettings) -> None:
        if settings.backend_options:
            raise UsageError(
                "--backend_options: %r; LiteRT's backends have no options" % settings.backend_options
            )

    def prepare(self, settings: LiteRtSettings) -> Preparation:
        return _LiteRtPreparation(settings)


class _LiteRtPreparation(Preparation):
    def __init__(self, settings: LiteRtSettings) -> None:
        self._settings = settings
        self._file = tflite_file.read(settings.model)
        self._runtime = _runtime()

    @property
    def model_name(self) -> str:
        return self._file.signature.model

    @property
    def facts(self) -> Mapping[str, Fact]:
        from ai_edge_litert import __version__ as version

        return {
            "engine": "litert",
            "litert": version,
            "operators_in_file": self._file.operators,
            "operator_resolution_ns": 1000,
        }

    def load(self, inputs: Dict[str, Any], wanted: AbstractSet[str]) -> LoadedModel:
        from .interpreted_model import LiteRtModel

        settings = self._settings
        return LiteRtModel(self._runtime, self._file, settings.backend, settings.threads, inputs, wanted)


def _runtime() -> Any:
    """Raises:
    UsageError: it is not installed.
    """
    with printed.captured(printed.STDOUT):
        return runtime.imported("ai_edge_litert.interpreter", "LiteRT", "ai-edge-litert>=2.3,<2.4")
