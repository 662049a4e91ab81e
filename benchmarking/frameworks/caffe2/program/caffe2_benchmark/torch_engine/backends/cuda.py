"""CUDA: torch's kernels on tensors of an NVIDIA GPU."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Iterator, List, Mapping, Optional, Sequence, Set

import torch

from benchmarking.frameworks.kit.kernels import Fact

from . import cuda_operators
from .backend import Backend

_DEVICE = "cuda"
_MOVING = ("Memcpy", "Memset")
CHANNELS_LAST, TF32, AUTOTUNE = "channels_last", "tf32", "autotune"


def _event() -> Any:
    return torch.cuda.Event(enable_timing=True)


def _is_on_device(event: Any) -> bool:
    return str(event.device_type).endswith("CUDA")


class Cuda(Backend):
    name = "cuda"
    operators = cuda_operators.operators(_DEVICE)
    options = (CHANNELS_LAST, TF32, AUTOTUNE)
    profiles = True

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        self._options: Sequence[str] = ()
        self._kernels: Set[str] = set()
        self._started: Optional[Any] = None
        self._ended: Any = _event()
        self.switch_on(())

    @classmethod
    def why_unavailable(cls) -> str:
        if torch.version.cuda is None:
            return "torch %s was built without CUDA; pytorch.org has builds with it" % torch.__version__
        if not torch.cuda.is_available():
            return "torch finds no CUDA device: it needs an NVIDIA GPU and its driver; nvidia-smi shows both"
        return ""

    def switch_on(self, options: Sequence[str]) -> None:
        """TF32 computes convolutions and products with reduced precision; autotuning tries
        cuDNN's kernels.
        """
        self._options = options
        torch.backends.cuda.matmul.allow_tf32 = TF32 in options
        torch.backends.cudnn.allow_tf32 = TF32 in options
        torch.backends.cudnn.benchmark = AUTOTUNE in options

    def facts(self) -> Mapping[str, Fact]:
        return {
            "device": torch.cuda.get_device_name(_DEVICE),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            **{"cuda_" + name: name in self._options for name in self.options},
            "precision": TF32 if TF32 in self._options else "f32",
        }

    def upload(self, tensor: Any) -> Any:
        dense = tensor.to_dense() if tensor.is_mkldnn else tensor
        if CHANNELS_LAST in self._options and dense.dim() == 4:
            return dense.to(_DEVICE, memory_format=torch.channels_last)
        return dense.to(_DEVICE)

    def download(self, blob: Any) -> Any:
        return blob.cpu()

    def start(self) -> None:
        self._started = _event()
        self._started.record()

    def synchronise(self) -> None:
        self._ended.record()
        self._ended.synchronize()

    def device_ns(self) -> Optional[int]:
        if self._started is None:
            return None
        milliseconds: float = self._started.elapsed_time(self._ended)
        return round(milliseconds * 1e6)

    @contextmanager
    def observe(self) -> Iterator[List[str]]:
        names: List[str] = []
        activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
        with torch.profiler.profile(activities=activities) as profile:
            yield names
            torch.cuda.synchronize()
        events = profile.events()
        kernels = [
            event.name for event in events if _is_on_device(event) and not event.name.startswith(_MOVING)
        ]
        self._kernels.update(kernels)
        names += kernels
        names += [event.name for event in events if not _is_on_device(event)]

    def is_own(self, kernel: str) -> bool:
        return kernel in self._kernels
