"""Results as plain JSON values and back: the form of the local reporter's files and of ``--json``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from benchmarking.results import (
    Comparison,
    Confirmation,
    Cost,
    ErrorStatistics,
    Interval,
    Kernel,
    Meta,
    Percentiles,
    Result,
    SequentialDecision,
    Summary,
    TypeResult,
    Verdict,
)

LAYOUT_VERSION = 1
"""Of the files that the local reporter writes; raised when older readers would misread them."""

_NUMBERS = ("values", "pairs", "cpu_values", "control_values", "control_pairs", "control_cpu_values")
_PARTS = (
    *("control_summary", "diff_summary", "comparison", "error", "control_error", "cost", "kernel"),
    *("decision", "confirmation"),
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


def read_type(value: Mapping[str, Any]) -> TypeResult:
    """From what ``type_json`` gave.

    Raises:
        KeyError, TypeError, ValueError: it is something else.
    """
    return TypeResult(
        type=str(value["type"]),
        unit=str(value["unit"]),
        summary=_summary(value["summary"]),
        values=tuple(_number(one) for one in value.get("values", ())),
        pairs=tuple(int(one) for one in value.get("pairs", ())),
        control_summary=_summary(value["control_summary"]) if "control_summary" in value else None,
        control_values=tuple(_number(one) for one in value.get("control_values", ())),
        control_pairs=tuple(int(one) for one in value.get("control_pairs", ())),
        diff_summary=_numbers_into(Percentiles, value["diff_summary"]) if "diff_summary" in value else None,
        comparison=_comparison(value.get("comparison")),
        error=_numbers_into(ErrorStatistics, value["error"]) if "error" in value else None,
        control_error=_numbers_into(ErrorStatistics, value["control_error"])
        if "control_error" in value
        else None,
        cost=Cost(**{one.name: int(value["cost"][one.name]) for one in fields(Cost)})
        if "cost" in value
        else None,
        kernel=Kernel(str(value["kernel"]["name"]), bool(value["kernel"]["own"]))
        if "kernel" in value
        else None,
        known=bool(value.get("known", 0)),
        regressed=bool(value.get("regressed", 0)),
        cpu_values=tuple(_number(one) for one in value.get("cpu_values", ())),
        control_cpu_values=tuple(_number(one) for one in value.get("control_cpu_values", ())),
        decision=_decision(value["decision"]) if "decision" in value else None,
        confirmation=_confirmation(value["confirmation"]) if "confirmation" in value else None,
    )


def _comparison(value: Mapping[str, Any] | None) -> Comparison | None:
    if value is None:
        return None
    return Comparison(int(value["pairs"]), _number(value["ratio"]), _interval(value["ratio_interval"]))


def _decision(value: Mapping[str, Any]) -> SequentialDecision:
    smallest = value["smallest_change"]
    return SequentialDecision(
        verdict=Verdict(value["verdict"]),
        reason=str(value["reason"]),
        pairs=int(value["pairs"]),
        comparison=_comparison(value["comparison"]),
        smallest_change=None if smallest is None else _number(smallest),
        p_slower=_number(value["p_slower"]),
        p_faster=_number(value["p_faster"]),
    )


def _confirmation(value: Mapping[str, Any]) -> Confirmation:
    first, second = (_decision(value[name]) for name in ("first", "second"))
    return Confirmation(Verdict(value["verdict"]), str(value["reason"]), first, second)


def _summary(value: Mapping[str, Any]) -> Summary:
    numbers = {one.name: _number(value[one.name]) for one in fields(Summary) if one.name != "median_interval"}
    count = int(numbers.pop("count"))
    return Summary(**numbers, count=count, median_interval=_interval(value["median_interval"]))


def _interval(value: Mapping[str, Any] | None) -> Interval | None:
    return None if value is None else _numbers_into(Interval, value)


def _numbers_into(kind: Any, value: Mapping[str, Any]) -> Any:
    return kind(**{one.name: _number(value[one.name]) for one in fields(kind)})


def _number(value: Any) -> float:
    return _NOT_FINITE[value] if isinstance(value, str) else float(value)


def _jsonable(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return next(text for text, number in _NOT_FINITE.items() if repr(number) == repr(value))
    if isinstance(value, Mapping):
        return {str(key): _jsonable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(one) for one in value]
    return value
