"""Creates the tensor files of inputs from a specification: random values, arrays, images.

They are created once, on this machine, so that every program gets the same bytes.
"""

from __future__ import annotations

import math
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from benchmarking.bounds import OutOfBoundsError, open_regular
from benchmarking.errors import CaseError
from benchmarking.files import arrays
from benchmarking.results.plain_text import plain
from benchmarking.specs.expand import InputBlob
from benchmarking.specs.input_rules import LARGEST_IMAGE, drawn_from
from benchmarking.specs.model import ImageSpec, RandomSpec
from benchmarking.specs.tensor_types import NUMPY_NAMES, RANGES, is_whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

BLOCK = 2**20
"""The number of random values that are drawn at once."""
IMAGE_FORMATS = ("JPEG", "PNG", "BMP", "WEBP")


def made(blob: InputBlob, source: Path | None) -> NDArray[Any] | None:
    """The array of an input; None if programs read ``source`` themselves.

    Args:
        source: the local file of the input, where it has one.

    Raises:
        CaseError: the file is not what the specification says of it.
    """
    if blob.random is not None:
        return _random(blob, blob.random)
    if source is None:
        return None
    try:
        with open_regular(source) as stream:
            magic = stream.read(len(arrays.NPY_MAGIC))
            stream.seek(0)
            if blob.image is not None:
                return _image(blob, blob.image, stream)
            if magic.startswith(arrays.NPZ_MAGIC):
                return _fitting(blob, arrays.of_npz(stream, blob.name))
            if magic == arrays.NPY_MAGIC:
                array = arrays.of_npy(_bounded(stream))
                fits = array.shape == blob.shape and array.dtype == NUMPY_NAMES[blob.type]
                return None if fits else _fitting(blob, array)
    except OSError as error:
        raise CaseError(f"cannot read {source}: {error.strerror or error}") from error
    except ValueError as error:
        raise CaseError(f"{source}: {error}") from error
    return None


# --- random values ------------------------------------------------------------------------------------------


def _random(blob: InputBlob, spec: RandomSpec) -> NDArray[Any]:
    """The same values for the same name and seed, with every version of NumPy."""
    import numpy as np

    random = np.random.RandomState((zlib.crc32(blob.name.encode()) ^ spec.seed) & 0xFFFFFFFF)
    draw = _drawing(random, spec, blob.type)
    values = np.empty(math.prod(blob.shape), dtype=NUMPY_NAMES[blob.type])
    for start in range(0, len(values), BLOCK):
        block = values[start : start + BLOCK]
        block[:] = draw(len(block))
    return values.reshape(blob.shape)


def _drawing(random: np.random.RandomState, spec: RandomSpec, type_: str) -> Callable[[int], NDArray[Any]]:
    import numpy as np

    low, high = drawn_from(spec)
    lowest, highest = RANGES[type_]
    least, most = lowest if low is None else low, highest if high is None else high
    if is_whole(type_):
        return lambda count: random.randint(int(least), int(most) + 1, size=count, dtype=np.int64)
    if spec.distribution == "uniform":
        return lambda count: random.uniform(least, most, size=count)
    return lambda count: np.clip(random.normal(spec.mean, spec.deviation, size=count), least, most)


# --- arrays -------------------------------------------------------------------------------------------------


def _bounded(stream: BinaryIO) -> bytes:
    content = stream.read(arrays.LARGEST_BYTES + 1)
    if len(content) > arrays.LARGEST_BYTES:
        raise OutOfBoundsError(f"it is larger than {arrays.LARGEST_BYTES:,} bytes")
    return content


def _fitting(blob: InputBlob, array: NDArray[Any]) -> NDArray[Any]:
    """Converts to the type and shape of the input.

    Raises:
        ValueError: it has another number of values, or holds something that the type does not.
    """
    import numpy as np

    if array.size != math.prod(blob.shape):
        raise ValueError(
            f"it has {array.size} values of the shape {list(array.shape)}; {plain(blob.name)!r} of the shape "
            f"{list(blob.shape)} needs {math.prod(blob.shape)}"
        )
    if (array.dtype.kind == "U") != (blob.type == "string") or array.dtype.kind not in "biufU":
        raise ValueError(f"it contains {array.dtype}, but {plain(blob.name)!r} takes {blob.type}")
    if is_whole(blob.type) and array.size:
        low, high = RANGES[blob.type]
        is_float = array.dtype.kind == "f"
        whole = not is_float or bool((array == np.floor(array)).all())
        # A double does not hold 2**63 - 1 but 2**63, which would become a negative number.
        too_large = array.max() >= float(high + 1) if is_float else array.max() > high
        if not whole or array.min() < low or too_large:
            raise ValueError(f"it contains values that are not whole numbers from {low} to {high}")
    array = array.reshape(blob.shape)
    with np.errstate(over="ignore"):
        fitting = array.astype(NUMPY_NAMES[blob.type] if blob.type != "string" else array.dtype)
    if fitting.dtype.kind == "f" and not (np.isfinite(fitting) | ~np.isfinite(array)).all():
        raise ValueError(f"it contains values that {blob.type} does not hold")
    return fitting


# --- images -------------------------------------------------------------------------------------------------


def _image(blob: InputBlob, spec: ImageSpec, stream: BinaryIO) -> NDArray[Any]:
    import numpy as np
    from PIL import Image

    sizes = dict(zip(spec.layout, blob.shape, strict=True))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with Image.open(stream, formats=IMAGE_FORMATS) as image:
                if image.width * image.height > LARGEST_IMAGE:
                    raise OutOfBoundsError(f"it has more than {LARGEST_IMAGE:,} pixels")
                pixels = np.asarray(_sized(image, spec, sizes))
    except OutOfBoundsError:
        raise
    except Exception as error:  # Pillow raises any kind of exception for a damaged file
        formats = ", ".join(IMAGE_FORMATS)
        raise ValueError(f"not an image that can be read ({formats}): {plain(str(error)[:200])}") from error
    values = pixels.reshape(sizes["H"], sizes["W"], sizes["C"])
    if spec.colors == "BGR":
        values = values[:, :, ::-1]
    if not is_whole(blob.type):
        scaled = values * (np.float64(1 if spec.white is None else spec.white) / 255)
        values = (scaled - np.asarray(spec.mean or [0.0])) / np.asarray(spec.std or [1.0])
    if spec.layout.endswith("CHW"):
        values = values.transpose(2, 0, 1)
    return np.ascontiguousarray(values.reshape(blob.shape), dtype=NUMPY_NAMES[blob.type])


def _sized(image: Image, spec: ImageSpec, sizes: dict[str, int]) -> Image:
    """Rotates the image upright and converts it to the input's colours and size."""
    from PIL import ImageOps
    from PIL.Image import Resampling

    upright = ImageOps.exif_transpose(image).convert("RGB" if sizes["C"] == 3 else "L")
    size = sizes["W"], sizes["H"]
    if spec.resize == "crop":
        return ImageOps.fit(upright, size, Resampling.BILINEAR)
    return upright.resize(size, Resampling.BILINEAR)
