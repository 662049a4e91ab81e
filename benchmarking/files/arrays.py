"""Reads NumPy's files, ``.npy`` and ``.npz``, from outside: bounded, and without unpickling anything."""

from __future__ import annotations

import zipfile
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

from benchmarking.bounds import OutOfBoundsError
from benchmarking.results.plain_text import plain

if TYPE_CHECKING:
    from numpy.typing import NDArray

NPY_MAGIC = b"\x93NUMPY"
NPZ_MAGIC = b"PK"
LARGEST_BYTES = 2**30
"""The size limit of a file, and of its unpacked content."""


def of_npy(content: bytes) -> NDArray[Any]:
    """Raises:
    ValueError: it is not an array, or one of Python's objects.
    """
    import numpy as np

    try:
        array: NDArray[Any] = np.load(BytesIO(content), allow_pickle=False)
    except Exception as error:  # NumPy evaluates the header as Python, and raises whatever that raises
        raise ValueError(f"NumPy cannot read it: {plain(str(error)[:200])}") from error
    return array


def of_npz(stream: BinaryIO, name: str) -> NDArray[Any]:
    """The array with this name, or the only array.

    Raises:
        ValueError: there is no such array.
        OutOfBoundsError: it is too large.
    """
    try:
        with zipfile.ZipFile(stream) as archive:
            names = [member for member in archive.namelist() if member.endswith(".npy")]
            wanted = f"{name}.npy"
            if wanted not in names and len(names) != 1:
                shown = ", ".join(plain(repr(member.removesuffix(".npy"))[:60]) for member in names[:10])
                raise ValueError(f"it has the arrays {shown or 'none'}, and none is called {plain(name)!r}")
            with archive.open(wanted if wanted in names else names[0]) as member:
                content = member.read(LARGEST_BYTES + 1)
    except ValueError:
        raise
    except Exception as error:  # each compression has errors of its own
        raise ValueError(f"it is not an .npz file: {plain(str(error)[:200])}") from error
    if len(content) > LARGEST_BYTES:
        raise OutOfBoundsError(f"an array in it is larger than {LARGEST_BYTES:,} bytes")
    return of_npy(content)
