"""The engines that there are. An engine is imported only when it is chosen."""

from __future__ import annotations

import importlib.util
import sys
from typing import Callable, Dict, Type

from .engine import Engine
from .errors import UsageError


def _torch() -> Type[Engine]:
    from .torch_engine.engine import TorchEngine

    return TorchEngine


def _native() -> Type[Engine]:
    if not _has_real_caffe2():
        raise UsageError(
            "--engine native: %s has no Caffe2; torch 1.10.2 was the last with it, for Python 3.6 to 3.9"
            % sys.executable
        )
    from .native_engine import NativeEngine

    return NativeEngine


def _has_real_caffe2() -> bool:
    """Later torch, too, has a package ``caffe2`` for a while, but without what is compiled."""
    return (
        importlib.util.find_spec("caffe2") is not None
        and importlib.util.find_spec("caffe2.python") is not None
        and any(
            importlib.util.find_spec("caffe2.python." + module) is not None
            for module in ("caffe2_pybind11_state", "caffe2_pybind11_state_gpu")
        )
    )


ENGINES: Dict[str, Callable[[], Type[Engine]]] = {"torch": _torch, "native": _native}
AUTOMATIC = "auto"


def make(name: str, threads: int, seed: int, backend: str, optimize: str = "none") -> Engine:
    """As ``choose``."""
    return choose(name, backend, optimize)(threads, seed, backend, optimize)


def choose(name: str, backend: str, optimize: str) -> Type[Engine]:
    """``auto`` is real Caffe2 where it is there, else torch.

    Raises:
        UsageError: there is no such engine, or it has no such backend or optimization.
    """
    chosen = name
    if name == AUTOMATIC:
        chosen = "native" if _has_real_caffe2() else "torch"
    if chosen not in ENGINES:
        raise UsageError("--engine: %r is not one of %s, %s" % (name, AUTOMATIC, ", ".join(ENGINES)))
    engine = ENGINES[chosen]()
    if backend not in engine.backends:
        raise UsageError(
            "--backend: the engine %s has no backend %r; it has %s"
            % (chosen, backend, ", ".join(engine.backends))
        )
    if optimize not in engine.optimizations:
        raise UsageError("--optimize: the engine %s runs nets as they are; it cannot %s" % (chosen, optimize))
    return engine
