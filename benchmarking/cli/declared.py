"""Options that are declared once, each at its field: parsers, argument lists and docs/options.md are derived
from them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from benchmarking.cli.argument_types import Parser, comma_separated, path, positive_float, positive_int

_DECLARATION = "declaration"


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """The part of an option that its field does not express: the name, the default and usually the type come
    from the field.
    """

    group: str
    help: str
    example: str
    """An example of a value."""
    usual: str | None
    """The default in words, if the default of the field says too little."""
    metavar: str | None
    read: Callable[[str], Any] | None
    """Converts from text; None: according to the field's type."""
    write: Callable[[Any], str]
    """Converts to text that ``read`` accepts."""
    choices: Callable[[], Sequence[str]] | None
    bare: str | None
    """The value if the option is given without one."""
    platforms: tuple[str, ...]
    """The only platforms that use the option; empty: all."""
    set_by_loop: bool
    """For options of ``harness.py`` that the loop sets for each run, and nobody else may set."""
    variable: str | None
    """The environment variable that can replace the option."""
    page: str
    """The page in ``docs`` with more details."""


def text_of(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def option(
    default: Any = MISSING,
    *,
    group: str,
    help: str,  # noqa: A002 - argparse's word
    example: str = "",
    usual: str | None = None,
    metavar: str | None = None,
    read: Callable[[str], Any] | None = None,
    write: Callable[[Any], str] = text_of,
    choices: Callable[[], Sequence[str]] | None = None,
    bare: str | None = None,
    platforms: tuple[str, ...] = (),
    set_by_loop: bool = False,
    variable: str | None = None,
    page: str = "",
) -> Any:
    """A field of a dataclass of options; ``Declaration`` says what the arguments mean."""
    given = {name: value for name, value in locals().items() if name != "default"}
    return field(default=default, repr=variable is None, metadata={_DECLARATION: Declaration(**given)})


def declarations(options: type) -> Mapping[str, Declaration]:
    return {one.name: one.metadata[_DECLARATION] for one in fields(options) if _DECLARATION in one.metadata}


class DeclaredOptions:
    """A frozen dataclass with an ``option`` for each field."""

    def to_argv(self) -> tuple[str, ...]:
        """Arguments that parse to an equal object, without options that are passed through the
        environment.
        """
        argv: list[str] = []
        for name, declared in declarations(type(self)).items():
            value = getattr(self, name)
            if declared.variable is None and value != getattr(type(self), name, MISSING):
                argv.append(f"--{name}" if value is True else f"--{name}={declared.write(value)}")
        return tuple(argv)


def add_options(
    parser: Parser,
    options: type,
    descriptions: Mapping[str, str],
    required: Sequence[str],
    only: Collection[str] | None = None,
) -> None:
    """Adds a group to the parser for each group of the options, in order. ``only``: leaves the others out."""
    hints = get_type_hints(options)
    groups: dict[str, argparse._ArgumentGroup] = {}
    for name, declared in declarations(options).items():
        if only is not None and name not in only:
            continue
        title = declared.group
        if title not in groups:
            groups[title] = parser.add_argument_group(title, descriptions.get(title))
        default = getattr(options, name, None)
        arguments = _by_type(hints[name]) | _as_declared(declared)
        arguments |= {"help": described(declared, default).replace("%", "%%"), "default": default}
        groups[title].add_argument(f"--{name}", required=name in required, **arguments)


def described(declared: Declaration, default: Any) -> str:
    usual = declared.usual
    if usual is None and default not in (None, False, ()):
        usual = text_of(default)
    return declared.help + (f" (default: {usual})" if usual else "")


def _as_declared(declared: Declaration) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "type": declared.read,
        "metavar": declared.metavar,
        "choices": declared.choices and declared.choices(),
        "const": declared.bare,
        "nargs": None if declared.bare is None else "?",
    }
    return {name: value for name, value in arguments.items() if value is not None}


def _by_type(hint: Any) -> dict[str, Any]:
    """The arguments of ``add_argument`` for the type of a field. ``X | None`` is treated as ``X``."""
    kinds = [one for one in get_args(hint) if one is not NoneType]
    if NoneType in get_args(hint) and len(kinds) == 1:
        return _by_type(kinds[0])
    if hint is bool:
        return {"action": "store_true"}
    if get_origin(hint) is Literal:
        return {"choices": get_args(hint)}
    if get_origin(hint) is tuple:
        return {"type": comma_separated}
    readers = {Path: path, int: positive_int, float: positive_float}
    return {"type": readers[hint]} if hint in readers else {}
