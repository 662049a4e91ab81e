"""The table of engines. An engine is imported only when it is chosen."""

from __future__ import annotations

import importlib.util
import sys
from typing import Callable, Dict, List, Sequence, Tuple, Type

from benchmarking.frameworks.kit.errors import UsageError
from benchmarking.frameworks.kit.program import BackendRow

from .engine import Engine


def _torch() -> Type[Engine]:
    from .torch_engine.engine import TorchEngine

    return TorchEngine


def _native() -> Type[Engine]:
    if not _has_real_caffe2():
        raise UsageError("--engine native: " + _no_caffe2())
    from .native_engine.engine import NativeEngine

    return NativeEngine


def _has_real_caffe2() -> bool:
    """For some time later versions of torch also had a package ``caffe2``, but without the compiled part."""
    return (
        importlib.util.find_spec("caffe2") is not None
        and importlib.util.find_spec("caffe2.python") is not None
        and any(
            importlib.util.find_spec("caffe2.python." + module) is not None
            for module in ("caffe2_pybind11_state", "caffe2_pybind11_state_gpu")
        )
    )


def _no_caffe2() -> str:
    return (
        "%s has no Caffe2; torch 1.10.2 was the last version with it, for Python 3.6 to 3.9"
        " (docs/caffe2.md says how to get it)" % sys.executable
    )


ENGINES: Dict[str, Callable[[], Type[Engine]]] = {"torch": _torch, "native": _native}
AUTOMATIC = "auto"
_ONLY_NATIVE = ("eigen",)
_BACKENDS_OF_NATIVE = ("default", "eigen", "nnpack", "mkl", "cuda")
"""Known even without the engine, so that they can be listed when it is missing."""


def make(
    name: str,
    threads: int,
    seed: int,
    backend: str,
    optimize: str = "none",
    backend_options: Sequence[str] = (),
) -> Engine:
    """As ``choose``."""
    return choose(name, backend, optimize)(threads, seed, backend, optimize, backend_options)


def choose(name: str, backend: str, optimize: str) -> Type[Engine]:
    """``auto`` is real Caffe2 if it is available and has the backend, otherwise torch.

    Raises:
        UsageError: there is no such engine, or it has no such backend or optimization.
    """
    chosen = name
    if name == AUTOMATIC:
        has_it = backend == "builtin" or backend in _BACKENDS_OF_NATIVE
        chosen = "native" if has_it and _has_real_caffe2() else "torch"
    if chosen not in ENGINES:
        raise UsageError("--engine: %r is not one of %s, %s" % (name, AUTOMATIC, ", ".join(ENGINES)))
    engine = ENGINES[chosen]()
    if backend in _ONLY_NATIVE and backend not in engine.backends:
        how = "use --engine native" if _has_real_caffe2() else _no_caffe2()
        raise UsageError("--backend %s: only real Caffe2 has it; %s" % (backend, how))
    if backend not in engine.backends:
        raise UsageError(
            "--backend: the engine %s has no backend %r; it has %s"
            % (chosen, backend, ", ".join(engine.backends))
        )
    if optimize not in engine.optimizations:
        raise UsageError("--optimize: the engine %s runs nets unchanged; it cannot %s" % (chosen, optimize))
    return engine


def backends() -> List[BackendRow]:
    """The backends of all engines; ``builtin`` is another name for ``default`` and is left out."""
    reasons: Dict[Tuple[str, str], str] = {}
    torch_engine = _torch()
    for name in torch_engine.backends:
        reasons["torch", name] = torch_engine.why_unavailable(name)
    if _has_real_caffe2():
        native_engine = _native()
        for name in native_engine.backends:
            reasons["native", name] = native_engine.why_unavailable(name)
    else:
        reasons.update({("native", name): _no_caffe2() for name in _BACKENDS_OF_NATIVE})
    return [
        {"name": name, "engine": engine, "available": not reason, "reason": reason}
        for (engine, name), reason in reasons.items()
        if name != "builtin"
    ]
