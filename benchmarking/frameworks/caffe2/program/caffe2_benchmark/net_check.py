"""Checks of a net before anything runs, for every engine."""

from __future__ import annotations

from typing import Any, Collection, Iterator, List, Sequence, Tuple

from .errors import NetError

SHOWN_NAMES = 10


def own_name(definition: Any) -> str:
    """An operator's name, or otherwise its first output."""
    return str(definition.name or (definition.output[0] if definition.output else ""))


def observed_name(index: int, type_: str, name: str) -> str:
    """The name in Caffe2's observer."""
    return "ID_%d_%s_%s" % (index, type_, name)


def operator_name(index: int, definition: Any) -> str:
    return observed_name(index, definition.type, own_name(definition))


def label_of(index: int, type_: str, name: str) -> str:
    """For messages: ``operator 3, Conv 'conv1'``."""
    return "operator %d, %s %r" % (index, type_, name)


def label(index: int, definition: Any) -> str:
    return label_of(index, definition.type, own_name(definition))


def listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:SHOWN_NAMES])
    return shown + (" and %d more" % (len(names) - SHOWN_NAMES) if len(names) > SHOWN_NAMES else "")


def inner_nets(net: Any) -> List[Any]:
    """The nets in the arguments of its operators."""
    return [argument.n for one in net.op for argument in one.arg if argument.HasField("n")]


def _all_operators(net: Any) -> Iterator[Any]:
    yield from net.op
    for inner in inner_nets(net):
        yield from _all_operators(inner)


def require_known_types(net: Any, types: Collection[str], engine: str) -> None:
    """Raises:
    NetError: names every type that the engine does not know, also of nets in arguments.
    """
    unknown = sorted({one.type for one in _all_operators(net) if one.type not in types})
    if unknown:
        raise NetError(
            "net %r has operators that the engine %s does not know: %s"
            % (net.name, engine, ", ".join(unknown))
        )


def require_fed(net: Any, blobs: Collection[str]) -> None:
    """``blobs``: the blobs that exist before the net runs.

    Raises:
        NetError: an operator reads a blob that nobody writes.
    """
    for where, names in _unfed(net, blobs):
        raise NetError(
            "%s, reads %s, which is not fed: name it in --input, or fill it in the init net"
            % (where, listed(names))
        )


def _unfed(net: Any, blobs: Collection[str]) -> Iterator[Tuple[str, List[str]]]:
    """Each operator that reads missing blobs, and their names."""
    known = set(blobs)
    for index, one in enumerate(net.op):
        names = [name for name in one.input if name not in known]
        if names:
            yield label(index, one), names
        known.update(one.output)


def require_written(net: Any) -> None:
    """Raises:
    NetError: the net names an output that none of its operators writes.
    """
    written = {name for one in net.op for name in one.output} | set(net.external_input)
    missing = [name for name in net.external_output if name not in written]
    if missing:
        raise NetError("net %r names outputs that no operator writes: %s" % (net.name, listed(missing)))


def require_not_swapped(init_net: Any, net: Any) -> None:
    """Raises:
    NetError: the init net reads blobs that nobody feeds, and the net reads none: each is the other.
    """
    unfed = next(_unfed(init_net, ()), None)
    if unfed is not None and not any(_unfed(net, ())):
        raise NetError(
            "--init_net and --net are the wrong way round: %s, of --init_net reads %s; --net reads nothing"
            % (unfed[0], listed(unfed[1]))
        )
