"""The words of what a user may choose of the reports. Quick to import, as ``--help`` needs them."""

from __future__ import annotations

from typing import Literal, get_args

USUAL_COUNT = 5

OperatorWord = Literal["all", "by_type"]
OPERATOR_WORDS: tuple[OperatorWord, ...] = get_args(OperatorWord)
OperatorChoice = int | OperatorWord
"""The slowest ones, this many; or all of them, or one row for each type."""
