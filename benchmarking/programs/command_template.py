"""A command line with placeholders: ``{program} --graph={files.graph} --num_runs={iter}``.

Words are split as a shell splits them, and no shell runs them: what is filled in stays one word, whatever it
holds.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PROGRAM = "program"
"""The placeholder of what is run. In a word of its own it becomes as many words as the start needs (an
interpreter and a file); within another word several words are quoted as a shell needs them."""
_PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*(?:\.[^{}]+)?)\}")
"""Any other brace means itself, as in ``--options={"threads": 1}``."""


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
            raise ValueError("a command has at least one word")
        return cls(words)

    @property
    def placeholders(self) -> tuple[str, ...]:
        """Each once, in the order of the text: ``program``, ``files.graph``."""
        return tuple(dict.fromkeys(name for word in self.words for name in _PLACEHOLDER.findall(word)))

    def fill(self, launcher: Sequence[str], values: Mapping[str, str]) -> tuple[str, ...]:
        """The argument list. ``launcher``: the words for ``{program}``. ``values``: by every other
        placeholder.

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
