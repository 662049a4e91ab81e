"""The information about an ONNX file that is needed before it is loaded, read directly from its protobuf
message.

The package onnx is not needed. Field numbers are those of ``onnx.proto``.
"""

from __future__ import annotations

import mmap
import os
from typing import Dict, Iterator, List, NamedTuple, Optional, Set, Tuple, Union

from .errors import ModelError
from .signature import Signature, TensorSignature

Value = Union[int, memoryview]
_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5
_GRAPH_NODES, _FUNCTION_NODES = 1, 7
"""The fields with the operators of a graph and of a function."""
_LARGEST_KEY = 2**32
_DEEPEST = 50
"""The limit on graphs in attributes of operators of graphs."""
_TYPES = (
    *("undefined", "float", "uint8_t", "int8_t", "uint16_t", "int16_t", "int", "int64_t", "string", "bool"),
    *("float16", "double", "uint32_t", "uint64_t", "complex64", "complex128", "bfloat16"),
)
"""The element types, as in specifications, in the order of their numbers."""


_QUANTIZED = frozenset(
    (
        "QuantizeLinear",
        "DynamicQuantizeLinear",
        "QLinearConv",
        "QLinearMatMul",
        "ConvInteger",
        "MatMulInteger",
    )
)
_WEIGHTS = {16: "bf16", 10: "f16", 1: "f32", 11: "f64"}
"""Precisions by the numbers of their types, from the least."""


class OnnxFile(NamedTuple):
    path: str
    signature: Signature
    """With the name of the graph, or otherwise of the file. Weights are not inputs."""
    ir_version: int
    opsets: Dict[str, int]
    """Maps the domain to the version; the standard domain is ``ai.onnx``."""
    operators: int
    positions: Dict[str, int]
    """The positions of operators in the file, by their names and by those of their outputs."""
    data_files: Tuple[str, ...] = ()
    """The files beside it that have weights."""
    precision: str = "f32"
    """What it asks for: ``f32``, ``f16``, ``bf16``, ``f64`` or ``int8``; of several, the least."""

    @property
    def versions(self) -> str:
        opsets = ", ".join("%s %d" % item for item in sorted(self.opsets.items()))
        return "IR version %d, opset %s" % (self.ir_version, opsets)


def read(path: str) -> OnnxFile:
    """Reads the file.

    Raises:
        ModelError: it cannot be read, is not an ONNX model, or names data outside of its directory.
    """
    try:
        with open(path, "rb") as stream:
            if os.fstat(stream.fileno()).st_size == 0:
                raise ModelError("--model: %s is empty" % path)
            # Closed when nothing refers to it any more, because error messages refer to parts of it.
            content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        return _model(path, memoryview(content))
    except OSError as error:
        raise ModelError("--model: cannot read %s: %s" % (path, error.strerror)) from error
    except (ValueError, IndexError) as error:
        raise ModelError("--model: %s is not an ONNX model: %s" % (path, error)) from error


def _model(path: str, view: memoryview) -> OnnxFile:
    ir_version, opsets = 0, {}
    graphs: List[memoryview] = []
    data_files: Dict[str, None] = {}
    for number, value in _fields(view):
        if number == 1:
            ir_version = _integer(value)
        elif number == 7:
            graphs.append(_message(value))
            data_files.update(dict.fromkeys(_data_beside(path, graphs[-1], _GRAPH_NODES, 0)))
        elif number == 25:
            function = _message(value)
            data_files.update(dict.fromkeys(_data_beside(path, function, _FUNCTION_NODES, 0)))
        elif number == 8:
            opset = dict(_fields(_message(value)))
            opsets[_text(opset.get(1, memoryview(b""))) or "ai.onnx"] = _integer(opset.get(2, 0))
    if len(graphs) != 1:  # runtimes would merge several
        raise ValueError("it has %s" % ("several graphs" if graphs else "no graph"))
    return _graph(path, graphs[0], ir_version, opsets, tuple(data_files))


def _graph(
    path: str, graph: memoryview, ir_version: int, opsets: Dict[str, int], data_files: Tuple[str, ...]
) -> OnnxFile:
    name, operators, weights = "", 0, set()
    kinds: Set[str] = set()
    weight_types: Set[int] = set()
    inputs, outputs = [], []
    positions: Dict[str, int] = {}
    for number, value in _fields(graph):
        if number == 1:
            for field, text in _fields(_message(value)):
                if field in (2, 3):
                    positions.setdefault(_text(text), operators)
                elif field == 4:  # the name that ONNX Runtime gives to an operator without a name
                    kinds.add(_text(text))
                    positions.setdefault("%s_%d" % (_text(text), operators), operators)
            operators += 1
        elif number == 2:
            name = _text(value)
        elif number == 5:
            tensor = {field: part for field, part in _fields(_message(value)) if field in (2, 8)}
            weights.add(_text(tensor[8]) if 8 in tensor else "")
            weight_types.add(_integer(tensor.get(2, 0)))
        elif number == 11:
            inputs.append(_tensor(_message(value)))
        elif number == 12:
            outputs.append(_tensor(_message(value)).name)
    signature = Signature(
        name or os.path.splitext(os.path.basename(path))[0],
        tuple(one for one in inputs if one.name not in weights),
        tuple(outputs),
    )
    precision = _precision(kinds, weight_types)
    return OnnxFile(path, signature, ir_version, opsets, operators, positions, data_files, precision)


def _precision(kinds: Set[str], weight_types: Set[int]) -> str:
    """The least that something is computed in. Whole numbers among the weights alone do not say that they are
    computed with: they may be unpacked first."""
    if kinds & _QUANTIZED:
        return "int8"
    return next((name for number, name in _WEIGHTS.items() if number in weight_types), "f32")


def _tensor(info: memoryview) -> TensorSignature:
    """Reads a ValueInfoProto."""
    name, type_ = "", "other than a tensor"
    shape: Optional[Tuple[Union[int, str], ...]] = None
    for number, value in _fields(info):
        if number == 1:
            name = _text(value)
        elif number == 2:
            for tensor in _of(_message(value), 1):
                code = next((_integer(one) for field, one in _fields(tensor) if field == 1), 0)
                type_ = _TYPES[code] if code < len(_TYPES) else "number %d" % code
                for dims in _of(tensor, 2):
                    shape = tuple(_dimension(dim) for dim in _of(dims, 1))
    return TensorSignature(name, type_, shape)


def _dimension(dim: memoryview) -> Union[int, str]:
    """Empty, if it is open and has no name; some exporters write -1 for that."""
    for number, value in _fields(dim):
        if number != 1:
            return _text(value)
        size = _integer(value)
        return size if size < 2**63 else ""
    return ""


def _data_beside(path: str, graph: memoryview, nodes: int, depth: int) -> Iterator[str]:
    """The names of files with weights. Model files are not trusted: data outside the model's directory are
    not opened.

    ``graph``: a graph or a function. ``nodes``: the number of the field with its operators.

    Raises:
        ModelError: it names such data.
    """
    if depth > _DEEPEST:
        raise ValueError("its graphs are nested more than %d deep" % _DEEPEST)
    tensors, sparse = [], []
    if nodes == _GRAPH_NODES:
        tensors, sparse = list(_of(graph, 5)), list(_of(graph, 15))
    attributes = [attribute for node in _of(graph, nodes) for attribute in _of(node, 5)]
    if nodes == _FUNCTION_NODES:
        attributes += _of(graph, 11)  # with the values that they have where a node gives none
    for attribute in attributes:
        tensors += [*_of(attribute, 5), *_of(attribute, 10)]
        sparse += [*_of(attribute, 22), *_of(attribute, 23)]
        for inner in [*_of(attribute, 6), *_of(attribute, 11)]:
            yield from _data_beside(path, inner, _GRAPH_NODES, depth + 1)
    for one in sparse:
        tensors += [*_of(one, 1), *_of(one, 2)]  # the values and their places
    directory = os.path.realpath(os.path.dirname(path) or ".")
    for tensor in tensors:
        for entry in _of(tensor, 13):
            pair = dict(_fields(entry))
            if _text(pair.get(1, memoryview(b""))) == "location":
                location = _text(pair.get(2, memoryview(b"")))
                if os.path.dirname(os.path.realpath(os.path.join(directory, location))) != directory:
                    raise ModelError(
                        "--model: %s keeps weights in %r; they have to be in its directory" % (path, location)
                    )
                yield location


def _of(message: memoryview, wanted: int) -> Iterator[memoryview]:
    return (_message(value) for number, value in _fields(message) if number == wanted)


def _fields(message: memoryview) -> Iterator[Tuple[int, Value]]:
    """Yields the numbers and the values; values of fixed size are 0."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        if key >= _LARGEST_KEY:  # some readers take the lower 32 bits, for another field
            raise ValueError("it is not a protobuf message")
        kind, value = key & 7, 0  # type: int, Value
        if kind == _VARINT:
            value, at = _varint(message, at)
        elif kind == _BYTES:
            size, at = _varint(message, at)
            value, at = message[at : at + size], at + size
        elif kind in (_FIXED_32, _FIXED_64):
            at += 4 if kind == _FIXED_32 else 8
        else:
            raise ValueError("it is not a protobuf message")
        if at > len(message):
            raise ValueError("it is truncated")
        yield key >> 3, value


def _varint(message: memoryview, at: int) -> Tuple[int, int]:
    value = 0
    for count in range(10):
        byte = message[at + count]
        value |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            return value, at + count + 1
    raise ValueError("it is not a protobuf message")


def _integer(value: Value) -> int:
    if isinstance(value, memoryview):
        raise ValueError("it is not a protobuf message of the kind that a model is")
    return value


def _message(value: Value) -> memoryview:
    if isinstance(value, int):
        raise ValueError("it is not a protobuf message of the kind that a model is")
    return value


def _text(value: Value) -> str:
    return bytes(_message(value)).decode("utf-8", "replace")
