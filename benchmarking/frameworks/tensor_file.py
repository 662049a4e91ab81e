"""Tensors in files: text with one number per line, ``.npy`` or ``.npz``."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarking.bounds import OutOfBoundsError, read_file
from benchmarking.errors import ProgramOutputError
from benchmarking.files import arrays

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BLOCK_BYTES = 2**20
"""The number of bytes that are split at once: words take many times the memory of the numbers that they
represent.
"""

LONGEST_FILE_NAME = 200
"""Bytes, without the hash and the extension; as in ``kit/tensors.py``."""
_SPACE = re.compile(rb"\s")


def read(path: Path, name: str = "") -> NDArray[np.float64]:
    """The values of a tensor file, flattened: shape (n,).

    Args:
        name: of the array in an ``.npz``, unless it is the only one.

    Raises:
        ProgramOutputError: the file is missing, empty, too large, or holds something else than numbers.
    """
    try:
        content = read_file(path, arrays.LARGEST_BYTES)
    except OSError as error:
        raise ProgramOutputError(f"{path.name}: there is no such output: {error.strerror}") from error
    except OutOfBoundsError as error:
        raise ProgramOutputError(f"{path}: not a tensor: {error}") from error
    try:
        values = _values(content, name)
    except ValueError as error:
        raise ProgramOutputError(f"{path}: not a tensor: {error}") from error
    if values.size == 0:
        raise ProgramOutputError(f"{path}: it contains no numbers")
    return values


def file_name(blob: str) -> str:
    """The file name of an output in this project's programs: characters other than letters, digits, ``_``,
    ``.`` and ``-`` are percent-encoded, and so is a leading dot. Of a name that no file can have, the
    beginning and a hash.
    """
    encoded = re.sub(
        r"[^A-Za-z0-9_.-]", lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode()), blob
    )
    encoded = f"%2E{encoded[1:]}" if encoded.startswith(".") else encoded
    if len(encoded) > LONGEST_FILE_NAME:
        encoded = f"{encoded[:LONGEST_FILE_NAME]}-{hashlib.sha256(blob.encode()).hexdigest()[:16]}"
    return encoded + ".txt"


def _values(content: bytes, name: str) -> NDArray[np.float64]:
    if content.startswith(arrays.NPY_MAGIC):
        return _numbers(arrays.of_npy(content))
    if content.startswith(arrays.NPZ_MAGIC):
        return _numbers(arrays.of_npz(io.BytesIO(content), name))
    return _text_values(content)


def _numbers(array: NDArray[Any]) -> NDArray[np.float64]:
    import numpy as np

    if array.dtype.kind not in "biuf":
        raise ValueError(f"it contains {array.dtype} instead of numbers")
    flat: NDArray[np.float64] = array.astype(np.float64).reshape(-1)
    return flat


def _text_values(content: bytes) -> NDArray[np.float64]:
    import numpy as np

    return np.concatenate([np.empty(0), *(_block_values(content, *ends) for ends in _blocks(content))])


def _blocks(content: bytes) -> Iterator[tuple[int, int]]:
    """Splits the content between words."""
    start = 0
    while start < len(content):
        space = _SPACE.search(content, start + BLOCK_BYTES)
        end = space.start() if space else len(content)
        yield start, end
        start = end


def _block_values(content: bytes, start: int, end: int) -> NDArray[np.float64]:
    import numpy as np

    words = content[start:end].split()
    try:
        return np.array(words, dtype=np.float64)
    except ValueError as error:
        raise ValueError(_wrong_line(content, start, end) or str(error)) from None


def _wrong_line(content: bytes, start: int, end: int) -> str | None:
    first = content.count(b"\n", 0, start) + 1
    for number, line in enumerate(content[start:end].split(b"\n"), start=first):
        for word in line.split():
            try:
                float(word)
            except ValueError:
                return f"line {number} has {word[:40]!r} where a number is expected"
    return None
