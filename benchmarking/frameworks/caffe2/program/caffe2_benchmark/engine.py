"""What an engine has to do: load a net once, then run it again and again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import AbstractSet, Any, Dict, List, Mapping, Sequence, Union

from .costs import OperatorFacts

Fact = Union[str, int, float, bool, None]


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

    @abstractmethod
    def run_operators(self) -> List[int]:
        """One iteration, operator by operator: the nanoseconds that each took."""

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

    @abstractmethod
    def __init__(self, threads: int, seed: int, backend: str, optimize: str) -> None: ...

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
