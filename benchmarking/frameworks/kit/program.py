"""The part of a benchmark program that each runtime implements: read a model, load it once, run it
repeatedly.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import AbstractSet, Any, Dict, Generic, Union

from .costs import OperatorFacts
from .flags import AnySettings
from .kernels import Fact, Observation

BackendRow = Dict[str, Union[str, bool]]
"""A backend as ``--list_backends`` prints it: name, available, reason (empty if it is available), engine."""


class LoadedModel(ABC):
    """A model with its weights and inputs, ready to be run."""

    @property
    @abstractmethod
    def operator_names(self) -> Sequence[str]:
        """The name of each operator, in the order in which they run; empty as long as this is not known."""

    @property
    def facts(self) -> Mapping[str, Fact]:
        """Facts about what really ran: transformations of the model, versions."""
        return {}

    @property
    def warnings(self) -> Sequence[str]:
        """Sentences that readers of the numbers have to know."""
        return ()

    @abstractmethod
    def run(self) -> None:
        """Runs one iteration, without anything that could have been done before.

        Raises:
            ModelError: an operator failed; names the operator and its inputs.
        """

    def device_ns(self) -> int | None:
        """The nanoseconds of the last run by the clock of its device; None: it has no clock."""
        return None

    operators_later = False
    """Whether the times of operators are available only after several iterations."""

    operators_missing = ""
    """Why operators cannot be reported, a sentence; empty: they can. Known once the model was observed."""

    @abstractmethod
    def run_operators(self) -> list[int]:
        """Runs one iteration operator by operator and returns their times in nanoseconds, in the order of
        their names.

        With ``operators_later`` or ``operators_missing``, it returns nothing.
        """

    def take_operator_times(self) -> Mapping[str, list[int]]:
        """With ``operators_later``: the times of each operator in all iterations since the last call."""
        return {}

    @abstractmethod
    def observe(self) -> Observation:
        """Runs the model once and reports which kernels computed it. Later runs are not affected."""

    @abstractmethod
    def operators(self) -> Sequence[OperatorFacts]:
        """The operators that ran, with the shapes of all tensors. May run the model once more."""

    @abstractmethod
    def output_names(self) -> Sequence[str]:
        """The name of every tensor that can be read now."""

    @abstractmethod
    def output(self, name: str) -> Any:
        """A tensor's value as a numpy array, as the last run left it.

        Raises:
            ModelError: there is no such tensor.
        """


class Preparation(ABC):
    """A model that has been read, with its runtime imported. No thread of the runtime has been started."""

    @property
    @abstractmethod
    def model_name(self) -> str: ...

    @property
    def facts(self) -> Mapping[str, Fact]:
        """Facts about the model and its runtime; read after the model is loaded."""
        return {}

    @abstractmethod
    def load(self, inputs: dict[str, Any], wanted: AbstractSet[str]) -> LoadedModel:
        """Loads the model and feeds the inputs.

        ``wanted``: the tensors that are read afterwards, besides the model's outputs, as they were named.

        Raises:
            UsageError: the backend is not available, or has no such option.
            ModelError: the model cannot be run.
        """


class Program(ABC, Generic[AnySettings]):
    """The part of a program that belongs to the framework; ``main.run`` turns it into a program."""

    name = ""
    version = ""
    description = ""
    """One line for ``--help``."""
    settings: type[AnySettings]
    """The settings, including the program's own flags."""
    input_types: Sequence[str] = ()
    """A subset of ``tensors.TYPES``; empty: all of them except strings."""

    @abstractmethod
    def backends(self) -> list[BackendRow]:
        """Every backend, available on this machine or not."""

    def require(self, settings: AnySettings) -> None:
        """Checks the flags without importing anything heavy.

        Raises:
            UsageError: a flag that a run needs is missing or wrong. Nothing heavy is imported for it.
        """

    @abstractmethod
    def prepare(self, settings: AnySettings) -> Preparation:
        """Imports the runtime and reads the model.

        Raises:
            UsageError, ModelError: a flag or the model is wrong.
        """

    def read_binary(self, content: bytes) -> Any:
        """Reads the array in an input file that is neither text nor .npy.

        Raises:
            ValueError: it is not a tensor.
        """
        raise ValueError("it is neither text nor .npy")

    def encode_output(self, settings: AnySettings, name: str, array: Any) -> bytes | None:
        """An output encoded as a protobuf message; None: write it as text."""
        return None

    def peak(self) -> Mapping[str, float]:
        """``peak_flops_per_s`` and ``peak_bytes_per_s`` of this device with these threads, if known."""
        return {}
