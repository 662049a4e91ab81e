"""The command line, in the style of gflags: ``--name value`` and ``--name=value``.

A flag is a field of the settings, declared once with its default, meaning and limits.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import Field, dataclass, field, fields
from typing import Any, TypeVar, Union

from .errors import UsageError

FlagValue = Union[str, int, bool]


def flag(
    default: Any,
    meaning: str,
    *,
    choices: Sequence[str] = (),
    minimum: Any = None,
    needs_value: bool = True,
    required: bool = False,
) -> Any:
    """``required``: a run needs it; ``meaning`` is what is run."""
    metadata = {
        "meaning": meaning,
        "choices": choices,
        "minimum": minimum,
        "needs_value": needs_value,
        "required": required,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """The flags that every program has."""

    input: str = flag("", "names of the tensors to feed, separated by commas")
    input_dims: str = flag("", "their shapes: 1,3,224,224;1,10; a scalar is []")
    input_type: str = flag(
        "float",
        "their types: one for all, or one for each, separated by semicolons (float, uint8_t, int ...)",
    )
    input_file: str = flag("", "their values: files, separated by commas; noise without files")
    output: str = flag("", "names of the tensors to write, separated by commas; * for all")
    output_folder: str = flag("", "the directory to write them to")
    iter: int = flag(10, "the number of timed iterations", minimum=0)
    warmup: int = flag(0, "the number of untimed iterations before them", minimum=0)
    run_individual: bool = flag(False, "also time each operator, in a second run of each iteration")
    backend: str = flag("default", "the backend that computes the operators; --list_backends lists all")
    backend_options: str = flag("", "options of the backend, separated by commas")
    threads: int = flag(1, "the number of threads that an operator may use", minimum=1)
    seed: int = flag(0, "the seed of the noise for inputs without a file, and of random fills")
    worker: str = flag(
        "false",
        "true: run one iteration for each line on stdin; fork: repeatedly fork processes that do so",
        choices=("false", "true", "fork"),
    )
    summary: bool = flag(
        False,
        "print the model as a table (shapes, parameters, FLOPs, bytes) instead of timing it",
        needs_value=False,
    )
    list_backends: bool = flag(
        False,
        "print the backends as JSON, and why some are not available",
        needs_value=False,
    )
    help: bool = flag(False, "show this help", needs_value=False)
    version: bool = flag(False, "show the version", needs_value=False)

    @property
    def backend_option_names(self) -> list[str]:
        return [name for name in self.backend_options.split(",") if name]


AnySettings = TypeVar("AnySettings", bound=Settings)

_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def parse(kind: type[AnySettings], arguments: Sequence[str]) -> AnySettings:
    """Parses the command line.

    Raises:
        UsageError: a flag is unknown, or its value is wrong.
    """
    known: dict[str, Field[Any]] = {one.name: one for one in fields(kind)}
    values: dict[str, Any] = {}
    words: list[str] = list(arguments)
    while words:
        name, value, words = _next_flag(known, words)
        values[name] = _convert(known[name], value)
    return kind(**values)


def require_given(settings: Settings) -> None:
    """Raises:
    UsageError: a flag that a run needs is missing.
    """
    for one in fields(settings):
        if one.metadata["required"] and not getattr(settings, one.name):
            raise UsageError("--%s is missing: %s to run" % (one.name, one.metadata["meaning"]))


def _next_flag(known: dict[str, Field[Any]], words: list[str]) -> tuple[str, str, list[str]]:
    word, rest = words[0], words[1:]
    if not word.startswith("-"):
        raise UsageError("%r is not a flag; flags begin with --" % word)
    name, equals, value = word.lstrip("-").partition("=")
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = "did you mean --%s?" % close[0] if close else "--help lists the flags"
        raise UsageError("unknown flag --%s; %s" % (name, hint))
    if equals:
        return name, value, rest
    if not known[name].metadata["needs_value"]:
        return name, "true", rest
    if not rest:
        raise UsageError("--%s needs a value" % name)
    return name, rest[0], rest[1:]


def _convert(flag: Field[Any], text: str) -> FlagValue:
    value = _typed(flag, text)
    choices, minimum = flag.metadata["choices"], flag.metadata["minimum"]
    if choices and value not in choices:
        raise UsageError("--%s: %r is not one of %s" % (flag.name, value, ", ".join(choices)))
    if minimum is not None and int(value) < minimum:
        raise UsageError("--%s: %s is less than %d" % (flag.name, value, minimum))
    return value


def _typed(flag: Field[Any], text: str) -> FlagValue:
    if isinstance(flag.default, bool):
        if text.lower() not in _BOOLEANS:
            raise UsageError("--%s: %r is neither true nor false" % (flag.name, text))
        return _BOOLEANS[text.lower()]
    if isinstance(flag.default, int):
        try:
            return int(text)
        except ValueError:
            raise UsageError("--%s: %r is not a whole number" % (flag.name, text)) from None
    return text


def help_text(kind: type[Settings], title: str) -> str:
    lines = [title, ""]
    lines += [
        "  --%-15s %s (default: %s)" % (one.name, one.metadata["meaning"], _shown(one.default))
        for one in fields(kind)
    ]
    return "\n".join(lines)


def _shown(value: Any) -> str:
    return str(value).lower() if value != "" else "none"
