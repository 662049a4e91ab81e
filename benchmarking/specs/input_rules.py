"""Rules for an input's values: random values that its type can hold, images that fit its shape. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator

from benchmarking.specs.model import ImageSpec, InputSpec, RandomSpec, Shape, Value
from benchmarking.specs.tensor_types import RANGES, is_whole

LARGEST_MADE = 2**28
"""The limit on the values of an input that this machine generates."""
LARGEST_IMAGE = 2**26
"""The limit on the pixels of an image, in its file and as it is fed."""
_CHANNELS = (1, 3)


def problems(spec: InputSpec, *, has_file: bool) -> Iterator[tuple[str, str]]:
    """Yields the location in the input and the problem.

    Args:
        has_file: whether the test has ``input_files`` for it.
    """
    for index, shape in enumerate(spec.shapes):
        if spec.random is not None and math.prod(shape) > LARGEST_MADE:
            yield f"shapes[{index}]", f"at most {LARGEST_MADE:,} random values are generated"
        if spec.image is not None:
            for message in _image_shape_problems(spec.image, shape):
                yield f"shapes[{index}]", message
    if spec.random is not None:
        if has_file:
            yield "random", "the test has a file for this input: remove one of them"
        yield from (
            (f"random{where}", message) for where, message in _random_problems(spec.random, spec.type)
        )
    if spec.image is not None:
        if not has_file:
            yield "image", "the test has no input_files for this input"
        yield from ((f"image{where}", message) for where, message in _value_problems(spec.image, spec.type))


def _random_problems(spec: RandomSpec, type_: str) -> Iterator[tuple[str, str]]:
    if type_ not in RANGES:
        yield "", f"there are no random values of the type {type_}"
        return
    lowest, highest = RANGES[type_]
    bounds: dict[str, Value | None] = {"minimum": spec.minimum, "maximum": spec.maximum}
    if is_whole(type_):
        if spec.distribution != "uniform":
            yield (
                ".distribution",
                f"whole numbers are drawn uniformly; {type_} has no {spec.distribution} distribution",
            )
        for name, value in bounds.items():
            if value is None and type_ != "bool":
                yield f".{name}", f"missing: whole numbers are drawn from a range, such as 0 to {highest}"
            elif isinstance(value, float):
                yield f".{name}", f"a whole number is expected, not {value!r}"
    for name, value in {**bounds, "mean": spec.mean, "deviation": spec.deviation}.items():
        if value is not None and not lowest <= value <= highest:
            yield f".{name}", f"{type_} holds values from {lowest} to {highest}"
    low, high = drawn_from(spec)
    if low is not None and high is not None and low > high:
        yield ".maximum", f"{high} is less than the minimum {low}"
    elif low is not None and high is not None and not math.isfinite(float(high) - float(low)):
        yield ".maximum", "the range is wider than a double can hold"


def drawn_from(spec: RandomSpec) -> tuple[Value | None, Value | None]:
    """The smallest and the largest value, as far as they exist."""
    if spec.distribution == "normal":
        return spec.minimum, spec.maximum
    return 0 if spec.minimum is None else spec.minimum, 1 if spec.maximum is None else spec.maximum


def _image_shape_problems(spec: ImageSpec, shape: Shape) -> Iterator[str]:
    if len(shape) != len(spec.layout):
        yield f"{len(shape)} dimensions do not fit {spec.layout}"
        return
    sizes = dict(zip(spec.layout, shape, strict=True))
    if sizes.get("N", 1) != 1:
        yield "a file is one image: the first dimension has to be 1"
    if sizes["C"] not in _CHANNELS:
        yield f"an image has 1 or 3 channels, not {sizes['C']}"
    elif sizes["H"] < 1 or sizes["W"] < 1 or sizes["H"] * sizes["W"] > LARGEST_IMAGE:
        yield f"an image has from 1 to {LARGEST_IMAGE:,} pixels"
    for name, values in (("mean", spec.mean), ("std", spec.std)):
        if values is not None and len(values) not in (1, sizes["C"]):
            yield f"{sizes['C']} channels, but {len(values)} numbers for {name}"


def _value_problems(spec: ImageSpec, type_: str) -> Iterator[tuple[str, str]]:
    if type_ in ("string", "bool"):
        yield "", f"an image cannot be fed as {type_}"
    elif is_whole(type_):
        for name in ("white", "mean", "std"):
            if getattr(spec, name) is not None:
                yield (
                    f".{name}",
                    f"pixels are fed unchanged, from 0 to 255, to an input of the type {type_}",
                )
        if RANGES[type_][1] < 255:
            yield "", f"{type_} cannot hold the values of pixels, from 0 to 255"
