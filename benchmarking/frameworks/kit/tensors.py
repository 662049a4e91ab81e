"""Inputs from files or noise, outputs to files."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from .errors import TensorError, UsageError
from .flags import Settings
from .program import Program

TYPES: dict[str, Any] = {
    "float": np.float32,
    "uint8_t": np.uint8,
    "int": np.int32,
    "double": np.float64,
    "float16": np.float16,
    "int8_t": np.int8,
    "int16_t": np.int16,
    "uint16_t": np.uint16,
    "int64_t": np.int64,
    "bool": np.bool_,
    "string": np.object_,
}
"""Maps the name of a type in specifications to the numpy type."""

SCALAR = "[]"
"""The shape of a tensor without dimensions, in --input_dims."""
LONGEST_FILE_NAME = 200
"""Bytes, without the hash and the extension."""
_NPY_MAGIC = b"\x93NUMPY"


def inputs(program: Program[Any], settings: Settings) -> dict[str, Any]:
    """The arrays to feed, by name.

    Raises:
        UsageError: the flags do not fit each other.
        TensorError: a file cannot be read, or does not fit the shape.
    """
    names = [name for name in settings.input.split(",") if name]
    if not names:
        return {}
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UsageError("--input lists %r twice" % twice[0])
    files = settings.input_file.split(",") if settings.input_file else [""] * len(names)
    shapes = _shapes(settings.input_dims, len(names))
    types = settings.input_type.split(";")
    types = types * len(names) if len(types) == 1 else types
    for flag, given in (("input_file", files), ("input_dims", shapes), ("input_type", types)):
        if len(given) != len(names):
            raise UsageError("--%s lists %d tensors, --input lists %d" % (flag, len(given), len(names)))
    known = program.input_types or tuple(type_ for type_ in TYPES if type_ != "string")
    for type_ in types:
        if type_ not in known:
            raise UsageError("--input_type: %r is not one of %s" % (type_, ", ".join(known)))
    return {
        name: _read(program, file, name, shape, TYPES[type_])
        if file
        else _noise(name, shape, TYPES[type_], settings.seed)
        for name, file, shape, type_ in zip(names, files, shapes, types)
    }


def _shapes(text: str, count: int) -> list[tuple[int, ...] | None]:
    if not text:
        return [None] * count
    try:
        shapes = [_shape(part) for part in text.split(";")]
    except ValueError:
        raise UsageError("--input_dims: %r does not have the form 1,3,224,224;1,10" % text) from None
    if any(number < 0 for shape in shapes for number in shape):
        raise UsageError("--input_dims: %r contains a negative number" % text)
    return list(shapes)


def _shape(text: str) -> tuple[int, ...]:
    return () if text == SCALAR else tuple(int(number) for number in text.split(","))


def _noise(name: str, shape: tuple[int, ...] | None, dtype: Any, seed: int) -> Any:
    """Noise that is the same for the same name and seed. Denormal numbers are avoided, because they would
    slow operators down.
    """
    if shape is None:
        raise UsageError("--input_dims is missing: %r has neither a shape nor a file" % name)
    if dtype is np.object_:
        raise UsageError("--input_file is missing: %r is a tensor of strings, which have no noise" % name)
    random = np.random.RandomState((zlib.crc32(name.encode()) ^ seed) & 0xFFFFFFFF)
    try:
        if np.issubdtype(dtype, np.floating):
            return np.asarray(random.standard_normal(shape)).astype(dtype)
        return np.asarray(random.randint(0, 256 if dtype is np.uint8 else 2, size=shape)).astype(dtype)
    except (ValueError, OverflowError, MemoryError) as error:
        raise TensorError(
            "--input_dims: %r of shape %s does not fit into memory" % (name, list(shape))
        ) from error


def _read(program: Program[Any], path: str, name: str, shape: tuple[int, ...] | None, dtype: Any) -> Any:
    try:
        with open(path, "rb") as stream:
            content = stream.read()
        if content.startswith(_NPY_MAGIC):
            array = _numpy_array(path)
        elif dtype is np.object_:
            array = np.array(content.decode().splitlines(), dtype=dtype)
        elif _is_text(content):
            array = _text_array(content.split(), dtype)
            array = array if shape is None else _reshaped(array, shape, path, name)
        else:
            array = program.read_binary(content)
    except OSError as error:
        raise TensorError("--input_file: cannot read %s: %s" % (path, error.strerror)) from error
    except ValueError as error:
        raise TensorError("--input_file: %s is not a tensor: %s" % (path, error)) from error
    if shape is not None and array.shape != shape:
        array = _reshaped(array, shape, path, name)
    if (array.dtype.kind in "UO") != (dtype is np.object_):
        raise TensorError(
            "--input_file: %s contains %s; %r needs %s" % (path, array.dtype, name, np.dtype(dtype))
        )
    try:
        return np.require(_converted(array, np.dtype(dtype)), requirements="C")
    except ValueError as error:
        raise TensorError("--input_file: %s: %s" % (path, error)) from error


def _text_array(words: Sequence[bytes], dtype: Any) -> Any:
    """Whole numbers first as such, because a double does not hold all of 64 bits."""
    if np.issubdtype(dtype, np.integer):
        try:
            return np.array(words, dtype=np.int64)
        except (ValueError, OverflowError):  # such as 1e3
            pass
    return np.array(words, dtype=np.float64)


def _converted(array: Any, dtype: Any) -> Any:
    """
    Raises:
        ValueError: the type does not hold a value. The message is a part of a line.
    """
    if dtype.kind in "biuf" and array.dtype.kind not in "biuf":
        raise ValueError("it contains %s instead of %s" % (array.dtype, dtype))
    if array.dtype == dtype or dtype.kind not in "biuf":
        return array.astype(dtype, copy=False)
    with np.errstate(all="ignore"):
        converted = array.astype(dtype)
        if dtype.kind == "f":
            fits = np.isfinite(converted) | ~np.isfinite(array)
        else:
            fits = (converted.astype(array.dtype) == array) & ((converted < 0) == (array < 0))
            if array.dtype.kind == "f":  # some processors make the largest integer of 2**63, which is not it
                fits &= np.abs(array) < 2.0**63
    if not fits.all():
        wrong = array.reshape(-1)[np.argmin(fits.reshape(-1))]
        raise ValueError("%s cannot be fed as %s" % (wrong, dtype))
    return converted


def _numpy_array(path: str) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # NumPy reads the header as Python, and raises what that raises
        raise ValueError("NumPy cannot read it: %s" % str(error)[:200]) from error


def _is_text(content: bytes) -> bool:
    return re.fullmatch(rb"[\s0-9eE.+\-naifNAIF]*", content) is not None


def _reshaped(array: Any, shape: tuple[int, ...], path: str, name: str) -> Any:
    if array.size != math.prod(shape):
        raise TensorError(
            "--input_file: %s has %d values; %r of shape %s needs %d"
            % (path, array.size, name, list(shape), math.prod(shape))
        )
    return array.reshape(shape)


def from_bfloat16(bits: Any) -> Any:
    """The values of numbers of the type bfloat16, which NumPy lacks: the upper halves of floats."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def file_name(name: str, extension: str) -> str:
    """Keeps letters, digits, ``_``, ``.`` and ``-``; percent-encodes all other characters and a
    leading dot. Of a name that no file can have, the beginning and a hash.
    """
    safe = re.sub(
        r"[^A-Za-z0-9_.-]", lambda match: "".join("%%%02X" % byte for byte in match.group().encode()), name
    )
    safe = "%2E" + safe[1:] if safe.startswith(".") else safe
    if len(safe) > LONGEST_FILE_NAME:
        safe = safe[:LONGEST_FILE_NAME] + "-" + hashlib.sha256(name.encode()).hexdigest()[:16]
    return safe + extension


def write(program: Program[Any], settings: Settings, arrays: dict[str, Any]) -> None:
    """Raises:
    TensorError: the folder or a file cannot be written.
    """
    folder = settings.output_folder or "."
    try:
        os.makedirs(folder, exist_ok=True)
        for name, array in arrays.items():
            if array.dtype.kind not in "biufOU":
                raise TensorError("--output: %r contains %s, which cannot be written" % (name, array.dtype))
            content, extension = program.encode_output(settings, name, array), ".pb"
            if content is None:
                content, extension = _as_text(array), ".txt"
            with open(os.path.join(folder, file_name(name, extension)), "wb") as stream:
                stream.write(content)
    except OSError as error:
        raise TensorError(
            "--output_folder: cannot write %s: %s" % (error.filename or folder, error.strerror)
        ) from error


def _as_text(array: Any) -> bytes:
    """Formats with enough digits to restore each value exactly. A text is a JSON string."""
    if array.dtype.kind in "OU":
        return "".join([json.dumps(str(value)) + "\n" for value in array.reshape(-1).tolist()]).encode()
    digits = {"f": "%.9g" if array.dtype.itemsize <= 4 else "%.17g"}.get(array.dtype.kind, "%d")
    values: Sequence[Any] = array.reshape(-1).tolist()
    return "".join([digits % value + "\n" for value in values]).encode()
