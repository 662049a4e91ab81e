"""Paths into JSON: ``results[0].times[*]``, ``benchmarks[*].stats["data"]``; they may begin with ``$``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

Path = tuple[str | int | None, ...]
"""Keys and positions; None: every element of a list."""

_STEP = re.compile(r'\.?([A-Za-z_][\w-]*)|\[(\d{1,9})\]|\[(\*)\]|\[("(?:[^"\\]|\\.)*")\]')


def parse(text: str) -> Path:
    """
    Raises:
        ValueError: it is not such a path. One line.
    """
    steps: list[str | int | None] = []
    at = len(text) - len(text.removeprefix("$"))
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None:
            raise ValueError(f"{text!r} is not a path such as results[0].times[*] (see character {at + 1})")
        key, position, _, quoted = match.groups()
        steps.append(key or (int(position) if position else json.loads(quoted) if quoted else None))
        at = match.end()
    return tuple(steps)


def values(document: object, path: Path) -> Iterator[object]:
    """The values at the path; empty if a key or a position is missing."""
    if not path:
        yield document
        return
    step, rest = path[0], path[1:]
    if isinstance(step, str):
        if isinstance(document, dict) and step in document:
            yield from values(document[step], rest)
    elif isinstance(document, list):
        for element in document if step is None else document[step : step + 1]:
            yield from values(element, rest)
