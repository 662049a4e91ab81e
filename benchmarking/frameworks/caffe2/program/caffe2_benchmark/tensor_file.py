"""Inputs from files or noise, outputs to files."""

from __future__ import annotations

import os
import re
import zlib
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
from google.protobuf.message import DecodeError

from . import messages
from .errors import TensorError, UsageError
from .flags import Settings

INPUT_TYPES: Dict[str, Any] = {"float": np.float32, "uint8_t": np.uint8, "int": np.int32}

_NPY_MAGIC = b"\x93NUMPY"
_T = messages.TensorProto
_FIELDS: Dict[int, Tuple[Any, str]] = {
    _T.FLOAT: (np.float32, "float_data"),
    _T.DOUBLE: (np.float64, "double_data"),
    _T.INT64: (np.int64, "int64_data"),
    _T.INT32: (np.int32, "int32_data"),
    _T.INT16: (np.int16, "int32_data"),
    _T.UINT16: (np.uint16, "int32_data"),
    _T.INT8: (np.int8, "int32_data"),
    _T.BOOL: (np.bool_, "int32_data"),
    _T.UINT8: (np.uint8, "byte_data"),
    _T.BYTE: (np.uint8, "byte_data"),
}


def inputs(settings: Settings) -> Dict[str, Any]:
    """The arrays to feed, by blob.

    Raises:
        UsageError: the flags do not fit each other.
        TensorError: a file cannot be read, or does not fit the shape.
    """
    names = [name for name in settings.input.split(",") if name]
    if not names:
        return {}
    files = settings.input_file.split(",") if settings.input_file else [""] * len(names)
    shapes = _shapes(settings.input_dims, len(names))
    types = settings.input_type.split(";")
    types = types * len(names) if len(types) == 1 else types
    for flag, given in (("input_file", files), ("input_dims", shapes), ("input_type", types)):
        if len(given) != len(names):
            raise UsageError("--%s names %d, --input names %d blobs" % (flag, len(given), len(names)))
    for one in types:
        if one not in INPUT_TYPES:
            raise UsageError("--input_type: %r is not one of %s" % (one, ", ".join(INPUT_TYPES)))
    return {
        name: _read(file, name, shape, INPUT_TYPES[one])
        if file
        else _noise(name, shape, INPUT_TYPES[one], settings.seed)
        for name, file, shape, one in zip(names, files, shapes, types)
    }


def _shapes(text: str, count: int) -> List[Optional[Tuple[int, ...]]]:
    if not text:
        return [None] * count
    try:
        shapes = [tuple(int(number) for number in part.split(",")) for part in text.split(";")]
    except ValueError:
        raise UsageError("--input_dims: %r is not like 1,3,224,224;1,10" % text) from None
    if any(number < 0 for shape in shapes for number in shape):
        raise UsageError("--input_dims: %r has a negative number" % text)
    return list(shapes)


def _noise(name: str, shape: Optional[Tuple[int, ...]], dtype: Any, seed: int) -> Any:
    """The same for the same name and seed. No denormal numbers, which would slow the operators down."""
    if shape is None:
        raise UsageError("--input_dims is missing: %r has neither a shape nor a file" % name)
    random = np.random.RandomState((zlib.crc32(name.encode()) ^ seed) & 0xFFFFFFFF)
    try:
        if dtype is np.float32:
            return random.standard_normal(shape).astype(np.float32)
        return random.randint(0, 256 if dtype is np.uint8 else 2, size=shape).astype(dtype)
    except (ValueError, OverflowError, MemoryError) as error:
        raise TensorError(
            "--input_dims: %r of shape %s does not fit into memory" % (name, list(shape))
        ) from error


def _read(path: str, name: str, shape: Optional[Tuple[int, ...]], dtype: Any) -> Any:
    try:
        with open(path, "rb") as stream:
            content = stream.read()
        if content.startswith(_NPY_MAGIC):
            array = np.load(path, allow_pickle=False)
        elif _is_text(content):
            array = np.array(content.split(), dtype=np.float64).astype(dtype)
            array = array if shape is None else _reshaped(array, shape, path, name)
        else:
            array = from_proto(messages.BlobProto.FromString(content).tensor)
    except OSError as error:
        raise TensorError("--input_file: cannot read %s: %s" % (path, error.strerror)) from error
    except (ValueError, DecodeError) as error:
        raise TensorError("--input_file: %s is not a tensor: %s" % (path, error)) from error
    if shape is not None and array.shape != shape:
        array = _reshaped(array, shape, path, name)
    return np.ascontiguousarray(array.astype(dtype, copy=False))


def _is_text(content: bytes) -> bool:
    return re.fullmatch(rb"[\s0-9eE.+\-naifNAIF]*", content) is not None


def _reshaped(array: Any, shape: Tuple[int, ...], path: str, name: str) -> Any:
    if array.size != int(np.prod(shape)):
        raise TensorError(
            "--input_file: %s has %d values; %r of shape %s needs %d"
            % (path, array.size, name, list(shape), int(np.prod(shape)))
        )
    return array.reshape(shape)


def from_proto(tensor: Any) -> Any:
    """The array that a TensorProto holds.

    Raises:
        ValueError: its type is unknown, or its values do not fill its shape.
    """
    if tensor.data_type not in _FIELDS:
        raise ValueError("a tensor of data type %d is not supported" % tensor.data_type)
    dtype, field = _FIELDS[tensor.data_type]
    data = getattr(tensor, field)
    if tensor.raw_data:
        array = np.frombuffer(tensor.raw_data, dtype=dtype)
    elif isinstance(data, bytes) and data:
        array = np.frombuffer(data, dtype=dtype)
    else:
        array = np.array(data if not isinstance(data, bytes) else tensor.int32_data).astype(dtype)
    return array.reshape(tuple(tensor.dims))


def to_proto(name: str, array: Any) -> Any:
    by_dtype = {
        np.dtype(dtype): (number, field) for number, (dtype, field) in reversed(list(_FIELDS.items()))
    }
    number, field = by_dtype[array.dtype]
    tensor = messages.TensorProto(dims=array.shape, data_type=number, name=name)
    if field == "byte_data":
        tensor.byte_data = array.tobytes()
    else:
        getattr(tensor, field).extend(array.reshape(-1).tolist())
    return messages.BlobProto(name=name, type="Tensor", tensor=tensor)


def file_name(blob: str, extension: str) -> str:
    """Letters, digits, ``_``, ``.`` and ``-`` stay; anything else, and a leading dot, is percent-encoded."""
    safe = re.sub(
        r"[^A-Za-z0-9_.-]", lambda match: "".join("%%%02X" % byte for byte in match.group().encode()), blob
    )
    return ("%2E" + safe[1:] if safe.startswith(".") else safe) + extension


def write(settings: Settings, arrays: Dict[str, Any]) -> None:
    """Raises:
    TensorError: the folder or a file cannot be written.
    """
    folder = settings.output_folder or "."
    try:
        os.makedirs(folder, exist_ok=True)
        for blob, array in arrays.items():
            if settings.text_output:
                path, content = os.path.join(folder, file_name(blob, ".txt")), _as_text(array)
            else:
                path = os.path.join(folder, file_name(blob, ".pb"))
                content = to_proto(blob, array).SerializeToString()
            with open(path, "wb") as stream:
                stream.write(content)
    except OSError as error:
        raise TensorError(
            "--output_folder: cannot write %s: %s" % (error.filename or folder, error.strerror)
        ) from error


def _as_text(array: Any) -> bytes:
    """Enough digits for each value to come back as it is."""
    digits = {"f": "%.9g" if array.dtype.itemsize <= 4 else "%.17g"}.get(array.dtype.kind, "%d")
    values: Sequence[Any] = array.reshape(-1).tolist()
    return "".join([digits % value + "\n" for value in values]).encode()
