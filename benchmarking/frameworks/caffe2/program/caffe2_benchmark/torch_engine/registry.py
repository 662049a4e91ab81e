"""The table of operators. An operator is one small function, called once per operator of a net.

It takes an ``Operator`` (arguments, number of inputs and outputs), does everything that can be done before
the timed loop, and returns the function of the loop: input tensors in, one output tensor or a tuple out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import AbstractSet, Any, Callable, Dict, Optional, Sequence, Tuple

import torch

from ..errors import NetError
from .arguments import Arguments

Compute = Callable[..., Any]
ANY = 2**31 - 1
BOOL = (torch.bool,)
FLOAT = (torch.float32,)
FLOAT_OR_DOUBLE = (torch.float32, torch.float64)
NUMBER = (torch.float32, torch.float64, torch.int32, torch.int64)
"""Element types for which Caffe2 has an operator."""


@dataclass(frozen=True)
class Operator:
    """The information that an operator function may use about its place in the net."""

    type: str
    arguments: Arguments
    inputs: Tuple[str, ...]
    outputs: Tuple[str, ...]
    workspace: Dict[str, Any]
    """All blobs, for the rare operator that reads a blob that is not among its inputs."""
    seed: int
    constants: AbstractSet[str]
    """The blobs that are the same in every run."""
    read_by_others: AbstractSet[str]
    """The blobs that another operator also reads; a blob that one operator reads twice is among them."""
    overwrites: bool
    """Whether the first output may overwrite the input of the same name, because nothing else reads it."""
    prepare_net: Callable[[Any], Callable[[], None]]
    """Creates a net from a NetDef among the arguments; it runs on the same blobs."""

    @property
    def input_count(self) -> int:
        return len(self.inputs)

    @property
    def output_count(self) -> int:
        return len(self.outputs)

    def constant(self, index: int) -> Any:
        """The value of an input that is the same in every run; None: it is not, or there is no such input."""
        if index < len(self.inputs) and self.inputs[index] in self.constants:
            return self.workspace[self.inputs[index]]
        return None

    def repack(self, index: int, packed: Any) -> bool:
        """Replaces a constant by the form that the operator works with, so that it is in memory only once.

        ``packed.to_dense()`` must return the constant. False: another operator also reads it, so it stays.
        """
        name = self.inputs[index]
        if name in self.read_by_others:
            return False
        self.workspace[name] = packed
        return True


@dataclass(frozen=True)
class Registration:
    prepare: Callable[[Operator], Compute]
    inputs: Tuple[int, int]
    outputs: Tuple[int, int]
    in_place: Optional[Sequence[Tuple[int, int]]]
    """Pairs of input and output that may be the same blob; None: all pairs."""
    takes: Optional[Sequence[Any]]
    """The element types of the first input; None: any."""
    shares_memory: bool
    """Whether an output may share memory with an input."""
    same_type: bool = False
    """Whether all inputs must have the same type."""

    def check(self, definition: Any) -> Optional[str]:
        """The problem with an OperatorDef's inputs, outputs and argument names; None: there is none."""
        seen: Dict[str, Any] = {}
        for argument in definition.arg:
            if seen.setdefault(argument.name, argument) != argument:
                return "the argument %r is given twice, with different values" % argument.name
        for kind, names, (least, most) in (
            ("inputs", definition.input, self.inputs),
            ("outputs", definition.output, self.outputs),
        ):
            if not least <= len(names) <= most:
                wanted = str(least) if least == most else "%d to %s" % (least, "any" if most == ANY else most)
                return "it has %d %s, not %s" % (len(names), kind, wanted)
        for output, name in enumerate(definition.output):
            for source, other in enumerate(definition.input):
                if name == other and self.in_place is not None and (source, output) not in self.in_place:
                    return "it cannot overwrite its input %r" % name
        return None


OPERATORS: Dict[str, Registration] = {}
"""Maps the type to the operator. Filled by the modules of ``operators``; only read afterwards."""


def operator(
    *types: str,
    inputs: Tuple[int, int] = (1, 1),
    outputs: Tuple[int, int] = (1, 1),
    in_place: Optional[Sequence[Tuple[int, int]]] = (),
    takes: Optional[Sequence[Any]] = None,
    shares_memory: bool = False,
    same_type: bool = False,
) -> Callable[[Callable[[Operator], Compute]], Callable[[Operator], Compute]]:
    """Adds a function to the table under each of ``types``; ``inputs`` and ``outputs`` are (least, most)."""

    def register(prepare: Callable[[Operator], Compute]) -> Callable[[Operator], Compute]:
        for name in types:
            if name in OPERATORS:
                raise ValueError("the operator %s is registered twice" % name)
            OPERATORS[name] = Registration(
                prepare, inputs, outputs, in_place, takes, shares_memory, same_type
            )
        return prepare

    return register


def by_shape(prepare: Callable[..., Compute]) -> Compute:
    """For anything that can be computed once per shape of the first input, at its first run (before the timed
    loop).

    ``prepare`` takes the inputs and returns the function for all inputs of that shape.
    """
    prepared: Dict[Any, Compute] = {}

    def compute(x: Any, *others: Any) -> Any:
        function = prepared.get(x.shape)
        if function is None:
            function = prepared[x.shape] = prepare(x, *others)
        return function(x, *others)

    return compute


def require(condition: bool, message: str) -> None:
    """Checks a requirement of an operator on its inputs or arguments."""
    if not condition:
        raise NetError(message)
