"""Plans what runs, in which order, and what may be overwritten, before anything runs."""

from __future__ import annotations

from typing import Any, Dict, FrozenSet, List, NamedTuple, Set, Tuple

from ..net_check import inner_nets, label, operator_name
from .operators import OPERATORS
from .operators.layout import ALIASES


class PlannedOperator(NamedTuple):
    definition: Any
    """An OperatorDef."""
    label: str
    """As in ``operator 3, Conv 'conv1'``, for messages."""
    name: str
    """``ID_<index>_<type>_<name, otherwise first output>``."""
    types: Tuple[str, ...]
    """The types of the operators of the net that it consists of."""
    overwrites: bool
    """Whether it may overwrite one of its inputs with its first output."""
    aliases: Tuple[Tuple[int, str], ...] = ()
    """The number of an output, and another name for its memory: that blob changes with it."""
    frees: Tuple[str, ...] = ()
    """The blobs that nobody reads after it: their memory is free."""


def as_written(net: Any, overwrites: bool = True) -> List[PlannedOperator]:
    """Operator by operator, as in the net; ``overwrites``: in place where the net does so."""
    overwriting = _exclusive_overwrites(net) if overwrites else frozenset()
    aliases = _written_aliases(net)
    return [
        PlannedOperator(
            one,
            label(index, one),
            operator_name(index, one),
            (one.type,),
            index in overwriting,
            tuple(aliases.get(index, ())),
        )
        for index, one in enumerate(net.op)
    ]


def writes_through_alias(net: Any) -> bool:
    return bool(_written_aliases(net))


def written_blobs(net: Any) -> FrozenSet[str]:
    """The blobs that a net writes, under any name, including those of the nets in its arguments."""
    names = {name for one in net.op for name in one.output}
    names.update(name for pairs in _written_aliases(net).values() for _, name in pairs)
    return frozenset(names.union(*map(written_blobs, inner_nets(net))))


def blobs_read(net: Any) -> List[str]:
    """Each blob as often as it is read, also by the nets in its arguments."""
    names = [name for one in net.op for name in one.input]
    return names + [name for inner in inner_nets(net) for name in blobs_read(inner)]


def _exclusive_overwrites(net: Any) -> FrozenSet[int]:
    """The operators that may overwrite the input of the same name with their first output.

    This is possible if no other blob can be in the same memory.
    """
    shared: Set[str] = set()
    result = set()
    aliases = _written_aliases(net)
    for index, one in enumerate(net.op):
        if not one.output:
            continue
        target = one.output[0]
        if list(one.input).count(target) == 1 and target not in shared:
            result.add(index)
        if index in aliases:
            shared.update(one.output, (name for _, name in aliases[index]))
        elif not OPERATORS[one.type].shares_memory:
            shared.difference_update(set(one.output) - set(one.input))
        elif target not in one.input:
            shared.update(one.input, one.output)
    return frozenset(result)


def _written_aliases(net: Any) -> Dict[int, List[Tuple[int, str]]]:
    """For each operator that writes a blob with other names: as ``PlannedOperator.aliases``.

    In Caffe2 the names of ``Alias`` share memory until another ``Alias`` gives a name to other memory.
    """
    names_of: Dict[str, Set[str]] = {}
    result: Dict[int, List[Tuple[int, str]]] = {}
    for index, one in enumerate(net.op):
        if one.type in ALIASES and one.input and one.output:
            source, target = one.input[0], one.output[0]
            if source != target:
                names_of.pop(target, set()).discard(target)
                names_of.setdefault(source, {source}).add(target)
                names_of[target] = names_of[source]
            continue
        pairs = [
            (number, other)
            for number, name in enumerate(one.output)
            for other in sorted(names_of.get(name, ()))
            if other not in one.output
        ]
        if pairs:
            result[index] = pairs
    return result
