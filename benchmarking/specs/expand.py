"""Expands checked specifications to single test cases. Pure: nothing is read or downloaded here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarking.errors import Fault, SpecificationError
from benchmarking.results.plain_text import plain
from benchmarking.specs import input_rules, later_form, location
from benchmarking.specs.later_form import ShellRun, TemplateRun
from benchmarking.specs.location import Location
from benchmarking.specs.model import (
    Commands,
    ImageSpec,
    InputSpec,
    ModelSpec,
    OptionValue,
    PathOrPaths,
    RandomSpec,
    TestSpec,
    ToleranceSpec,
)
from benchmarking.specs.reader import LoadedBenchmark

ID_PLACEHOLDER = "{ID}"
LARGEST_EXPANSION = 2**26
"""The limit on the characters of all cases of a test together, without its shapes and lists of files."""


@dataclass(frozen=True)
class InputBlob:
    """One input of one test case: read from ``file``, or filled with noise of ``shape``."""

    name: str
    shape: tuple[int, ...]
    type: str
    file: Location | None = None
    random: RandomSpec | None = None
    image: ImageSpec | None = None
    """How ``file``, an image, becomes values."""

    @property
    def is_given(self) -> bool:
        """Whether its values come from the specification, rather than from the program."""
        return self.file is not None or self.random is not None


@dataclass(frozen=True)
class TestCase:
    """One test of one model, ready to be run: one shape, one set of files."""

    __test__ = False

    model: ModelSpec
    """The model in the format that runs; until a format is chosen, the first of several."""
    specification: Path
    """The benchmark file of the case."""
    model_files: Mapping[str, Location]
    """The files of that format, by the key of ``model.files``."""
    json_path: str
    """The location in that file, as in ``$.tests[0]``."""
    identifier: str
    """Unique among the cases of the same model and metric."""
    metric: str
    iterations: int
    warmup: int
    inputs: tuple[InputBlob, ...]
    golden_files: Mapping[str, Location]
    """The files with the expected values, by output blob; empty if the metric needs none."""
    commands: Mapping[str, Mapping[str, OptionValue]]
    """Options of the program by framework, merged from the model and the test; a framework uses its own."""
    tolerance: ToleranceSpec | None = None
    formats: Mapping[str, Mapping[str, Location]] = field(default_factory=dict)
    """The ``model_files`` of each format of a model with several formats; empty if there is only one."""
    template: TemplateRun | None = None
    """In place of inputs and options."""
    affinity_mask: int | None = None
    """The cores that the program may use: bit 0 is core 0."""
    cooldown_s: float | None = None
    """How long the device may take to become steady before the test."""
    timeout_s: float | None = None
    """Of a run of the program."""
    shell: ShellRun | None = None
    refusal: str | None = None
    """Why the test is not run; None: it is."""
    are_hashes_new: bool = False
    """The hashes of the model's files were computed from these files in this run."""

    def in_first_format_of(self, formats: Sequence[str]) -> TestCase:
        """The case with its model in the first of these formats (``FrameworkBase.formats``) that it has.

        Returns the case itself if the model has none of them, or if any format is right.
        """
        chosen = next((name for name in formats if name in self.formats), None)
        if chosen is None:
            return self
        return replace(self, model=self.model.in_format(chosen), model_files=self.formats[chosen])

    @property
    def label(self) -> str:
        """The name that people use for the case, on one line and without control characters."""
        return plain(f"{self.model.name} {self.metric} {self.identifier}")


def expand(
    loaded: Sequence[LoadedBenchmark], root_model_dir: Path | None, *, allow_commands: bool = False
) -> tuple[TestCase, ...]:
    """Every test as one case per shape or set of files, in the order of the files.

    What is not run at all, such as the metric ``power``, is a single case with its ``refusal``.

    Each of several shapes becomes a case, in order. The i-th files of all lists belong together; a single
    path belongs to every case. ``{ID}`` is the running number, from 0, of the case in its benchmark file.

    Args:
        allow_commands: whether tests with shell commands before or after them are run.

    Raises:
        SpecificationError: with every fault of every test.
    """
    faults: dict[Fault, None] = {}
    cases: list[TestCase] = []
    for benchmark in loaded:
        cases += _BenchmarkExpansion(benchmark, root_model_dir, faults, allow_commands).cases()
    faults |= dict.fromkeys(_duplicates(cases))
    if faults:
        raise SpecificationError(tuple(faults))
    return tuple(cases)


def _duplicates(cases: Sequence[TestCase]) -> list[Fault]:
    seen: dict[tuple[str, str, str], TestCase] = {}
    faults = []
    for case in cases:
        first = seen.setdefault((case.model.name, case.metric, case.identifier), case)
        if first is not case:
            message = (
                f"the identifier {case.identifier!r} already names the case of {first.specification} "
                f"{first.json_path}; add {ID_PLACEHOLDER} to it, or choose another identifier"
            )
            faults.append(Fault(str(case.specification), f"{case.json_path}.identifier", message))
    return faults


class _BenchmarkExpansion:
    """One benchmark file: counts its cases and collects its faults, each of them once."""

    def __init__(
        self,
        loaded: LoadedBenchmark,
        root_model_dir: Path | None,
        faults: dict[Fault, None],
        allow_commands: bool,
    ) -> None:
        self._path = loaded.path
        self._spec = loaded.spec
        self._are_hashes_new = loaded.are_hashes_new
        self._root_model_dir = root_model_dir
        self._faults = faults
        self._allow_commands = allow_commands
        self._next_number = 0
        self._files: Mapping[str, Mapping[str, Location]] = {}
        """The files of the model, by format."""

    def cases(self) -> list[TestCase]:
        refusals = [
            later_form.refusal(self._spec.model, test, allow_commands=self._allow_commands)
            for test in self._spec.tests
        ]
        if not all(refusals):
            self._files = {
                name: self._model_files(self._spec.model.in_format(name))
                for name in self._spec.model.format_names
            }
        return [
            case
            for index, (test, refusal) in enumerate(zip(self._spec.tests, refusals, strict=True))
            for case in self._test_cases(test, f"$.tests[{index}]", refusal)
        ]

    def _model_files(self, model: ModelSpec) -> Mapping[str, Location]:
        return {
            key: self._resolve(file.location, f"{model.files_path}.{key}.location")
            for key, file in model.files.items()
        }

    def _test_cases(self, test: TestSpec, json_path: str, refusal: str | None) -> list[TestCase]:
        if refusal is not None:
            return [replace(self._case(test, json_path, {}, 0, 0), refusal=refusal)]
        known_faults = len(self._faults)
        self._check_affinity(test, json_path)
        if test.templates:
            return self._template_cases(test, json_path, known_faults)
        inputs = test.inputs if test.inputs is not None else self._spec.model.inputs
        if inputs is None:
            self._fault(f"{json_path}.inputs", "missing: neither the test nor the model has inputs")
            return []
        self._check_outputs(test, json_path)
        for blob in test.input_files.keys() - inputs.keys():
            known = ", ".join(inputs)
            self._fault(f"{json_path}.input_files.{blob}", f"{blob!r} is not among the inputs: {known}")
        for blob, one in inputs.items():
            here = f"{json_path}.inputs.{blob}"
            for where, message in input_rules.problems(one, has_file=blob in test.input_files):
                self._fault(f"{here}.{where}", message)
        shape_count = self._common_count(
            {f"{json_path}.inputs.{blob}.shapes": len(one.shapes) for blob, one in inputs.items()}, "shapes"
        )
        file_count = self._common_count(
            {
                f"{json_path}.{kind}.{blob}": len(paths)
                for kind, files in (("input_files", test.input_files), ("output_files", test.output_files))
                for blob, paths in files.items()
                if isinstance(paths, list)
            },
            "files",
        )
        if file_count > 1 and shape_count not in (1, file_count):
            self._fault(
                json_path,
                f"{shape_count} shapes and {file_count} files: give one shape, or one for each file",
            )
        count = max(shape_count, file_count)
        if count * self._spec.model.repeat * self._characters_per_case(test, inputs) > LARGEST_EXPANSION:
            self._fault(json_path, f"{count} cases with so many inputs and options are too many")
        if len(self._faults) > known_faults:
            return []
        return [
            self._case(test, json_path, inputs, index, repetition)
            for repetition in range(self._spec.model.repeat)
            for index in range(count)
        ]

    def _check_outputs(self, test: TestSpec, json_path: str) -> None:
        if test.metric == "error" and not test.output_files:
            self._fault(f"{json_path}.output_files", "missing: the metric error compares with golden outputs")
        if test.metric != "error":
            for key in ("output_files", "tolerance"):
                if getattr(test, key):
                    self._fault(f"{json_path}.{key}", "only the metric error uses it; remove it")

    def _characters_per_case(self, test: TestSpec, inputs: Mapping[str, InputSpec]) -> int:
        """The characters that each case of a test adds, for any number of cases."""
        options = [
            text
            for commands in (self._spec.model.commands, test.options)
            for by_name in commands.values()
            for name, value in by_name.items()
            for text in (name, str(value))
        ]
        files = [*test.input_files.items(), *test.output_files.items()]
        paths = [path for _, path in files if isinstance(path, str)]
        texts = [
            test.identifier,
            *test.templates.values(),
            *inputs,
            *(blob for blob, _ in files),
            *paths,
            *options,
        ]
        return sum(len(text) + 1 for text in texts)

    def _common_count(self, counts: Mapping[str, int], what: str) -> int:
        """The number of ``what``; 1 if there are none. All must have the same number as the first."""
        if not counts:
            return 1
        first_path, first_count = next(iter(counts.items()))
        for json_path, count in counts.items():
            if count != first_count:
                self._fault(
                    json_path, f"{count} {what}, but {first_path} has {first_count}: give the same number"
                )
        return first_count

    def _template_cases(self, test: TestSpec, json_path: str, known_faults: int) -> list[TestCase]:
        run = later_form.TemplateReader(self._spec.model, test, json_path, self._fault, self._resolve).run()
        count = self._spec.model.repeat
        if count * self._characters_per_case(test, {}) > LARGEST_EXPANSION:
            self._fault(json_path, f"{count} cases with so many inputs and options are too many")
        if run is None or len(self._faults) > known_faults:
            return []
        return [
            replace(
                self._case(test, json_path, {}, 0, repetition),
                template=replace(run, variables={**run.variables, later_form.INDEX: str(repetition)}),
            )
            for repetition in range(count)
        ]

    def _check_affinity(self, test: TestSpec, json_path: str) -> None:
        if test.platform_args.affinity_mask == 0:
            self._fault(f"{json_path}.platform_args.taskset", "the mask has no core in it")

    def _case(
        self,
        test: TestSpec,
        json_path: str,
        inputs: Mapping[str, InputSpec],
        index: int,
        repetition: int,
    ) -> TestCase:
        """``index``: of the shape, or of the set of files."""
        number = str(self._next_number)
        self._next_number += 1

        def fill_in(text: str) -> str:
            return text.replace(ID_PLACEHOLDER, number)

        def file_of(kind: str, blob: str, paths: PathOrPaths) -> Location:
            many = paths if isinstance(paths, list) else [paths]
            path = many[index % len(many)]
            text = path if isinstance(path, str) else path.location
            return self._resolve(fill_in(text), f"{json_path}.{kind}.{blob}")

        model, first = self._spec.model, self._spec.model.format_names[0]
        own_files = (
            {}
            if test.templates or not inputs
            else {
                kind: {blob: file_of(kind, blob, paths) for blob, paths in files.items()}
                for kind, files in (("input", test.input_files), ("output", test.output_files))
            }
        )
        return TestCase(
            model=model.in_format(first),
            specification=self._path,
            model_files=self._files.get(first, {}),
            formats=self._files if model.formats else {},
            json_path=json_path,
            identifier=fill_in(test.identifier).replace(f"{{{later_form.INDEX}}}", str(repetition)),
            metric=test.metric,
            iterations=test.iter,
            warmup=test.warmup,
            inputs=tuple(
                InputBlob(
                    name=blob,
                    shape=tuple(one.shapes[index % len(one.shapes)]),
                    type=one.type,
                    file=own_files["input"].get(blob),
                    random=one.random,
                    image=one.image,
                )
                for blob, one in inputs.items()
            ),
            golden_files=own_files.get("output", {}),
            commands=_merged(model.commands, test.options, fill_in),
            tolerance=test.tolerance,
            affinity_mask=test.platform_args.affinity_mask,
            cooldown_s=later_form.cooldown_s(model, test),
            timeout_s=model.timeout,
            are_hashes_new=self._are_hashes_new,
            shell=later_form.shell_run(model, test, repetition) if self._allow_commands else None,
        )

    def _resolve(self, text: str, json_path: str) -> Location:
        try:
            return location.resolve(text, self._path, self._root_model_dir)
        except ValueError as error:
            self._fault(json_path, str(error))
            return Location(text)

    def _fault(self, json_path: str, message: str) -> None:
        self._faults[Fault(str(self._path), json_path, message)] = None


def _merged(
    model: Commands, test: Commands, fill_in: Callable[[str], str]
) -> Mapping[str, Mapping[str, OptionValue]]:
    """The options of the test override those of the model."""
    return {
        framework: {
            name: fill_in(value) if isinstance(value, str) else value
            for name, value in {**model.get(framework, {}), **test.get(framework, {})}.items()
        }
        for framework in {**model, **test}
    }
