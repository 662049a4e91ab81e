"""Which results the server stores: what both databases can hold, and pages can show."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import cache
from operator import attrgetter
from typing import Any

from benchmarking.errors import UsageError
from benchmarking.results import comparability
from benchmarking.results.model import Result
from benchmarking.results.plain_text import plain

MOST_TYPES = 2000
MOST_SAMPLES = 100_000
"""Of one kind and type; no other list is longer."""
LONGEST_NAME = 500
"""Characters of a name that is in a column of its own."""
LONGEST_TEXT = 100_000
"""Characters of any other text, such as the evidence of a failure."""
LARGEST_INTEGER = 2**63 - 1
FURTHEST_TIME = 2**40
"""Seconds before and after 1970: 34,000 years. Positions of commits have the same limit."""
_UID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class RefusedError(UsageError):
    """The server does not store a result. The message is one line."""


def admit(result: Result) -> Result:
    """
    Raises:
        RefusedError: it is out of bounds.
    """
    origin, test = result.provenance, result.test
    for uid in (origin.uid, origin.run_uid):
        if not _UID.fullmatch(uid):
            raise RefusedError(f"{_shown(uid)} is no id of a result or a run: letters, digits, - and _")
    if len(result.types) > MOST_TYPES:
        raise RefusedError(f"a result has at most {MOST_TYPES:,} types")
    names = (
        *(test.net, test.metric, test.identifier, test.framework, test.backend or "", test.device),
        *(result.device.name, origin.commit, origin.control_commit or ""),
        *(text for one in result.types for text in (one.type, one.unit)),
        *(origin.branch, origin.author, origin.subject, comparability.settings(result.program.facts)),
        *result.device.tainted,
    )
    for name in names:
        _check_name(name)
    numbers = (
        *(origin.time, origin.commit_time, origin.control_commit_time or 0),
        *(origin.position or 0, origin.control_position or 0),
    )
    if max(map(abs, numbers)) > FURTHEST_TIME:
        raise RefusedError("a time or a position is out of bounds")
    _check_rest(result)
    return result


def _check_name(name: str) -> None:
    """Of a text that has a column of its own; others are in blobs."""
    if len(name) > LONGEST_NAME:
        raise RefusedError(f"a name is longer than {LONGEST_NAME} characters: {_shown(name)}")
    if "\0" in name or not _is_text(name):
        raise RefusedError(f"a name contains NUL or half of a character: {_shown(name)}")


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_rest(result: Result) -> None:
    """Every text, number and list in it; without recursion, because there are thousands."""
    todo: list[Any] = [result]
    while todo:
        value = todo.pop()
        kind: Any = type(value)
        if kind is float or value is None:
            continue
        if isinstance(value, str):
            if len(value) > LONGEST_TEXT:
                raise RefusedError(f"a text is longer than {LONGEST_TEXT:,} characters: {_shown(value)}")
        elif isinstance(value, int):
            if abs(value) > LARGEST_INTEGER:
                raise RefusedError("an integer has more than 63 bits")
        elif kind is tuple:
            if len(value) > MOST_SAMPLES:
                raise RefusedError(f"a list has at most {MOST_SAMPLES:,} items, such as samples")
            if value and type(value[0]) is not float:
                todo.extend(value)
        elif isinstance(value, dict):
            todo.extend((*value, *value.values()))
        else:
            todo.extend(_values_of(kind)(value))


@cache
def _values_of(kind: Any) -> Callable[[Any], tuple[Any, ...]]:
    """Yields the values of the fields of a dataclass, without those that are a float or nothing."""
    found = fields(kind) if is_dataclass(kind) else ()
    names = [one.name for one in found if one.type not in ("float", "float | None")]
    if len(names) < 2:  # of one, attrgetter makes no tuple
        return lambda value: tuple(getattr(value, name) for name in names)
    return attrgetter(*names)


def _shown(text: str) -> str:
    return repr(plain(text[:40]))
