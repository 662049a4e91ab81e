"""Reads NetDef files, binary or text."""

from __future__ import annotations

from typing import Any

from google.protobuf import text_format
from google.protobuf.message import DecodeError

from . import messages
from .errors import NetError


def read(path: str, flag: str) -> Any:
    """A NetDef. ``flag`` names the command line's flag in messages.

    Raises:
        NetError: the file is missing, empty, or no net.
    """
    try:
        with open(path, "rb") as stream:
            content = stream.read()
    except OSError as error:
        raise NetError("--%s: cannot read %s: %s" % (flag, path, error.strerror)) from error
    net = _parse(content)
    if net is None:
        raise NetError("--%s: %s is not a net, neither as binary nor as text" % (flag, path))
    return net


def _parse(content: bytes) -> Any:
    """None where it is no net. Binary comes first; text that happens to parse as binary has no operators."""
    try:
        net = messages.NetDef.FromString(content)
        if _is_plausible(net):
            return net
    except DecodeError:
        pass
    try:
        net = text_format.Parse(content.decode("utf-8"), messages.NetDef(), allow_unknown_field=True)
        return net if _is_plausible(net) else None
    except (UnicodeDecodeError, text_format.ParseError):
        return None


def _is_plausible(net: Any) -> bool:
    return bool(net.op) and all(operator.type for operator in net.op)
