"""The settings of the reports. Quick to import, because ``--help`` needs them."""

from __future__ import annotations

from typing import Literal, get_args

USUAL_COUNT = 5

OperatorWord = Literal["all", "by_type"]
OPERATOR_WORDS: tuple[OperatorWord, ...] = get_args(OperatorWord)
OperatorChoice = int | OperatorWord
"""The number of slowest operators; or all, or one row for each type."""
