"""Converts results to JSON documents and back, with one adapter of the frozen types.

``--json`` prints a ``Document``. Other programs rely on its keys, and on those of the local reporter's files
and of messages to servers (docs/contracts.md, sections 4, 5 and 8). In all of them, most parts of a result
are combined in one object, the ``meta``: ``described`` creates it, ``read`` splits it again.
"""

from __future__ import annotations

import copy
import json
import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Annotated, Any, TypeVar

from annotated_types import Ge, Le
from pydantic import TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import SchemaValidator

from benchmarking.bounds import parse_json
from benchmarking.errors import ExitStatus
from benchmarking.results.model import (
    Device,
    FailureKind,
    Program,
    Provenance,
    Result,
    TestKey,
    TypeResult,
    Workload,
)
from benchmarking.results.plain_text import json_words

LAYOUT_VERSION = 1
"""The version of documents and of the local reporter's files. It is raised if older readers would misread
them; an additional key does not raise it.
"""

_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""JSON has no such numbers: they are written as these strings."""


def _names(kind: Any, **others: str) -> Mapping[str, str]:
    return {one.name: others.get(one.name, one.name) for one in fields(kind)}


_PARTS = {
    "test": _names(TestKey, net="net_name", device="platform_hash"),
    "provenance": _names(Provenance),
    "device": _names(Device, name="platform", facts="device"),
    "program": _names(Program, command="program_command", facts="program", control_facts="control_program"),
    "workload": _names(Workload),
}
"""The parts whose fields are in the ``meta``, with the names of the fields there."""
_WHOLE = ("sampling", "cell")
"""The parts that are in the ``meta`` as a whole."""
MOST_MEMBERS = 2500
"""Of one object in a document, except for the kernels of all operators."""

Read = TypeVar("Read")


class NewerVersionError(ValueError):
    """A newer version of this program wrote it. The message is part of a sentence, with the remedy."""


@dataclass(frozen=True)
class Document:
    """All results of one run of the harness, as printed by ``--json``."""

    results: tuple[Result, ...]
    exit_status: ExitStatus
    """The intended exit status of the harness. The user's ``--fail_on`` may hide verdicts from it."""
    duration_s: float
    destinations: tuple[str, ...]
    """Other destinations of the results, for people."""
    problems: tuple[str, ...]
    """Devices whose tests are missing, and reporters that could not deliver."""
    backends: tuple[Mapping[str, Any], ...] = ()
    """In a run on several backends: the tables derived from the results."""
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
    return json.dumps(jsonable(value), indent=2, sort_keys=True, allow_nan=False) + "\n"


def line(value: Any) -> str:
    """The same in a single line."""
    return json.dumps(jsonable(value), sort_keys=True, allow_nan=False) + "\n"


def document_json(document: Document) -> dict[str, Any]:
    results = [result_json(one) for one in document.results]
    return {**_as_json(replace(document, results=())), "results": results}


def result_json(result: Result) -> dict[str, Any]:
    parts = _as_json(replace(result, types=()))
    return {
        **{name: value for name, value in parts.items() if name not in (*_PARTS, *_WHOLE)},
        "meta": {**_described(result, parts), "layout_version": LAYOUT_VERSION},
        "types": [type_json(one) for one in result.types],
    }


def meta_json(result: Result) -> dict[str, Any]:
    """The content of ``meta.txt``."""
    return {**described(result), "layout_version": LAYOUT_VERSION}


def described(result: Result) -> dict[str, Any]:
    """All parts of a result that describe the test, in one object."""
    return _described(result, _as_json(replace(result, types=())))


def _described(result: Result, parts: Mapping[str, Any]) -> dict[str, Any]:
    meta = {other: parts[part][name] for part, names in _PARTS.items() for name, other in names.items()}
    whole = {name: parts[name] for name in _WHOLE}
    return {**meta, **whole, "command_str": shlex.join(result.provenance.command)}


def type_json(one: TypeResult) -> dict[str, Any]:
    """The content of ``<type>.txt``, without keys that do not apply."""
    value = _adapter(TypeResult).dump_python(one, exclude_defaults=True, warnings="none")
    if one.control_values:
        value["control_type"] = one.type
    return {key: int(item) if item is True else item for key, item in value.items()}


def _as_json(value: Document | Result) -> dict[str, Any]:
    """Every field, as values that ``dumps`` accepts."""
    fields: dict[str, Any] = _adapter(type(value)).dump_python(value, warnings="none")
    return fields


def jsonable(value: Any) -> Any:
    """The value as JSON has it: numbers that are not finite as strings, and no halves of characters."""
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return next(text for text, number in _NOT_FINITE.items() if repr(number) == repr(value))
    if isinstance(value, str):
        # A lone surrogate, from a name whose bytes are not text, cannot be in a file that others can read.
        return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, list | tuple):
        return [jsonable(one) for one in value]
    # ``Mapping`` alone would do; a large result asks thousands of times.
    if isinstance(value, dict) or (not isinstance(value, int | None) and isinstance(value, Mapping)):
        return {jsonable(str(key)): jsonable(one) for key, one in value.items()}
    return value


# --- reading ------------------------------------------------------------------------------------------------


def read(kind: type[Read], content: str | bytes) -> Read:
    """Reads a document of type ``kind`` that was written by this version of the program or by an older one.

    Raises:
        NewerVersionError: a newer version wrote it.
        ValueError: it is something else. The message is a part of a sentence.
    """
    value = _in_parts(_parsed(content))
    if isinstance(value, dict) and isinstance(value.get("results"), list):
        value = {**value, "results": [_in_parts(one) for one in value["results"]]}
    return validated(kind, value)


def result_of(value: Any) -> Result:
    """The result in a value that ``result_json`` made. Raises as ``validated``."""
    return validated(Result, _in_parts(value))


def read_meta(content: str | bytes) -> Result:
    """The result in a ``meta.txt``, without its types. Raises as ``read``."""
    return validated(Result, _in_parts({"meta": _parsed(content)}))


def _parsed(content: str | bytes) -> Any:
    if not content or content.isspace():
        raise ValueError("it is empty")
    value = parse_json(content)
    _check_version(value)
    _check_members(value)
    return value


def _check_members(value: Any) -> None:
    """Each wrong member of an object is several errors of 1.3 kB."""
    todo = [value]
    while todo:
        one = todo.pop()
        if isinstance(one, dict) and len(one) > MOST_MEMBERS:
            if all(map(_is_kernel, one.values())):
                continue  # without a fault, however many operators the net has
            raise ValueError(f"an object has more than {MOST_MEMBERS:,} members")
        members = one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        todo.extend(member for member in members if isinstance(member, dict | list))


def _is_kernel(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"name", "own"}
        and isinstance(value["name"], str)
        and isinstance(value["own"], bool)
    )


def validated(kind: type[Read], value: Any) -> Read:
    """
    Raises:
        ValueError: the value is not one of the kind. The message names the first place, in one line.
    """
    try:
        result: Read = _validator(kind).validate_python(value)
    except ValidationError as error:
        fault = error.errors()[0]
        raise ValueError(f"{_place(fault['loc'])}{json_words(fault['msg'])}") from error
    return result


def _in_parts(value: Any) -> Any:
    """Splits the ``meta`` of a result into the parts of its type; returns anything else unchanged."""
    if not isinstance(value, dict) or "meta" not in value:
        return value
    meta = value["meta"]
    if not isinstance(meta, dict):
        return {**value, **dict.fromkeys(_PARTS, meta)}
    parts = {
        part: {name: meta[other] for name, other in names.items() if other in meta}
        for part, names in _PARTS.items()
    }
    return {**value, **parts, **{name: meta[name] for name in _WHOLE if name in meta}}


def _place(location: tuple[int | str, ...]) -> str:
    """The location as it is in the file."""
    depth = 2 if location[:1] == ("results",) else 0
    around, names = location[:depth], [str(name) for name in location[depth:]]
    if names and names[0] in _WHOLE:
        names.insert(0, "meta")
    elif names and (others := _PARTS.get(names[0])):
        names = ["meta", *(others[name] for name in names[1:2]), *names[2:]]
    return "".join(f"{name}: " for name in (*around, *names))


def _check_version(value: object) -> None:
    """The version is in the meta of a single result."""
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


def _validator(kind: Any) -> SchemaValidator:
    return _made_validator(kind)


@cache
def _made_validator(kind: Any) -> SchemaValidator:
    """Stops at the first fault of each list: of two million, each would be an error of 1.5 kB."""
    schema = copy.deepcopy(_made_adapter(kind).core_schema)
    todo: list[Any] = [schema]
    while todo:
        part = todo.pop()
        if isinstance(part, dict):
            if part.get("type") in ("list", "tuple"):
                part["fail_fast"] = True
            todo.extend(part.values())
        elif isinstance(part, list | tuple):
            todo.extend(part)
    return SchemaValidator(schema)


@cache
def _made_adapter(kind: Any) -> TypeAdapter[Any]:
    """Numbers that are not finite are also read from their strings."""
    return TypeAdapter(kind)


# --- the schema ---------------------------------------------------------------------------------------------


def schema() -> dict[str, Any]:
    """The JSON schema of documents (``docs/result.schema.json``)."""
    document = _adapter(Document).json_schema(schema_generator=_Schema)
    kinds, result = document["$defs"], document["$defs"]["Result"]
    properties = {name: result["properties"].pop(name) for name in _WHOLE}
    required = ["command_str"]
    for part, names in _PARTS.items():
        kind = kinds.pop(result["properties"].pop(part)["$ref"].rpartition("/")[2])
        properties |= {other: kind["properties"][name] for name, other in names.items()}
        required += [names[name] for name in kind.get("required", ())]
    properties["command_str"] = {"type": "string"}
    kinds["Meta"] = {
        "type": "object",
        "properties": properties,
        "required": sorted(required),
        "title": "Meta",
    }
    result["properties"]["meta"] = {"$ref": "#/$defs/Meta"}
    result["required"] = ["meta"]
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        **document,
        "title": f"What harness.py --json prints, layout version {LAYOUT_VERSION}",
    }


class _Schema(GenerateJsonSchema):
    """Represents numbers and flags as ``dumps`` and ``type_json`` write them."""

    def float_schema(self, schema: Any) -> dict[str, Any]:
        return {"anyOf": [super().float_schema(schema), {"enum": list(_NOT_FINITE)}]}

    def bool_schema(self, schema: Any) -> dict[str, Any]:
        return {"enum": [True, False, 1]}

    def dataclass_schema(self, schema: Any) -> dict[str, Any]:
        """Leaves out the docstrings, which are for readers of the code."""
        described = super().dataclass_schema(schema)
        return {key: value for key, value in described.items() if key != "description"}

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False
