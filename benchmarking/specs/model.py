"""The types of specification files (docs/contracts.md, section 3). JSON is converted to these once, when it
is read.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from benchmarking.specs.tensor_types import ALIASES

OptionValue = str | bool | int | float
"""A value of ``commands``: becomes the value of an option ``--key value`` of the program."""

Commands = dict[str, dict[str, OptionValue]]
"""Options of the benchmark program by framework: ``{"caffe2": {"run_individual": "true"}}``."""

LARGEST_COUNT = 10**9

Dimension = Annotated[int, Field(ge=0, le=LARGEST_COUNT)]
Shape = list[Dimension]
"""Empty: a scalar."""
Seconds = Annotated[float, Field(ge=0, le=10**6)]
MD5 = Annotated[str, Field(pattern=r"^([0-9a-fA-F]{32})?$")]
Text = Annotated[str, Field(min_length=1)]
CommandLine = Annotated[str, Field(min_length=1, max_length=100_000)]
Number = int | str
"""The later form also writes numbers as strings, and as strings with placeholders."""


def _usual_name(value: Any) -> Any:
    return ALIASES.get(value, value) if isinstance(value, str) else value


TensorType = Annotated[
    Literal[
        "float",
        "double",
        "float16",
        "int8_t",
        "int16_t",
        "int",
        "int64_t",
        "uint8_t",
        "uint16_t",
        "bool",
        "string",
    ],
    BeforeValidator(_usual_name),
]


class SpecModel(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class TestFile(SpecModel):
    """A file of a test in the later form of specifications."""

    __test__ = False  # not a test of ours, whatever pytest makes of the name

    filename: Text
    location: Text
    md5: MD5 | None = None


def _kind_of_paths(value: Any) -> str:
    if isinstance(value, list):
        return "paths"
    return "file" if isinstance(value, dict | TestFile) else "path"


def _kind_of_commands(value: Any) -> str:
    return "templates" if isinstance(value, list) else "options"


PathOrPaths = Annotated[
    Annotated[str, Tag("path")]
    | Annotated[list[str], Field(min_length=1), Tag("paths")]
    | Annotated[TestFile, Tag("file")],
    Discriminator(_kind_of_paths),
]
Templates = Annotated[list[CommandLine], Field(min_length=1)]
"""Command lines with placeholders (``programs.command_template``)."""
CommandsOrTemplates = Annotated[
    Annotated[Commands, Tag("options")] | Annotated[Templates, Tag("templates")],
    Discriminator(_kind_of_commands),
]


class ShellCommands(SpecModel):
    """Shell commands of the later form, which run on the machine of the harness before or after a test."""

    commands: Templates


class PlatformArguments(SpecModel):
    """How the later form starts a program."""

    taskset: Annotated[str, Field(pattern=r"^(0[xX])?[0-9a-fA-F]{1,64}$")] | None = None
    """The cores that the program may use: a hexadecimal mask, bit 0 is core 0."""
    sleep_before_run: Seconds | None = None

    @property
    def affinity_mask(self) -> int | None:
        """0: the mask contains no core."""
        return None if self.taskset is None else int(self.taskset, 16)


class FileSpec(SpecModel):
    """One file of a model and its source."""

    filename: str
    location: str
    """See ``specs.location``."""
    md5: MD5 | None = None
    """None or empty: the file is not checked, and its hash is recorded with the result."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")] | None = None


Value = int | float


class RandomSpec(SpecModel):
    """Random values, the same in each run and for every program."""

    distribution: Literal["uniform", "normal"] = "uniform"
    minimum: Value | None = None
    """No value is smaller. With ``normal``, smaller values are set to it. 0 by default for ``uniform``."""
    maximum: Value | None = None
    """No value is larger; whole numbers may be equal. 1 by default for ``uniform``."""
    mean: Value = 0
    deviation: Annotated[Value, Field(ge=0)] = 1
    """The standard deviation."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0


class ImageSpec(SpecModel):
    """How the pixels of an image become values: ``(pixel * white / 255 - mean) / std``, by channel."""

    layout: Literal["NCHW", "NHWC", "CHW", "HWC"]
    """The dimensions of the shape for the channels (1 or 3), the height and the width; N is 1."""
    resize: Literal["stretch", "crop"] = "stretch"
    """``crop``: uses the middle of the image, in the shape's proportions."""
    colors: Literal["RGB", "BGR"] = "RGB"
    white: Annotated[Value, Field(gt=0)] | None = None
    """The value of the brightest pixel, before mean and std; None: 1 for floating-point types, 255 for
    others.
    """
    mean: Annotated[list[Value], Field(min_length=1, max_length=3)] | None = None
    std: Annotated[list[Annotated[Value, Field(gt=0)]], Field(min_length=1, max_length=3)] | None = None


class InputSpec(SpecModel):
    """The shapes of one input blob. Each of several shapes is a test of its own."""

    shapes: Annotated[list[Shape], Field(min_length=1)]
    type: TensorType = "float"
    random: RandomSpec | None = None
    """None: noise of the program, if there is no file."""
    image: ImageSpec | None = None
    """For ``input_files`` that are images."""


class OutputSpec(SpecModel):
    """Shape and type of an output blob, as documentation."""

    shapes: list[Shape] = Field(default_factory=list)
    type: str = "float"


class ToleranceSpec(SpecModel):
    """An output passes if ``|output - golden| <= atol + rtol * |golden|``."""

    atol: Annotated[float, Field(ge=0)] = 0.0
    rtol: Annotated[float, Field(ge=0)] = 0.0


Files = Annotated[dict[str, FileSpec], Field(min_length=1)]
"""Maps the role of each file in the model to the file: ``init``, ``predict``, ``model`` ..."""


class FormatSpec(SpecModel):
    """The files of a model in one of its formats."""

    files: Files


class ModelSpec(SpecModel):
    """A model in one format (``format`` and ``files``) or in several (``formats``, by the format's name)."""

    name: Annotated[str, Field(min_length=1)]
    format: Annotated[str, Field(min_length=1)] = ""
    """For a model in several formats, the chosen format (``in_format``); empty before that."""
    files: Files = Field(default_factory=dict)
    formats: Annotated[dict[str, FormatSpec], Field(min_length=1)] = Field(default_factory=dict)
    category: str | None = None
    description: str | None = None
    kind: str | None = None
    group: str | None = None
    inputs: dict[str, InputSpec] | None = None
    outputs: dict[str, OutputSpec] | None = None
    commands: Commands = Field(default_factory=dict)

    # The later form:
    cooldown: Seconds | None = None
    """The time that the device may take to become steady, before each test."""
    timeout: Annotated[float, Field(gt=0, le=10**6)] | None = None
    """The limit of a run of the program, in seconds."""
    repeat: Annotated[int, Field(ge=1, le=LARGEST_COUNT)] = 1
    """The number of runs of each test; ``{INDEX}`` is the number of the run, from 0."""
    command_args: CommandLine | None = None
    """Further words for each command line of a test; usually they come from a suite's ``meta``."""
    preprocess: ShellCommands | None = None
    postprocess: ShellCommands | None = None
    batch_size: Number | None = None
    total_images: Number | None = None
    images_per_iter: Number | None = None
    images_per_batch: Number | None = None
    dataset_dir: str | None = None
    dataset_ann: str | None = None
    log_output: str | bool | None = None

    @property
    def variables(self) -> dict[str, str]:
        """The values that command templates may use, by their placeholders."""
        names = (
            *("name", "repeat", "batch_size", "total_images", "images_per_iter", "images_per_batch"),
            *("dataset_dir", "dataset_ann"),
        )
        return {name: str(value) for name in names if (value := getattr(self, name)) is not None}

    @property
    def format_names(self) -> tuple[str, ...]:
        """All formats that the model has, in the order of the file."""
        return tuple(self.formats) or (self.format,)

    @property
    def files_path(self) -> str:
        """The location of the chosen format's files in the specification, as in ``$.model.files``."""
        return f"$.model.formats.{self.format}.files" if self.formats else "$.model.files"

    def in_format(self, name: str) -> ModelSpec:
        """The same model in one of ``format_names``."""
        if name == self.format:
            return self
        return self.model_copy(update={"format": name, "files": self.formats[name].files})


class TestSpec(SpecModel):
    __test__ = False  # not a test of ours, whatever pytest makes of the name

    identifier: Annotated[str, Field(min_length=1)]
    metric: Literal["delay", "error", "power", "accuracy"]
    iter: Annotated[int, Field(ge=1, le=LARGEST_COUNT)]
    warmup: Annotated[int, Field(ge=0, le=LARGEST_COUNT)] = 0
    inputs: Annotated[dict[str, InputSpec], Field(min_length=1)] | None = None
    """The default is the model's ``inputs``."""
    input_files: dict[str, PathOrPaths] = Field(default_factory=dict)
    output_files: dict[str, PathOrPaths] = Field(default_factory=dict)
    commands: CommandsOrTemplates = Field(default_factory=dict)
    tolerance: ToleranceSpec | None = None

    # The later form:
    arguments: CommandLine | Templates | None = None
    """As ``commands`` if those are templates."""
    platform_args: PlatformArguments = PlatformArguments()
    preprocess: ShellCommands | None = None
    postprocess: ShellCommands | None = None
    log_output: str | bool | None = None
    method: str | None = None
    """For the metric power, like the two after it, which is not supported here."""
    collection_time: Seconds | None = None
    voltage: float | None = None

    @property
    def options(self) -> Commands:
        """The options of the program, by framework."""
        return self.commands if isinstance(self.commands, dict) else {}

    @property
    def templates(self) -> dict[str, str]:
        """The command lines of the later form, by their location in the test."""
        found = {}
        for key, value in (("commands", self.commands), ("arguments", self.arguments)):
            if isinstance(value, str):
                found[key] = value
            elif isinstance(value, list):
                found |= {f"{key}[{number}]": text for number, text in enumerate(value)}
        return found


class BenchmarkSpec(SpecModel):
    """One benchmark file: a model and its tests."""

    model: ModelSpec
    tests: Annotated[list[TestSpec], Field(min_length=1)]


class SuiteSpec(SpecModel):
    """A list of benchmark files; ``meta`` is merged into each model, whose own values take precedence."""

    meta: dict[str, str] = Field(default_factory=dict)
    benchmarks: Annotated[list[str], Field(min_length=1)]
