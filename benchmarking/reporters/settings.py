"""The settings of the reports. Quick to import, because ``--help`` needs them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

USUAL_COUNT = 5

OperatorWord = Literal["all", "by_type"]
OPERATOR_WORDS: tuple[OperatorWord, ...] = get_args(OperatorWord)
OperatorChoice = int | OperatorWord
"""The number of slowest operators; or all, or one row for each type."""

ExportFormat = Literal["github_action_benchmark", "bencher", "open_metrics"]
EXPORT_FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)


@dataclass(frozen=True)
class Export:
    """A file in the format of another program."""

    format: ExportFormat
    file: Path

    def __str__(self) -> str:
        return f"{self.format}:{self.file}"
