"""A command line with placeholders: ``{program} --graph={files.graph} --num_runs={iter}``.

Words are split as by a shell, but no shell runs them: a value that is filled in stays one word, whatever it
contains.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PROGRAM = "program"
"""The placeholder of the program. As a separate word it becomes as many words as needed to start the program
(an interpreter and a file); within another word, several words are quoted as for a shell.
"""
_PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*(?:\.[^{}]+)?)\}")
"""Any other brace stands for itself, as in ``--options={"threads": 1}``."""


@dataclass(frozen=True)
class CommandTemplate:
    """Words with placeholders; made by ``parse``."""

    words: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> CommandTemplate:
        """
        Raises:
            ValueError: it is not a command line (a quotation mark is missing), or is empty. One line.
        """
        try:
            words = tuple(shlex.split(text))
        except ValueError as error:
            raise ValueError(f"{text!r} cannot be split into words: {error}") from None
        if not words:
            raise ValueError("a command needs at least one word")
        return cls(words)

    @property
    def placeholders(self) -> tuple[str, ...]:
        """Each placeholder once, in the order of the text: ``program``, ``files.graph``."""
        return tuple(dict.fromkeys(name for word in self.words for name in _PLACEHOLDER.findall(word)))

    def fill(self, launcher: Sequence[str], values: Mapping[str, str]) -> tuple[str, ...]:
        """Returns the argument list. ``launcher``: the words for ``{program}``. ``values``: maps every other
        placeholder to its value.

        Raises:
            KeyError: a placeholder has no value; see ``placeholders``.
        """
        known = {**values, PROGRAM: shlex.join(launcher) if len(launcher) > 1 else "".join(launcher)}
        argv: list[str] = []
        for word in self.words:
            if word == f"{{{PROGRAM}}}":
                argv += launcher
            else:
                argv.append(_PLACEHOLDER.sub(lambda match: known[match[1]], word))
        return tuple(argv)
