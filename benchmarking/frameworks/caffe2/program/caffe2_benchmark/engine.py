"""The interface of an engine: it creates a net that can run from its files and inputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import AbstractSet, Any, Dict, Mapping, Sequence, Tuple

from benchmarking.frameworks.kit.errors import UsageError
from benchmarking.frameworks.kit.kernels import Fact
from benchmarking.frameworks.kit.program import LoadedModel


class Engine(ABC):
    """Base class: add a subclass to ``engines.py``."""

    name = ""
    backends: Sequence[str] = ()
    """The names that --backend accepts for this engine."""
    optimizations: Sequence[str] = ("none",)
    """The names that --optimize accepts for this engine."""
    unused_options: Sequence[str] = ()
    """The options in --backend_options that the chosen backend does not have."""

    @abstractmethod
    def __init__(
        self, threads: int, seed: int, backend: str, optimize: str, backend_options: Sequence[str]
    ) -> None:
        """Sets the engine up.

        Raises:
            UsageError: the backend is not there, or has no such option.
        """

    @classmethod
    @abstractmethod
    def why_unavailable(cls, backend: str) -> str:
        """The reason why one of ``backends`` is unavailable, and how to get it, in one line; empty: it is
        available.
        """

    @abstractmethod
    def facts(self) -> Mapping[str, Fact]:
        """Facts that show what really ran, such as its version."""

    @abstractmethod
    def load(self, init_net: Any, net: Any, inputs: Dict[str, Any], wanted: AbstractSet[str]) -> LoadedModel:
        """Runs the init net (None: there is none), feeds the inputs, and prepares the net.

        Operators are named ``ID_<index>_<type>_<name, otherwise first output>``. ``wanted``: the blobs that
        are read afterwards, in addition to the net's outputs.

        Raises:
            NetError: an operator is unknown, a blob is fed by nobody, an argument is wrong ...
        """


OPTIONS = ("channels_last", "tf32", "autotune")
"""The names that --backend_options accepts: each of them is an option of some backend."""


def usable_options(known: Sequence[str], chosen: Sequence[str]) -> Tuple[Sequence[str], Sequence[str]]:
    """Splits ``chosen`` into the options that a backend has and those that it lacks: a specification may name
    options for several backends.

    Raises:
        UsageError: no backend has such an option.
    """
    for one in chosen:
        if one not in OPTIONS:
            raise UsageError(
                "--backend_options: no backend has the option %r; known are %s" % (one, ", ".join(OPTIONS))
            )
    return [one for one in chosen if one in known], [one for one in chosen if one not in known]
