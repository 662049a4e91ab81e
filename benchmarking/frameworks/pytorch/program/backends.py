"""The ways to run a model."""

from __future__ import annotations

import os
import shutil
from typing import Any, List, NamedTuple, Sequence

from benchmarking.frameworks.kit.errors import UsageError
from benchmarking.frameworks.kit.program import BackendRow

from . import model_file

NAMES = ("eager", "channels_last", "frozen", "inductor", "cuda", "cuda_channels_last", "cuda_inductor")
_FILES = {
    "eager": (model_file.EXPORTED, model_file.TORCHSCRIPT),
    "channels_last": (model_file.EXPORTED, model_file.TORCHSCRIPT),
    "frozen": (model_file.EXPORTED, model_file.TORCHSCRIPT),
    "inductor": (model_file.EXPORTED, model_file.AOT_INDUCTOR),
}
"""The kinds of files that a backend runs. An AOTInductor package is compiled for one device."""


class Backend(NamedTuple):
    name: str
    way: str
    """A key of ``_FILES``."""
    device: str
    tf32: bool


def choose(name: str, options: Sequence[str], kind: str, torch: Any) -> Backend:
    """
    Raises:
        UsageError: there is no such backend or option, it is not available, or does not run such a file.
    """
    if name not in NAMES:
        raise UsageError("--backend: %r is not one of %s" % (name, ", ".join(NAMES)))
    device, _, way = name.partition("_") if name.startswith("cuda") else ("cpu", "", name)
    way = way or "eager"
    for option in options:
        if (device, option) != ("cuda", "tf32"):
            raise UsageError("--backend_options: the backend %s has no option %r" % (name, option))
    if kind not in _FILES[way]:
        others = [one for one in _FILES if kind in _FILES[one]]
        raise UsageError("--backend %s does not run %s files; use %s" % (name, kind, " or ".join(others)))
    why = why_missing(name, torch) if kind != model_file.AOT_INDUCTOR else _no_gpu(device, torch)
    if why:
        raise UsageError("--backend %s: %s" % (name, why))
    return Backend(name, way, device, "tf32" in options)


def rows(torch: Any) -> List[BackendRow]:
    reasons = {name: why_missing(name, torch) for name in NAMES}
    return [{"name": name, "available": not why, "reason": why} for name, why in reasons.items()]


def why_missing(name: str, torch: Any) -> str:
    """Empty if it is available."""
    if name.endswith("inductor"):
        compiler = os.environ.get("CXX", "")
        if not any(map(shutil.which, [compiler] if compiler else ["g++", "clang++", "c++"])):
            return "it needs a C++ compiler, which is missing: install g++"
    return _no_gpu("cuda" if name.startswith("cuda") else "cpu", torch)


def _no_gpu(device: str, torch: Any) -> str:
    if device != "cuda" or torch.cuda.is_available():
        return ""
    return "torch %s sees no GPU" % torch.__version__
