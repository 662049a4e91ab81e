"""The PyTorch benchmark program: torch.export packages, AOTInductor packages and TorchScript."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import AbstractSet, Any, Dict, List, Mapping

from benchmarking.frameworks.kit import runtime
from benchmarking.frameworks.kit.errors import ModelError
from benchmarking.frameworks.kit.flags import Settings, flag
from benchmarking.frameworks.kit.kernels import Fact
from benchmarking.frameworks.kit.program import BackendRow, LoadedModel, Preparation, Program

from . import __version__, backends, model_file


@dataclass(frozen=True)
class PyTorchSettings(Settings):
    model: str = flag("", "the .pt2 or .pt file", required=True)
    allow_code: bool = flag(False, "run code in the file: TorchScript, AOTInductor packages, pickled objects")
    backend: str = flag("eager", "the way to run the model; --list_backends lists all")
    backend_options: str = flag("", "cuda has tf32: products of reduced precision, which are faster")


class PyTorchProgram(Program[PyTorchSettings]):
    name = "pytorch_benchmark"
    version = __version__
    description = "runs a PyTorch model and prints how long each iteration took"
    settings = PyTorchSettings

    def backends(self) -> List[BackendRow]:
        return backends.rows(_torch(1))

    def prepare(self, settings: PyTorchSettings) -> Preparation:
        return _PyTorchPreparation(settings)


class _PyTorchPreparation(Preparation):
    def __init__(self, settings: PyTorchSettings) -> None:
        self._settings = settings
        self._kind = model_file.kind(settings.model)
        if self._kind != model_file.EXPORTED and not settings.allow_code:
            raise ModelError(
                "--model: %s is %s, which is code: it is not run without the option --allow_code"
                % (settings.model, self._kind)
            )
        self._torch = _torch(settings.threads)
        self._backend = backends.choose(
            settings.backend, settings.backend_option_names, self._kind, self._torch
        )
        from . import loading

        self._loading = loading
        loading.get_ready(self._kind)
        if self._kind == model_file.EXPORTED and not settings.allow_code:
            loading.require_plain(settings.model)

    @property
    def model_name(self) -> str:
        return os.path.splitext(os.path.basename(self._settings.model))[0]

    @property
    def facts(self) -> Mapping[str, Fact]:
        return {
            "engine": "pytorch",
            "pytorch": self._torch.__version__,
            "model_kind": self._kind,
            "way": self._backend.way,
        }

    def load(self, inputs: Dict[str, Any], wanted: AbstractSet[str]) -> LoadedModel:
        return self._loading.load(
            self._settings.model, self._kind, self._backend, self._settings.threads, inputs, wanted
        )


def _torch(threads: int) -> Any:
    """Raises:
    UsageError: it is not installed.
    """
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ.setdefault("KINETO_LOG_LEVEL", "9")  # otherwise its profiler reports when it starts and stops
    return runtime.imported("torch", "PyTorch", "torch>=2.9,<3")
