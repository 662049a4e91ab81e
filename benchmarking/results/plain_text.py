"""Makes text from outside safe to show, and numbers readable."""

from __future__ import annotations

import re
import unicodedata

LONGEST_LAST_LINE = 500
_INVISIBLE = dict.fromkeys((0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0), "?")
"""Characters that Unicode counts among letters and marks although they are invisible."""
_SIMILAR = str.maketrans("\N{HORIZONTAL ELLIPSIS}\N{MICRO SIGN}▁▂▃▄▅▆▇█", "~u__.-=*##")
"""Replacements, one character each, so that the columns of tables stay aligned."""


def plain(text: str) -> str:
    """The text on one line and without control or direction characters: a name cannot control a terminal,
    look like another name, or break a table.
    """
    text = text.translate(_INVISIBLE)
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else _harmless(one) for one in text)


def _harmless(character: str) -> str:
    is_blank = character == "\t" or unicodedata.category(character) == "Zs"
    return " " if is_blank else "?"


def last_line(text: str, otherwise: str = "no answer") -> str:
    """The last line of what a program or a device said, for a message: harmless, and of bounded length."""
    lines = text.rstrip()[-LONGEST_LAST_LINE:].splitlines()
    return plain(lines[-1].strip()) if lines else otherwise


def plain_lines(text: str) -> str:
    """The same for several lines; only a line feed ends a line."""
    return "\n".join(plain(line.removesuffix("\r")) for line in text.split("\n"))


def similar(text: str) -> str:
    """The text in ASCII, character by character: letters without their accents, and ``?``."""
    return "".join(map(_similar_character, text.translate(_SIMILAR)))


def _similar_character(character: str) -> str:
    base = unicodedata.normalize("NFKD", character)[:1]
    return base if base.isascii() else "?"


def percent(share: float) -> str:
    """``0.25``: ``25 %``."""
    return f"{share:.0%}".replace("%", " %")


def json_words(fault: str) -> str:
    """What pydantic says of a value of JSON, in JSON's own words instead of Python's."""
    return re.sub(
        r"a valid (tuple|list)", "a list", re.sub(r"a (valid )?dictionary( or .*)?$", "an object", fault)
    )
