"""The engines that there are. An engine is imported only when it is chosen."""

from __future__ import annotations

from typing import Callable, Dict, Type

from .engine import Engine
from .errors import UsageError


def _torch() -> Type[Engine]:
    from .torch_engine.engine import TorchEngine

    return TorchEngine


ENGINES: Dict[str, Callable[[], Type[Engine]]] = {"torch": _torch}
AUTOMATIC = "auto"


def make(name: str, threads: int, seed: int, backend: str) -> Engine:
    """``auto`` is the first engine of the table.

    Raises:
        UsageError: there is no such engine, or it has no such backend.
    """
    chosen = next(iter(ENGINES)) if name == AUTOMATIC else name
    if chosen not in ENGINES:
        raise UsageError("--engine: %r is not one of %s, %s" % (name, AUTOMATIC, ", ".join(ENGINES)))
    engine = ENGINES[chosen]()
    if backend not in engine.backends:
        raise UsageError(
            "--backend: the engine %s has no backend %r; it has %s"
            % (chosen, backend, ", ".join(engine.backends))
        )
    return engine(threads, seed, backend)
