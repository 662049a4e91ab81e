"""Reads NetDef files, binary or text."""

from __future__ import annotations

from typing import Any, Iterator

from google.protobuf import text_format
from google.protobuf.message import DecodeError, Message

from . import messages
from .errors import NetError


def read(path: str, flag: str) -> Any:
    """A NetDef. ``flag`` names the command line's flag in messages.

    Raises:
        NetError: the file is missing, empty, or not a net, or a name in it is not text.
    """
    try:
        with open(path, "rb") as stream:
            content = stream.read()
    except OSError as error:
        raise NetError("--%s: cannot read %s: %s" % (flag, path, error.strerror)) from error
    net = _parse(content)
    if net is None:
        raise NetError("--%s: %s is not a net, neither as binary nor as text" % (flag, path))
    for text in _texts(net):
        # protobuf leaves a string that is not UTF-8 as bytes; a message could not show such a name.
        if isinstance(text, bytes):
            raise NetError("--%s: %s is damaged: the name %r is not UTF-8 text" % (flag, path, text[:40]))
    return net


def _texts(message: Any) -> Iterator[Any]:
    """All strings in a message and those below it."""
    for field, value in message.ListFields():
        if field.type not in (field.TYPE_STRING, field.TYPE_MESSAGE):
            continue
        for one in [value] if isinstance(value, (str, bytes, Message)) else value:
            if field.type == field.TYPE_STRING:
                yield one
            else:
                yield from _texts(one)


def _parse(content: bytes) -> Any:
    """None if it is not a net. Binary is tried first; text that happens to parse as binary has no
    operators.
    """
    try:
        net = messages.NetDef.FromString(content)
        if _is_plausible(net):
            return net
    except DecodeError:
        pass
    try:
        net = text_format.Parse(content.decode("utf-8"), messages.NetDef(), allow_unknown_field=True)
        return net if _is_plausible(net) else None
    except (UnicodeDecodeError, text_format.ParseError, RecursionError):
        return None


def _is_plausible(net: Any) -> bool:
    return bool(net.op) and all(operator.type for operator in net.op)
