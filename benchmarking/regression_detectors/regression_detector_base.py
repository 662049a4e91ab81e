"""What a detector is: a pure function from the history and the newest run to a verdict with its numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from benchmarking.results.model import TypeResult, Verdict


@dataclass(frozen=True)
class Decision:
    verdict: Verdict
    reason: str
    """The numbers that led to it, in a sentence."""


class RegressionDetectorBase(ABC):
    """Derive from it and add one line to ``regression_detectors.py``."""

    name: ClassVar[str]
    """What ``--detector`` calls it."""
    metric: ClassVar[str]

    @abstractmethod
    def decide(self, history: Sequence[TypeResult], newest: TypeResult) -> Decision:
        """Judges ``newest`` by the runs of earlier commits of the same type, newest of them first."""
