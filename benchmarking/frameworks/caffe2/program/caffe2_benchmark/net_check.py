"""What can be known to be wrong with a net before anything runs, whichever engine runs it."""

from __future__ import annotations

from typing import Any, Collection, Sequence

from .errors import NetError

SHOWN_NAMES = 10


def own_name(definition: Any) -> str:
    """An operator's name, else its first output."""
    return str(definition.name or (definition.output[0] if definition.output else ""))


def observed_name(index: int, type_: str, name: str) -> str:
    """As Caffe2's observer has it."""
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


def require_known_types(net: Any, types: Collection[str], engine: str) -> None:
    """Raises:
    NetError: names every type that the engine does not know.
    """
    unknown = sorted({one.type for one in net.op if one.type not in types})
    if unknown:
        raise NetError(
            "net %r has operators that the engine %s does not know: %s"
            % (net.name, engine, ", ".join(unknown))
        )


def require_fed(net: Any, blobs: Collection[str]) -> None:
    """``blobs``: those that there are before the net runs.

    Raises:
        NetError: an operator reads a blob that nobody writes.
    """
    known = set(blobs)
    for index, one in enumerate(net.op):
        unfed = [name for name in one.input if name not in known]
        if unfed:
            raise NetError(
                "%s, reads %s, which nobody feeds: name it in --input, or fill it in the init net"
                % (label(index, one), listed(unfed))
            )
        known.update(one.output)
