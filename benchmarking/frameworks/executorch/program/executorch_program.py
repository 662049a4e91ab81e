"""The ExecuTorch benchmark program: a .pte file, on the backends that it was exported for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import AbstractSet, Any, Dict, List, Mapping

from benchmarking.frameworks.kit import runtime
from benchmarking.frameworks.kit.errors import UsageError
from benchmarking.frameworks.kit.flags import Settings, flag
from benchmarking.frameworks.kit.kernels import Fact
from benchmarking.frameworks.kit.program import BackendRow, LoadedModel, Preparation, Program

from . import __version__, pte_file

BACKEND = "exported"
_REQUIREMENT = "executorch>=1.5,<1.6"


@dataclass(frozen=True)
class ExecuTorchSettings(Settings):
    model: str = flag("", "the .pte file", required=True)
    backend: str = flag(BACKEND, "what the file was exported for", choices=(BACKEND,))


class ExecuTorchProgram(Program[ExecuTorchSettings]):
    name = "executorch_benchmark"
    version = __version__
    description = "runs an ExecuTorch program (.pte) and prints how long each iteration took"
    settings = ExecuTorchSettings

    def backends(self) -> List[BackendRow]:
        _runtime(1)
        return [{"name": BACKEND, "available": True, "reason": ""}]

    def require(self, settings: ExecuTorchSettings) -> None:
        if settings.backend_options:
            raise UsageError(
                "--backend_options: %r; ExecuTorch's backend has none" % settings.backend_options
            )

    def prepare(self, settings: ExecuTorchSettings) -> Preparation:
        return _ExecuTorchPreparation(settings)


class _ExecuTorchPreparation(Preparation):
    def __init__(self, settings: ExecuTorchSettings) -> None:
        self._settings = settings
        pte_file.require_program(settings.model)
        self._runtime = _runtime(settings.threads)

    @property
    def model_name(self) -> str:
        return os.path.splitext(os.path.basename(self._settings.model))[0]

    @property
    def facts(self) -> Mapping[str, Fact]:
        from executorch.version import __version__ as version

        return {"engine": "executorch", "executorch": version, "operator_resolution_ns": 1000}

    def load(self, inputs: Dict[str, Any], wanted: AbstractSet[str]) -> LoadedModel:
        from .method_model import MethodModel

        settings = self._settings
        return MethodModel(
            self._runtime,
            settings.model,
            threads=settings.threads,
            inputs=inputs,
            wanted=wanted,
            times_operators=settings.run_individual,
        )


def _runtime(threads: int) -> Any:
    """The C++ runtime alone: the package around it imports the exporter, which starts a thread.

    Raises:
        UsageError: it is not installed.
    """
    os.environ["OMP_NUM_THREADS"] = str(threads)
    runtime.imported("torch", "PyTorch", _REQUIREMENT)
    return runtime.imported("executorch.extension.pybindings._C", "ExecuTorch", _REQUIREMENT)
