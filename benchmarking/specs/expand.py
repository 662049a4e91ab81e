"""From checked specifications to single test cases. Pure: nothing is read or downloaded here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarking.specs.location import Location
from benchmarking.specs.model import ModelSpec, OptionValue, ToleranceSpec


@dataclass(frozen=True)
class InputBlob:
    """One input of one test case: fed from ``file``, or filled with noise of ``shape``."""

    name: str
    shape: tuple[int, ...]
    type: str
    file: Location | None = None


@dataclass(frozen=True)
class TestCase:
    """One test of one model, ready to be run: one shape, one set of files."""

    __test__ = False

    model: ModelSpec
    specification: Path
    """The benchmark file that it comes from."""
    model_files: Mapping[str, Location]
    """By the key of ``model.files``."""
    json_path: str
    """Where in that file, as in ``$.tests[0]``."""
    identifier: str
    """Unique among the cases of the same model and metric."""
    metric: str
    iterations: int
    warmup: int
    inputs: tuple[InputBlob, ...]
    golden_files: Mapping[str, Location]
    """The expected values by output blob; empty where the metric needs none."""
    commands: Mapping[str, Mapping[str, OptionValue]]
    """Options of the program by framework, the model's and the test's merged; a framework takes its own."""
    tolerance: ToleranceSpec | None = None

    @property
    def label(self) -> str:
        """How a person calls it."""
        return f"{self.model.name} {self.metric} {self.identifier}"
