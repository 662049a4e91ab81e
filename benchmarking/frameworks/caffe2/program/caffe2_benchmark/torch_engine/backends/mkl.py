"""MKL: convolutions and fully connected layers as its matrix products; oneDNN is off."""

from __future__ import annotations

import torch

from ...library_kernels import is_mkl
from .backend import Backend
from .onednn import CONVOLUTIONS, FULLY_CONNECTED


class Mkl(Backend):
    """torch's own kernels multiply matrices with MKL unless oneDNN takes precedence."""

    name = "mkl"
    covers = "convolutions and FCs"
    covered_types = (*CONVOLUTIONS, *FULLY_CONNECTED)
    uses_onednn = False
    observes_mkl = True

    @classmethod
    def why_unavailable(cls) -> str:
        if not torch._C.has_mkl:
            return "torch %s was built without MKL; install torch from PyPI for x86-64" % torch.__version__
        if not hasattr(torch._C, "_verbose"):
            return "torch %s cannot report whether MKL ran; install torch 2.0 or newer" % torch.__version__
        return ""

    def is_own(self, kernel: str) -> bool:
        return is_mkl(kernel)
