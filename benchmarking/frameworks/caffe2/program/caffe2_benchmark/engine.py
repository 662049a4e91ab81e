"""What an engine has to do: make a net that can be run of its files and inputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import AbstractSet, Any, Dict, Mapping, Sequence, Tuple

from benchmarking.frameworks.kit.errors import UsageError
from benchmarking.frameworks.kit.kernels import Fact
from benchmarking.frameworks.kit.program import LoadedModel


class Engine(ABC):
    """Add a subclass to ``engines.py``."""

    name = ""
    backends: Sequence[str] = ()
    """What --backend may name for this engine."""
    optimizations: Sequence[str] = ("none",)
    """What --optimize may name for this engine."""
    unused_options: Sequence[str] = ()
    """Of --backend_options, what the chosen backend does not have."""

    @abstractmethod
    def __init__(
        self, threads: int, seed: int, backend: str, optimize: str, backend_options: Sequence[str]
    ) -> None:
        """Raises:
        UsageError: the backend is not there, or has no such option.
        """

    @classmethod
    @abstractmethod
    def why_unavailable(cls, backend: str) -> str:
        """Why one of ``backends`` is not there, and how to get it, in a line; empty: it is there."""

    @abstractmethod
    def facts(self) -> Mapping[str, Fact]:
        """Its version, and whatever else says what really ran."""

    @abstractmethod
    def load(self, init_net: Any, net: Any, inputs: Dict[str, Any], wanted: AbstractSet[str]) -> LoadedModel:
        """Runs the init net (None: there is none), feeds the inputs, and prepares the net.

        Operators are named ``ID_<index>_<type>_<name, else first output>``. ``wanted``: the blobs that are
        read afterwards, besides the net's outputs.

        Raises:
            NetError: an operator is unknown, a blob is fed by nobody, an argument is wrong ...
        """


OPTIONS = ("channels_last", "tf32", "autotune")
"""What --backend_options may name: each of them is one of some backend."""


def usable_options(known: Sequence[str], chosen: Sequence[str]) -> Tuple[Sequence[str], Sequence[str]]:
    """Those of ``chosen`` that a backend has, and those that it does not have: a specification may name
    options for several backends.

    Raises:
        UsageError: no backend has such an option.
    """
    for one in chosen:
        if one not in OPTIONS:
            raise UsageError(
                "--backend_options: no backend has the option %r; there are %s" % (one, ", ".join(OPTIONS))
            )
    return [one for one in chosen if one in known], [one for one in chosen if one not in known]
