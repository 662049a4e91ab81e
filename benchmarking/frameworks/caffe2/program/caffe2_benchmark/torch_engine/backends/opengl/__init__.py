"""Compute shaders with OpenGL 4.3 or later, on any device that EGL finds: a GPU, or Mesa's llvmpipe."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Dict, Iterator, List, Mapping, Optional

import torch

from benchmarking.frameworks.kit.kernels import Fact

from ...operators import OPERATORS
from ...registry import Compute, Registration
from ..backend import Backend
from .blob import DeviceBlob
from .context import PREFIX, Device, shared_device, why_unavailable
from .operators import KERNELS
from .operators.kernel import Kernel

STAYS = PREFIX + "stays"
"""The log entry for an operator without a shader: the blob stays in place, possibly under another name."""


class OpenGL(Backend):
    name = "opengl"

    def __init__(self, threads: int) -> None:
        self._device = shared_device()
        self._is_timed = False
        self._device_ns: Optional[int] = None
        self.operators = {type_: self._registration(type_, one) for type_, one in KERNELS.items()}

    def _registration(self, type_: str, prepare: Kernel) -> Registration:
        return replace(OPERATORS[type_], prepare=lambda op: _logged(self._device, prepare(self._device, op)))

    @classmethod
    def why_unavailable(cls) -> str:
        return why_unavailable()

    def facts(self) -> Mapping[str, Fact]:
        facts: Dict[str, Fact] = {**self._device.facts(), "gl_programs": self._device.program_count}
        return facts

    def upload(self, tensor: Any) -> Any:
        """Values that shaders cannot process remain host tensors."""
        is_pixels = tensor.dtype == torch.uint8 and tensor.dim() == 4 and tensor.shape[3] == 4
        if tensor.dtype != torch.float32 and not is_pixels:
            return tensor
        return DeviceBlob.of_tensor(self._device, tensor)

    def download(self, blob: Any) -> Any:
        return blob.tensor() if isinstance(blob, DeviceBlob) else blob

    def start(self) -> None:
        if self._is_timed:
            self._device.stop_clock()  # of a run that failed
        if self._device.has_clock:
            self._device.start_clock()
            self._is_timed = True

    def synchronise(self) -> None:
        self._device_ns = None
        if self._is_timed:
            self._device.stop_clock()
        self._device.finish()
        if self._is_timed:
            self._is_timed = False
            self._device_ns = self._device.elapsed_ns()

    def device_ns(self) -> Optional[int]:
        return self._device_ns

    @contextmanager
    def observe(self) -> Iterator[List[str]]:
        log: List[str] = []
        self._device.log = log
        try:
            yield log
            self._device.finish()
        finally:
            self._device.log = None

    def is_own(self, kernel: str) -> bool:
        return kernel.startswith(PREFIX)


def _logged(device: Device, compute: Compute) -> Compute:
    """Also reports operators for which nothing had to be dispatched."""

    def run(*blobs: Any) -> Any:
        log = device.log
        if log is None:
            return compute(*blobs)
        count = len(log)
        result = compute(*blobs)
        if len(log) == count:
            log.append(STAYS)
        return result

    return run
