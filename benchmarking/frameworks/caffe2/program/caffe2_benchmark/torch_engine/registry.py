"""The table of operators. An operator is one small function, called once per operator of a net.

It takes an ``Operator`` (arguments, number of inputs and outputs), does everything that can be done before
the timed loop, and returns the function of the loop: input tensors in, one output tensor or a tuple out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Dict, Optional, Sequence, Tuple

from ..errors import NetError
from .arguments import Arguments

Compute = Callable[..., Any]
ANY = 2**31 - 1


@dataclass(frozen=True)
class Operator:
    """What an operator function may know of its place in the net."""

    type: str
    arguments: Arguments
    input_count: int
    output_count: int
    workspace: Dict[str, Any]
    """All blobs, for the rare operator that reads one which is not among its inputs."""
    seed: int


@dataclass(frozen=True)
class Registration:
    prepare: Callable[[Operator], Compute]
    inputs: Tuple[int, int]
    outputs: Tuple[int, int]
    in_place: Sequence[Tuple[int, int]]

    def check(self, definition: Any) -> Optional[str]:
        """What is wrong with an OperatorDef's inputs and outputs; None: nothing."""
        for kind, names, (least, most) in (
            ("inputs", definition.input, self.inputs),
            ("outputs", definition.output, self.outputs),
        ):
            if not least <= len(names) <= most:
                wanted = str(least) if least == most else "%d to %s" % (least, "any" if most == ANY else most)
                return "it has %d %s, not %s" % (len(names), kind, wanted)
        for output, name in enumerate(definition.output):
            for source, other in enumerate(definition.input):
                if name == other and (source, output) not in self.in_place:
                    return "it cannot write %r in place of its input" % name
        return None


OPERATORS: Dict[str, Registration] = {}
"""By type. Filled by the modules of ``operators``; read only afterwards."""


def operator(
    *types: str,
    inputs: Tuple[int, int] = (1, 1),
    outputs: Tuple[int, int] = (1, 1),
    in_place: Sequence[Tuple[int, int]] = (),
) -> Callable[[Callable[[Operator], Compute]], Callable[[Operator], Compute]]:
    """Adds a function to the table under each of ``types``; ``inputs`` and ``outputs`` are (least, most)."""

    def register(prepare: Callable[[Operator], Compute]) -> Callable[[Operator], Compute]:
        for name in types:
            if name in OPERATORS:
                raise ValueError("the operator %s is registered twice" % name)
            OPERATORS[name] = Registration(prepare, inputs, outputs, in_place)
        return prepare

    return register


def require(condition: bool, message: str) -> None:
    """For what an operator needs of its inputs or arguments."""
    if not condition:
        raise NetError(message)
