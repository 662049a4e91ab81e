"""Readers for outside input, with limits on its size and depth; shared by everything else."""

from __future__ import annotations

import errno
import json
import math
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Literal

DEEPEST_JSON = 100
"""Levels of nesting; Python's own parser ends in a RecursionError after several thousand."""
LONGEST_NUMBER = 400
"""Characters; the longest decimal form of a double has about 330."""

LONGEST_WHOLE_NUMBER = 18
"""Digits: the number that fits into 64 bits."""

MOST_WARNINGS, LONGEST_WARNING = 20, 1000
"""The number of warnings of a program that are kept, and of characters of each."""


class OutOfBoundsError(ValueError):
    """Too large, too deep, or not the expected kind of file. The message is one clear line without the name
    of the file.
    """


def read_file(path: Path, limit_bytes: int) -> bytes:
    """The content of a regular file. Never waits for a pipe, and never reads a device.

    Raises:
        OutOfBoundsError: it is not a regular file, or larger than the limit.
        OSError: it cannot be read.
    """
    with open_regular(path) as stream:
        content = stream.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise OutOfBoundsError(f"it is larger than {limit_bytes:,} bytes")
    return content


def open_regular(path: Path) -> BinaryIO:
    """Opens a regular file, or a regular file to which a link points, for reading.

    Raises:
        OutOfBoundsError: it is not a regular file.
        OSError: it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISREG(kind):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OutOfBoundsError("it is not a regular file")


def parse_json(
    text: str | bytes,
    *,
    make_object: Callable[[list[tuple[str, Any]]], Any] = dict,
    encoding_errors: Literal["strict", "surrogateescape"] = "strict",
) -> Any:
    """JSON according to the standard: no NaN, no Infinity, no number outside the range of a double, no deep
    nesting, no lone surrogates.

    ``make_object`` creates an object from its keys and values, and may refuse it with a ``ValueError``. With
    ``surrogateescape``, text may hold bytes of file names that are not UTF-8, as Python represents them.

    Raises:
        ValueError: it is something else (also as ``json.JSONDecodeError`` and ``OutOfBoundsError``).
    """
    try:
        value = json.loads(
            text,
            object_pairs_hook=make_object,
            parse_constant=_refuse_constant,
            parse_int=_integer,
            parse_float=_decimal,
        )
    except RecursionError:
        raise OutOfBoundsError(f"it is nested deeper than {DEEPEST_JSON} levels") from None
    _check_depth(value)
    _check_characters(text, value, encoding_errors)
    return value


def whole_number(text: str) -> int | None:
    """None if it is not a whole number, or has more than 18 digits."""
    text = text.strip()
    digits = text.removeprefix("-")
    return (
        int(text) if digits.isascii() and digits.isdecimal() and len(digits) <= LONGEST_WHOLE_NUMBER else None
    )


def number(text: str) -> float | None:
    """None if it is not a number, or is not finite."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _refuse_constant(name: str) -> Any:
    raise OutOfBoundsError(f"{name} is not a JSON number")


def _integer(text: str) -> int:
    if len(text) > LONGEST_NUMBER or not -(2.0**1023) < (number := int(text)) < 2.0**1023:
        raise OutOfBoundsError(f"the number {text[:20]}... is too large")
    return number


def _decimal(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise OutOfBoundsError(f"the number {text[:20]} is too large")
    return number


def _check_depth(value: Any) -> None:
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > DEEPEST_JSON:
            raise OutOfBoundsError(f"it is nested deeper than {DEEPEST_JSON} levels")
        level = [
            child
            for container in level
            if isinstance(container, dict | list)
            for child in (container.values() if isinstance(container, dict) else container)
            if isinstance(child, dict | list)
        ]


def _check_characters(text: str | bytes, value: Any, errors: str) -> None:
    """JSON can escape half of a surrogate pair, which no file in UTF-8 can contain."""
    try:
        if isinstance(text, str):
            text.encode(errors=errors)
        if (b"\\u" if isinstance(text, bytes) else "\\u") in text:  # type: ignore[operator]
            json.dumps(value, ensure_ascii=False).encode(errors=errors)
    except UnicodeEncodeError:
        raise OutOfBoundsError("it contains half of a character (a lone surrogate)") from None
