"""What an engine has to do: load a net once, then run it again and again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import AbstractSet, Any, Dict, List, Mapping, Optional, Sequence, Tuple

from .costs import OperatorFacts
from .errors import UsageError
from .kernels import Fact, Observation


class LoadedNet(ABC):
    """A net with its weights and inputs, ready to be run."""

    @property
    @abstractmethod
    def operator_names(self) -> Sequence[str]:
        """``ID_<index>_<type>_<name, else first output>``, in the order of the net."""

    @property
    def facts(self) -> Mapping[str, Fact]:
        """What was done to the net."""
        return {}

    @abstractmethod
    def run(self) -> None:
        """One iteration: nothing in it that could have been done before.

        Raises:
            NetError: an operator failed; names it, its type and its inputs.
        """

    def device_ns(self) -> Optional[int]:
        """Nanoseconds of the last run by the clock of the device that it ran on; None: it has none."""
        return None

    @abstractmethod
    def run_operators(self) -> List[int]:
        """One iteration, operator by operator: the nanoseconds that each took."""

    @abstractmethod
    def observe(self) -> Observation:
        """Runs the net once, and tells which kernels computed it. The next runs are as if it had not been."""

    @abstractmethod
    def operators(self) -> Sequence[OperatorFacts]:
        """What was run, with the shapes of all blobs. May run the net once more."""

    @abstractmethod
    def blob_names(self) -> Sequence[str]:
        """Every blob that there is now."""

    @abstractmethod
    def blob(self, name: str) -> Any:
        """A blob's value as a numpy array.

        Raises:
            NetError: there is no such blob.
        """


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
        """Its version, and whatever else tells what really ran."""

    @abstractmethod
    def load(self, init_net: Any, net: Any, inputs: Dict[str, Any], wanted: AbstractSet[str]) -> LoadedNet:
        """Runs the init net (None: there is none), feeds the inputs, and prepares the net.

        ``wanted``: the blobs that are read afterwards, besides the net's outputs.

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
