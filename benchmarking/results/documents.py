"""Results as JSON documents and back, by one adapter of the frozen types.

``--json`` prints a ``Document``. The files of the local reporter are views of a result that other programs
rely on (contracts, section 4): ``meta_json`` and ``type_json``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Any, TypeVar

from annotated_types import Ge, Le
from pydantic import TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema

from benchmarking.bounds import parse_json
from benchmarking.errors import ExitStatus
from benchmarking.results.model import FailureKind, Meta, Result, TypeResult

LAYOUT_VERSION = 1
"""Of documents and of the local reporter's files. It is raised when older readers would misread them; a key
that is added does not raise it."""

_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""JSON has no such numbers: they are written as these strings."""

Read = TypeVar("Read")


class NewerVersionError(ValueError):
    """A newer version of this program wrote it. The message is a part of a sentence, with the remedy."""


@dataclass(frozen=True)
class Document:
    """All results of one run of the harness: what ``--json`` prints."""

    results: tuple[Result, ...]
    exit_status: ExitStatus
    """What the harness was to end with. The user's ``--fail_on`` may hide verdicts from it."""
    duration_s: float
    destinations: tuple[str, ...]
    """Where else the results went, for people."""
    problems: tuple[str, ...]
    """Devices whose tests are missing, reporters that could not deliver."""
    backends: tuple[Mapping[str, Any], ...] = ()
    """In a run on several backends: the tables that follow from the results."""
    layout_version: Annotated[int, Ge(1), Le(LAYOUT_VERSION)] = LAYOUT_VERSION

    @property
    def has_regression(self) -> bool:
        return any(one.regressed_types for one in self.results)

    @property
    def has_bug(self) -> bool:
        return self.exit_status is ExitStatus.INTERNAL_ERROR or any(
            one.failure and one.failure.kind is FailureKind.BUG for one in self.results
        )

    @property
    def misses_devices(self) -> bool:
        return self.exit_status is ExitStatus.DEVICE_FAILED or any(
            one.failure and one.failure.is_of_the_device for one in self.results
        )


# --- writing ------------------------------------------------------------------------------------------------


def dumps(value: Any) -> str:
    return json.dumps(_jsonable(value), indent=2, sort_keys=True, allow_nan=False) + "\n"


def document_json(document: Document) -> dict[str, Any]:
    results = [result_json(one) for one in document.results]
    return {**as_json(replace(document, results=())), "results": results}


def result_json(result: Result) -> dict[str, Any]:
    return {
        **as_json(replace(result, types=())),
        "meta": meta_json(result.meta),
        "types": [type_json(one) for one in result.types],
    }


def meta_json(meta: Meta) -> dict[str, Any]:
    """``meta.txt``."""
    return {**as_json(meta), "layout_version": LAYOUT_VERSION}


def type_json(one: TypeResult) -> dict[str, Any]:
    """``<type>.txt``: keys that do not apply are left out."""
    value = _adapter(TypeResult).dump_python(one, exclude_defaults=True, warnings="none")
    if one.control_values:
        value["control_type"] = one.type
    return {key: int(item) if item is True else item for key, item in value.items()}


def as_json(value: Document | Result | Meta | TypeResult) -> dict[str, Any]:
    """Every field, as values that ``dumps`` takes."""
    fields: dict[str, Any] = _adapter(type(value)).dump_python(value, warnings="none")
    return fields


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


# --- reading ------------------------------------------------------------------------------------------------


def read(kind: type[Read], content: str | bytes) -> Read:
    """What was written as a ``kind``, by this version of the program or by an older one.

    Raises:
        NewerVersionError: a newer version wrote it.
        ValueError: it is something else. The message is a part of a sentence.
    """
    if not content or content.isspace():
        raise ValueError("it is empty")
    value = parse_json(content)
    _check_version(value)
    try:
        result: Read = _adapter(kind).validate_python(value)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = "".join(f"{part}: " for part in fault["loc"])
        raise ValueError(f"{place}{fault['msg']}") from error
    return result


def _check_version(value: object) -> None:
    """It stands in the meta of a single result."""
    found = value.get("layout_version", value.get("meta")) if isinstance(value, dict) else None
    version = found.get("layout_version") if isinstance(found, dict) else found
    if isinstance(version, int) and version > LAYOUT_VERSION:
        raise NewerVersionError(
            f"it was written by a newer version of this program (layout {version}, and this version reads up"
            f" to {LAYOUT_VERSION}); update this program"
        )


def _adapter(kind: Any) -> TypeAdapter[Any]:
    return _made_adapter(
        kind
    )  # mypy does not know that a dataclass, which is not hashable, is a hashable type


@cache
def _made_adapter(kind: Any) -> TypeAdapter[Any]:
    """Numbers that are not finite are read from their strings, too."""
    return TypeAdapter(kind)


# --- the schema ---------------------------------------------------------------------------------------------


def schema() -> dict[str, Any]:
    """The JSON schema of documents (``docs/result.schema.json``)."""
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        **_adapter(Document).json_schema(schema_generator=_Schema),
        "title": f"What harness.py --json prints, layout version {LAYOUT_VERSION}",
    }


class _Schema(GenerateJsonSchema):
    """With numbers and flags as ``dumps`` and ``type_json`` write them."""

    def float_schema(self, schema: Any) -> dict[str, Any]:
        return {"anyOf": [super().float_schema(schema), {"enum": list(_NOT_FINITE)}]}

    def bool_schema(self, schema: Any) -> dict[str, Any]:
        return {"enum": [True, False, 1]}

    def dataclass_schema(self, schema: Any) -> dict[str, Any]:
        """Without the docstrings, which are for readers of the code."""
        described = super().dataclass_schema(schema)
        return {key: value for key, value in described.items() if key != "description"}

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False
