"""Tensors in files: text with one number per line, or ``.npy``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarking.errors import ProgramOutputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NPY_MAGIC = b"\x93NUMPY"


def read(path: Path) -> NDArray[np.float64]:
    """The values of a tensor file, flattened: shape (n,).

    Raises:
        ProgramOutputError: the file is missing, empty, or holds something else than numbers.
    """
    import numpy as np

    try:
        content = path.read_bytes()
    except OSError as error:
        raise ProgramOutputError(f"{path.name}: there is no such output: {error.strerror}") from error
    try:
        if content.startswith(NPY_MAGIC):
            values: NDArray[np.float64] = np.load(path, allow_pickle=False).astype(np.float64).reshape(-1)
        else:
            values = np.array(content.split(), dtype=np.float64)
    except ValueError as error:
        raise ProgramOutputError(f"{path}: not a tensor: {_first_wrong_line(content) or error}") from error
    if values.size == 0:
        raise ProgramOutputError(f"{path}: there is no number in it")
    return values


def _first_wrong_line(content: bytes) -> str | None:
    for number, line in enumerate(content.splitlines(), start=1):
        for word in line.split():
            try:
                float(word)
            except ValueError:
                return f"line {number} has {word[:40]!r} where a number is wanted"
    return None
