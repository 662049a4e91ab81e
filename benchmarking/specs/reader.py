"""Reads specification files into typed specifications, or reports all their faults."""

from __future__ import annotations

import difflib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from benchmarking.bounds import OutOfBoundsError, parse_json, read_file
from benchmarking.errors import Fault, SpecificationError
from benchmarking.specs.location import Location
from benchmarking.specs.model import BenchmarkSpec, SuiteSpec

MAXIMUM_FILE_BYTES = 16 * 2**20
MAXIMUM_NAME_BYTES = 200
MOST_COMMAS = 500_000
"""The limit on a file's commas, and with them on its values: each may be a fault, and these take time."""
MOST_FAULTS = 50_000
"""The limit on faults in the types of a file; further faults are not reported."""
LONGEST_SHOWN = 60
"""The number of characters of a value that a fault shows."""
SUITE_META_KEYS = ("category", "description", "kind", "group", "command_args")
"""The keys that a suite's ``meta`` may pass to each of its models."""

M = TypeVar("M", bound=BaseModel)

_OPTION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class LoadedBenchmark:
    """One benchmark file, checked, with the suite's ``meta`` merged into its model."""

    path: Path
    spec: BenchmarkSpec
    are_hashes_new: bool = False
    """The hashes of the model's files were computed from these files in this run."""


def read_benchmarks(*files: Path) -> tuple[LoadedBenchmark, ...]:
    """Reads benchmark files, and suites with every benchmark that they list.

    Raises:
        SpecificationError: with every fault of every file.
    """
    faults: list[Fault] = []
    loaded = [benchmark for file in files for benchmark in _read_file(file, faults)]
    if faults:
        raise SpecificationError(faults)
    return tuple(loaded)


def _read_file(file: Path, faults: list[Fault]) -> list[LoadedBenchmark]:
    known = len(faults)
    value = _read_json(file, faults)
    if isinstance(value, dict) and "benchmarks" in value:
        return _read_suite(file, value, faults)
    if isinstance(value, dict) and ("model" in value or "tests" in value):
        return list(_read_benchmark(file, value, {}, faults))
    if len(faults) == known:
        message = 'neither a benchmark ({"model": ..., "tests": [...]}) nor a suite ({"benchmarks": [...]})'
        faults.append(Fault(str(file), "$", message))
    return []


def _read_suite(file: Path, value: dict[str, Any], faults: list[Fault]) -> list[LoadedBenchmark]:
    suite = _validate(SuiteSpec, file, value, faults)
    if suite is None:
        return []
    loaded: list[LoadedBenchmark] = []
    for key in suite.meta:
        if key not in SUITE_META_KEYS:
            faults.append(Fault(str(file), f"$.meta.{key}", _unknown_key(key, SUITE_META_KEYS)))
    listed: dict[str, int] = {}
    for index, entry in enumerate(suite.benchmarks):
        path = file.parent / entry
        first = listed.setdefault(os.path.normpath(path), index)
        if first != index:
            message = f"{_shown(entry)} is listed twice: also as $.benchmarks[{first}]"
            faults.append(Fault(str(file), f"$.benchmarks[{index}]", message))
            continue
        known = len(faults)
        benchmark = _read_json(path, faults)
        if isinstance(benchmark, dict) and "benchmarks" in benchmark:
            message = f"{_shown(entry)} is itself a suite; list its benchmarks here instead"
            faults.append(Fault(str(file), f"$.benchmarks[{index}]", message))
        elif len(faults) == known:
            loaded += _read_benchmark(path, benchmark, suite.meta, faults)
    return loaded


def _read_benchmark(
    path: Path, value: Any, meta: dict[str, str], faults: list[Fault]
) -> Iterator[LoadedBenchmark]:
    spec = _validate(BenchmarkSpec, path, value, faults)
    if spec is None:
        return
    further = [*_format_faults(path, value["model"]), *_hash_faults(path, spec), *_name_faults(path, spec)]
    faults.extend(further)
    if not further:
        given = {key: value for key, value in meta.items() if key in SUITE_META_KEYS}
        merged = {key: value for key, value in given.items() if getattr(spec.model, key) is None}
        yield LoadedBenchmark(path, spec.model_copy(update={"model": spec.model.model_copy(update=merged)}))


# --- JSON ---------------------------------------------------------------------------------------------------


def _read_json(path: Path, faults: list[Fault]) -> Any:
    """None, with a fault, if the file is not JSON."""

    def fault(message: str) -> None:
        faults.append(Fault(str(path), "$", message))

    try:
        text = read_file(path, MAXIMUM_FILE_BYTES).decode("utf-8-sig")
    except FileNotFoundError:
        return faults.append(Fault("", "$", f"there is no file {str(path)!r}"))
    except IsADirectoryError:
        return fault("is a directory; give a json file")
    except UnicodeDecodeError as error:
        return fault(f"not UTF-8 text (byte {error.start})")
    except OutOfBoundsError as error:
        return fault(f"not a specification: {error}")
    except (OSError, ValueError) as error:
        return fault(f"cannot be read: {getattr(error, 'strerror', None) or error}")
    if text.count(",") > MOST_COMMAS:
        return fault(f"not a specification: more than {MOST_COMMAS:,} values")
    try:
        return parse_json(text, make_object=_object_without_duplicates)
    except json.JSONDecodeError as error:
        return fault(f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}")
    except OutOfBoundsError as error:
        return fault(f"not a specification: {error}")
    except ValueError as error:
        return fault(f"not JSON: {error}")


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        if both := _both_commands(pairs):
            return both
        counts = Counter(key for key, _ in pairs)
        twice = min(key for key, count in counts.items() if count > 1)
        raise ValueError(f"the key {_shown(twice)} is given twice in one object")
    return result


def _both_commands(pairs: list[tuple[str, Any]]) -> dict[str, Any] | None:
    """Tests of the later form have ``commands`` twice, as templates and as options: both are used.

    ``arguments`` is another name for the templates.
    """
    others = {key: value for key, value in pairs if key != "commands"}
    values = [value for key, value in pairs if key == "commands"]
    kinds = {type(value): value for value in values}
    if len(values) != 2 or len(others) + 2 < len(pairs) or "arguments" in others:
        return None
    return {**others, "arguments": kinds[list], "commands": kinds[dict]} if {list, dict} == {*kinds} else None


# --- types --------------------------------------------------------------------------------------------------


def _validate(model: type[M], path: Path, value: Any, faults: list[Fault]) -> M | None:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found = (
            Fault(str(path), _json_path(value, one["loc"]), _message(model, one))
            for one in error.errors(include_url=False, include_context=True)
        )
        faults += dict.fromkeys(islice(found, MOST_FAULTS))
        return None


def _json_path(value: Any, location: Sequence[int | str]) -> str:
    """The parts of a pydantic location that are in the file; pydantic also names branches of unions."""
    text = "$"
    for position, part in enumerate(location):
        last = position == len(location) - 1
        if isinstance(part, int) and isinstance(value, list):
            text += f"[{part}]"
            value = value[part] if part < len(value) else None
        elif isinstance(value, dict) and (part in value or (last and isinstance(part, str))):
            text += f".{part}" if re.fullmatch(r"[\w-]+", str(part)) else f"[{json.dumps(part)}]"
            value = value.get(part)
    return text


def _message(model: type[BaseModel], error: Any) -> str:
    kind, found = error["type"], error["input"]
    key = str(error["loc"][-1]) if error["loc"] else ""
    if kind == "missing":
        return f"the key {key!r} is missing"
    if kind == "extra_forbidden":
        return _unknown_key(key, _known_keys(model, error["loc"][:-1]))
    if kind.endswith("_type") or kind in ("is_instance_of",):
        wanted = _WANTED.get(kind, error["msg"])
        return f"{wanted} is expected, not {_shown(found)}"
    text = error["msg"].replace("Input should", "should").replace("String should", "should")
    if "pattern" in kind:
        if key == "taskset":
            return f"{_shown(found)} is not a hexadecimal mask of cores, as in f0"
        length = 64 if key == "sha256" else 32
        return f"{_shown(found)} is not {length} hexadecimal digits"
    return f"{_shown(found)}: {text[0].lower()}{text[1:]}"


_WANTED = {
    "string_type": "a string",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}


def _known_keys(model: type[BaseModel], location: Sequence[int | str]) -> Sequence[str]:
    """The keys of the object at a location: the only models with several objects are found by name."""
    known: type[BaseModel] = model
    for part in location:
        field = known.model_fields.get(str(part))
        if field is None:
            continue
        nested = _model_in(field.annotation)
        if nested is not None:
            known = nested
    return tuple(known.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    arguments = getattr(annotation, "__args__", ())
    return next((found for one in arguments if (found := _model_in(one))), None)


def _unknown_key(key: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1) if len(key) <= LONGEST_SHOWN else []
    hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
    return f"unknown key {_cut(repr(key))}; {hint}"


def _shown(value: Any) -> str:
    return _cut(json.dumps(value, default=repr))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."


def _format_faults(path: Path, model: dict[str, Any]) -> Iterator[Fault]:
    """A model has its files either in one format or in several."""
    if "formats" not in model:
        for key in ("format", "files"):
            if key not in model:
                yield Fault(str(path), f"$.model.{key}", f"the key {key!r} is missing")
        return
    for key in ("format", "files"):
        if key in model:
            message = f"a model with 'formats' has no {key!r} of its own: move it into 'formats'"
            yield Fault(str(path), f"$.model.{key}", message)


def _hash_faults(path: Path, spec: BenchmarkSpec) -> Iterator[Fault]:
    """A file on this machine needs no hash; an empty ``md5`` says that it is unknown."""
    for model in map(spec.model.in_format, spec.model.format_names):
        for key, file in model.files.items():
            if file.md5 is None and Location(file.location).is_url:
                message = "the key 'md5' is missing: only a local file may omit it"
                yield Fault(str(path), f"{model.files_path}.{key}.md5", message)


# --- names that become paths and options --------------------------------------------------------------------


def _name_faults(path: Path, spec: BenchmarkSpec) -> Iterator[Fault]:
    names = {"$.model.name": spec.model.name, "$.model.format": spec.model.format}
    names |= {f"$.model.formats.{name}": name for name in spec.model.formats}
    for model in map(spec.model.in_format, spec.model.format_names):
        names |= {f"{model.files_path}.{key}.filename": one.filename for key, one in model.files.items()}
    for json_path, name in names.items():
        problem = _name_problem(name)
        if problem:
            yield Fault(str(path), json_path, f"{_shown(name)} {problem}; it becomes part of a file's path")
    commands = {"$.model.commands": spec.model.commands}
    commands |= {f"$.tests[{index}].commands": test.options for index, test in enumerate(spec.tests)}
    for json_path, by_framework in commands.items():
        for framework, options in by_framework.items():
            for option, value in options.items():
                here = f"{json_path}.{framework}.{option}"
                if not _OPTION_NAME.fullmatch(option):
                    yield Fault(
                        str(path), here, f"{_shown(option)} is not an option's name: letters, digits, _ and -"
                    )
                if "\0" in str(value):
                    yield Fault(str(path), here, "a program's argument cannot contain a NUL")


def _name_problem(name: str) -> str | None:
    if name in (".", "..") or "/" in name or "\\" in name:
        return "is not a plain name"
    if any(ord(character) < 32 or ord(character) == 127 for character in name):
        return "contains a control character"
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        return "is not valid text"
    return f"is longer than {MAXIMUM_NAME_BYTES} bytes" if length > MAXIMUM_NAME_BYTES else None
