"""The specification files as types (docs/contracts.md, section 3). JSON becomes these once, at the edge."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

OptionValue = str | bool | int | float
"""A value of ``commands``: becomes the value of a ``--key value`` of the program."""

Commands = dict[str, dict[str, OptionValue]]
"""Options of the benchmark program by framework: ``{"caffe2": {"run_individual": "true"}}``."""

LARGEST_COUNT = 10**9

Dimension = Annotated[int, Field(ge=0, le=LARGEST_COUNT)]
Shape = Annotated[list[Dimension], Field(min_length=1)]
PathOrPaths = str | Annotated[list[str], Field(min_length=1)]


class SpecModel(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class FileSpec(SpecModel):
    """One file of a model and where it comes from."""

    filename: str
    location: str
    """As ``specs.location`` reads it."""
    md5: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{32}$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")] | None = None


class InputSpec(SpecModel):
    """Shapes of one input blob. Several shapes mean several tests."""

    shapes: Annotated[list[Shape], Field(min_length=1)]
    type: str = "float"


class OutputSpec(SpecModel):
    """Shape and type of an output blob, as documentation."""

    shapes: list[Shape] = Field(default_factory=list)
    type: str = "float"


class ToleranceSpec(SpecModel):
    """An output passes where ``|output - golden| <= atol + rtol * |golden|``."""

    atol: Annotated[float, Field(ge=0)] = 0.0
    rtol: Annotated[float, Field(ge=0)] = 0.0


Files = Annotated[dict[str, FileSpec], Field(min_length=1)]
"""By what each file is to the model: ``init``, ``predict``, ``model`` ..."""


class FormatSpec(SpecModel):
    """The files of a model in one of its formats."""

    files: Files


class ModelSpec(SpecModel):
    """A model in one format (``format`` and ``files``) or in several (``formats``, by the format's name)."""

    name: Annotated[str, Field(min_length=1)]
    format: Annotated[str, Field(min_length=1)] = ""
    """Of a model in several formats the one that was chosen (``in_format``); empty before that."""
    files: Files = Field(default_factory=dict)
    formats: Annotated[dict[str, FormatSpec], Field(min_length=1)] = Field(default_factory=dict)
    category: str | None = None
    description: str | None = None
    kind: str | None = None
    group: str | None = None
    inputs: dict[str, InputSpec] | None = None
    outputs: dict[str, OutputSpec] | None = None
    commands: Commands = Field(default_factory=dict)

    @property
    def format_names(self) -> tuple[str, ...]:
        """All formats that the model has, in the order of the file."""
        return tuple(self.formats) or (self.format,)

    @property
    def files_path(self) -> str:
        """Where the files of the chosen format are in the specification, as in ``$.model.files``."""
        return f"$.model.formats.{self.format}.files" if self.formats else "$.model.files"

    def in_format(self, name: str) -> ModelSpec:
        """The same model in one of ``format_names``."""
        if name == self.format:
            return self
        return self.model_copy(update={"format": name, "files": self.formats[name].files})


class TestSpec(SpecModel):
    __test__ = False  # not a test of ours, whatever pytest makes of the name

    identifier: Annotated[str, Field(min_length=1)]
    metric: Literal["delay", "error"]
    iter: Annotated[int, Field(ge=1, le=LARGEST_COUNT)]
    warmup: Annotated[int, Field(ge=0, le=LARGEST_COUNT)] = 0
    inputs: Annotated[dict[str, InputSpec], Field(min_length=1)] | None = None
    """The model's ``inputs`` where the test has none."""
    input_files: dict[str, PathOrPaths] = Field(default_factory=dict)
    output_files: dict[str, PathOrPaths] = Field(default_factory=dict)
    commands: Commands = Field(default_factory=dict)
    tolerance: ToleranceSpec | None = None


class BenchmarkSpec(SpecModel):
    """One benchmark file: a model and its tests."""

    model: ModelSpec
    tests: Annotated[list[TestSpec], Field(min_length=1)]


class SuiteSpec(SpecModel):
    """A list of benchmark files; ``meta`` is merged into each model, the model's own value wins."""

    meta: dict[str, str] = Field(default_factory=dict)
    benchmarks: Annotated[list[str], Field(min_length=1)]
