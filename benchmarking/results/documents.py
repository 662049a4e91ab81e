"""Results as plain JSON values and back: the form of the local reporter's files and of ``--json``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from benchmarking.results.model import Meta, Result, TypeResult

LAYOUT_VERSION = 1
"""Of the files that the local reporter writes; raised when older readers would misread them."""

_NUMBERS = (
    *("values", "pairs", "cpu_values", "device_values"),
    *("control_values", "control_pairs", "control_cpu_values", "control_device_values"),
)
_PARTS = (
    *("control_summary", "diff_summary", "comparison", "error", "control_error", "cost", "kernel"),
    *("clock_summary", "control_clock_summary", "decision", "confirmation"),
)

_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""JSON has no such numbers: they are written as these strings."""


def dumps(value: Any) -> str:
    return json.dumps(_jsonable(value), indent=2, sort_keys=True, allow_nan=False) + "\n"


def meta_json(meta: Meta) -> dict[str, Any]:
    return {**asdict(meta), "layout_version": LAYOUT_VERSION}


def type_json(one: TypeResult) -> dict[str, Any]:
    """With the keys of the contract; those that do not apply are left out."""
    value: dict[str, Any] = {"type": one.type, "unit": one.unit, "summary": asdict(one.summary)}
    for name in _NUMBERS:
        if getattr(one, name):
            value[name] = list(getattr(one, name))
    for name in _PARTS:
        if getattr(one, name) is not None:
            value[name] = asdict(getattr(one, name))
    if one.control_values:
        value["control_type"] = one.type
    for flag in ("known", "regressed"):
        if getattr(one, flag):
            value[flag] = 1
    return value


def result_json(result: Result) -> dict[str, Any]:
    return {
        "meta": meta_json(result.meta),
        "types": [type_json(one) for one in result.types],
        "failure": asdict(result.failure) if result.failure else None,
        "warnings": list(result.warnings),
        "duration_s": result.duration_s,
    }


def read_type(value: object) -> TypeResult:
    """From what ``type_json`` gave.

    Raises:
        ValueError: it is something else; a ``pydantic.ValidationError``.
    """
    return _adapter().validate_python(value)


@cache
def _adapter() -> TypeAdapter[TypeResult]:
    """Numbers that are not finite are read from their strings, too."""
    return TypeAdapter(TypeResult)


def _jsonable(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return next(text for text, number in _NOT_FINITE.items() if repr(number) == repr(value))
    if isinstance(value, str):
        # Half a character, from a name of bytes that are no text, is in no file that others can read.
        return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping):
        return {_jsonable(str(key)): _jsonable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(one) for one in value]
    return value
