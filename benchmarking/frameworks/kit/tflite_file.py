"""The information about a .tflite file that is needed before it is loaded, read directly from its flatbuffer.

No package is needed. Field numbers are those of TensorFlow Lite's ``schema.fbs``.
"""

from __future__ import annotations

import os
import struct
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple, Union

from .errors import ModelError
from .signature import Signature, TensorSignature

_IDENTIFIER = b"TFL3"
_TYPES = (
    *("float", "float16", "int", "uint8_t", "int64_t", "string", "bool", "int16_t", "complex64", "int8_t"),
    *("double", "complex128", "uint64_t", "resource", "variant", "uint32_t", "uint16_t", "int4", "bfloat16"),
)
"""The element types, as in specifications, in the order of their numbers."""


class TfliteFile(NamedTuple):
    path: str
    signature: Signature
    """The signature of the first graph, with the names of its tensors; the model's first signature has other
    names.
    """
    operators: int


def read(path: str) -> TfliteFile:
    """Reads the file.

    Raises:
        ModelError: it cannot be read, is not a TensorFlow Lite model, or keeps weights in other files.
    """
    try:
        with open(path, "rb") as stream:
            content = stream.read()
        if content[4:8] != _IDENTIFIER:
            raise ValueError("it does not begin like such a file")
        return _model(path, content)
    except OSError as error:
        raise ModelError("--model: cannot read %s: %s" % (path, error.strerror)) from error
    except (ValueError, IndexError, struct.error) as error:
        raise ModelError("--model: %s is not a TensorFlow Lite model: %s" % (path, error)) from error


def _model(path: str, content: bytes) -> TfliteFile:
    model = _Table(content, _unsigned(content, 0))
    if any(model.tables(field) for field in (8, 9)):
        raise ModelError("--model: %s keeps weights in other files, which are not opened" % path)
    graphs = model.tables(2)
    if not graphs:
        raise ValueError("it has no graph")
    tensors = graphs[0].tables(0)
    inputs, outputs = (
        [_signature(tensors[at]) for at in graphs[0].integers(field) if at >= 0] for field in (1, 2)
    )
    aliases: Dict[str, str] = {}
    for definition in model.tables(7)[:1]:
        for entry in (*definition.tables(0), *definition.tables(1)):
            aliases[entry.text(0)] = tensors[entry.integer(1, "I")].text(3)
    signature = Signature(
        os.path.splitext(os.path.basename(path))[0],
        tuple(inputs),
        tuple(one.name for one in outputs),
        in_order=True,
        aliases=aliases,
    )
    return TfliteFile(path, signature, len(graphs[0].tables(3)))


def _signature(tensor: "_Table") -> TensorSignature:
    code = tensor.integer(1, "b")
    shape: Tuple[Union[int, str], ...] = tuple(tensor.integers(0))
    open_ones = tensor.integers(7)
    if open_ones:
        shape = tuple("" if size < 0 else size for size in open_ones)
    type_ = _TYPES[code] if 0 <= code < len(_TYPES) else "number %d" % code
    return TensorSignature(tensor.text(3), type_, shape)


class _Table:
    """A table of a flatbuffer. A reference outside the file is a ValueError, an IndexError or a
    struct.error.
    """

    def __init__(self, content: bytes, at: int) -> None:
        self._content = content
        self._at = at
        self._fields = at - struct.unpack_from("<i", content, at)[0]
        if self._fields < 0:
            raise ValueError("it is damaged")
        self._size = struct.unpack_from("<H", content, self._fields)[0]

    def _place(self, field: int) -> Optional[int]:
        slot = 4 + 2 * field
        if slot >= self._size:
            return None
        offset = struct.unpack_from("<H", self._content, self._fields + slot)[0]
        return self._at + offset if offset else None

    def _vector(self, field: int) -> Tuple[int, int]:
        """The offset of its elements, and their number."""
        place = self._place(field)
        if place is None:
            return 0, 0
        start = place + _unsigned(self._content, place)
        count = _unsigned(self._content, start)
        if count > len(self._content):
            raise ValueError("it is truncated")
        return start + 4, count

    def integer(self, field: int, format_: str) -> int:
        place = self._place(field)
        return 0 if place is None else struct.unpack_from("<" + format_, self._content, place)[0]

    def integers(self, field: int) -> List[int]:
        start, count = self._vector(field)
        return list(struct.unpack_from("<%di" % count, self._content, start))

    def text(self, field: int) -> str:
        start, count = self._vector(field)
        return self._content[start : start + count].decode("utf-8", "replace")

    def tables(self, field: int) -> List["_Table"]:
        return list(self._tables(*self._vector(field)))

    def _tables(self, start: int, count: int) -> Iterator["_Table"]:
        for at in range(start, start + 4 * count, 4):
            yield _Table(self._content, at + _unsigned(self._content, at))


def _unsigned(content: bytes, at: int) -> int:
    value: int = struct.unpack_from("<I", content, at)[0]
    return value
