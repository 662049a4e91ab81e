"""What is run, in which order, and what may be overwritten: worked out before anything runs."""

from __future__ import annotations

from typing import Any, FrozenSet, List, NamedTuple, Set, Tuple

from ..net_check import inner_nets, label, operator_name
from .operators import OPERATORS


class PlannedOperator(NamedTuple):
    definition: Any
    """An OperatorDef."""
    label: str
    """As in ``operator 3, Conv 'conv1'``, for messages."""
    name: str
    """``ID_<index>_<type>_<name, else first output>``."""
    types: Tuple[str, ...]
    """Of the operators of the net that it is."""
    overwrites: bool
    """Whether it may write its first output over one of its inputs."""


def as_written(net: Any, overwrites: bool = True) -> List[PlannedOperator]:
    """Operator by operator as the net says; ``overwrites``: in place where the net does so."""
    overwriting = _exclusive_overwrites(net) if overwrites else frozenset()
    return [
        PlannedOperator(one, label(index, one), operator_name(index, one), (one.type,), index in overwriting)
        for index, one in enumerate(net.op)
    ]


def written_blobs(net: Any) -> FrozenSet[str]:
    """The blobs that a net writes, those of the nets in its arguments included."""
    names = {name for one in net.op for name in one.output}
    return frozenset(names.union(*map(written_blobs, inner_nets(net))))


def blobs_read(net: Any) -> List[str]:
    """As often as they are read, by the nets in its arguments, too."""
    names = [name for one in net.op for name in one.input]
    return names + [name for inner in inner_nets(net) for name in blobs_read(inner)]


def _exclusive_overwrites(net: Any) -> FrozenSet[int]:
    """The operators that may write their first output over the input of the same name.

    That is so where no other blob can lie in the same memory.
    """
    shared: Set[str] = set()
    result = set()
    for index, one in enumerate(net.op):
        if not one.output:
            continue
        target = one.output[0]
        if list(one.input).count(target) == 1 and target not in shared:
            result.add(index)
        if not OPERATORS[one.type].shares_memory:
            shared.difference_update(set(one.output) - set(one.input))
        elif target not in one.input:
            shared.update(one.input, one.output)
    return frozenset(result)
