"""The interface of a detector: a pure function from the history and the newest run to a verdict with its
numbers.
"""

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
    """The numbers that led to the verdict, in a sentence."""


class RegressionDetectorBase(ABC):
    """Base class: derive from it and add one line to ``regression_detectors.py``."""

    name: ClassVar[str]
    """The name in ``--detector``."""
    metric: ClassVar[str]

    @abstractmethod
    def decide(self, history: Sequence[TypeResult], newest: TypeResult) -> Decision:
        """Judges ``newest`` by the runs of the same type of earlier commits, newest first."""
