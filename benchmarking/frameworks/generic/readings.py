"""Reads the times from a program's output, in a named form or in a form that the specification describes."""

from __future__ import annotations

import json
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from benchmarking.bounds import parse_json
from benchmarking.errors import ProgramOutputError
from benchmarking.frameworks.generic import json_path
from benchmarking.frameworks.program_output import microseconds
from benchmarking.results.plain_text import plain

LONGEST_LINE = 4096
"""The number of characters that a pattern is matched with; longer lines are skipped."""
LONGEST_S = 10.0
"""The time limit of a pattern for all lines of a stream, because Python's ``re`` has no limit of its own."""
MOST_DOCUMENTS = 100
"""The number of positions in a text that are tried as the beginning of a JSON document."""

_DOCUMENT = re.compile(r"^[\[{]|[\[{]$", re.MULTILINE)
_NESTED_REPEAT = re.compile(r"\)[*+{]")
_ESCAPES_AND_CLASSES = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\\?(?:\]|\Z)")


@dataclass(frozen=True)
class Readings:
    """The readings of one stream of text."""

    samples_us: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """By benchmark, in the order of the text. A program with only one may leave its name empty: ""."""
    is_mean: bool = False
    """The program prints a mean of its iterations instead of each of them."""

    @property
    def count(self) -> int:
        return sum(map(len, self.samples_us.values()))


class Form(ABC):
    """A form in which numbers are printed."""

    exact: bool = True
    """Whether the program runs exactly the requested number of times; otherwise at least that number."""

    @abstractmethod
    def read(self, text: str) -> Readings:
        """
        Raises:
            ProgramOutputError: what is there is not a time.
        """


class _Samples:
    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}

    def add(self, name: str, value: object, unit: str) -> None:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ProgramOutputError(f"{plain(repr(value)[:40])} is found where a time is expected")
        delay = microseconds(str(value), unit)
        if isinstance(delay, str):
            raise ProgramOutputError(delay)
        self._values.setdefault(name, []).append(delay)

    def readings(self, *, is_mean: bool = False) -> Readings:
        return Readings({name: tuple(values) for name, values in self._values.items()}, is_mean)


# --- JSON ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class JsonForm(Form):
    """All JSON documents in a text with such times; each begins at the beginning or the end of a line."""

    times: str
    """The path of the times, in each benchmark."""
    benchmarks: str = "$"
    """The path of the benchmarks."""
    name: str = ""
    """The path of a benchmark's name, in it."""
    unit: str = "s"
    """The unit itself, or its path in a benchmark if it begins with ``$``; the part after ``/`` is ignored.
    """
    only: tuple[str, str] | None = None
    """A key of a benchmark, and the value that it has in the benchmarks that are used."""
    exact: bool = True

    def read(self, text: str) -> Readings:
        samples = _Samples()
        for document in _documents(text):
            self._add(document, samples)
        return samples.readings()

    def _add(self, document: object, samples: _Samples) -> None:
        for benchmark in json_path.values(document, json_path.parse(self.benchmarks)):
            if self.only and _text(benchmark, self.only[0]) != self.only[1]:
                continue
            name = _text(benchmark, self.name) if self.name else ""
            unit = _text(benchmark, self.unit) if self.unit.startswith("$") else self.unit
            for value in json_path.values(benchmark, json_path.parse(self.times)):
                samples.add(name, value, unit.partition("/")[0])


def _text(benchmark: object, path: str) -> str:
    value = next(json_path.values(benchmark, json_path.parse(path)), "")
    return value if isinstance(value, str) else ""


def _documents(text: str) -> Iterator[object]:
    decoder = json.JSONDecoder()
    at, tried = 0, 0
    while tried < MOST_DOCUMENTS and (match := _DOCUMENT.search(text, at)):
        tried += 1
        try:
            _, end = decoder.raw_decode(text, match.start())
            yield parse_json(text[match.start() : end])
        except (ValueError, RecursionError):  # some other text, or too deep
            end = match.end()
        at = end


# --- lines --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PatternForm(Form):
    """The group ``value`` of a regular expression, at each match in a line; the groups ``unit`` and ``name``,
    if present, belong to that value.
    """

    pattern: re.Pattern[str]
    unit: str = ""

    @classmethod
    def of(cls, pattern: str, unit: str) -> PatternForm:
        """
        Raises:
            ValueError: it cannot be used. One line.
        """
        try:
            compiled = re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(f"it is not a Python regular expression: {error}") from None
        if "value" not in compiled.groupindex:
            raise ValueError("it has no group (?P<value>...), which is the time")
        if _NESTED_REPEAT.search(_ESCAPES_AND_CLASSES.sub("x", pattern)):
            raise ValueError(
                "a group is repeated in it, which may take forever; repeat single characters only"
            )
        return cls(compiled, unit)

    def read(self, text: str) -> Readings:
        samples = _Samples()
        groups = self.pattern.groupindex
        start = time.monotonic()
        for line in text.splitlines():
            if time.monotonic() - start > LONGEST_S:
                raise ProgramOutputError(f"the pattern took longer than {LONGEST_S:g} s; make it simpler")
            if len(line) > LONGEST_LINE:
                continue
            for match in self.pattern.finditer(line):
                if match["value"] is not None:
                    unit = (match["unit"] if "unit" in groups else None) or self.unit
                    samples.add((match["name"] if "name" in groups else None) or "", match["value"], unit)
        return samples.readings()


class BenchmarkModelForm(Form):
    """TFLite's ``benchmark_model`` and its successors from LiteRT, which print a mean. They run until at
    least a second is over.
    """

    exact = False
    _MEAN = re.compile(r"nference timings in us: .*\b(?:Inference(?: \(avg\))?|no stats): ([0-9.e+-]+)")

    def read(self, text: str) -> Readings:
        samples = _Samples()
        for value in self._MEAN.findall(text)[-1:]:
            samples.add("", value, "us")
        return samples.readings(is_mean=True)


class PerfTestForm(Form):
    """``onnxruntime_perf_test``: each iteration with its option ``-v``, otherwise their mean."""

    _ITERATION = re.compile(r"^iteration:\d+,time_cost:([0-9.e+-]+)", re.MULTILINE)
    _MEAN = re.compile(r"^Average (?:inference )?time cost(?: total)?: *([0-9.e+-]+) ms", re.MULTILINE)

    def read(self, text: str) -> Readings:
        samples = _Samples()
        times = self._ITERATION.findall(text)
        for value in times:
            samples.add("", value, "s")
        for value in () if times else self._MEAN.findall(text)[-1:]:
            samples.add("", value, "ms")
        return samples.readings(is_mean=not times)


FORMS: Mapping[str, Form] = {
    "google_benchmark": JsonForm(
        benchmarks="benchmarks[*]",
        name="run_name",
        times="real_time",
        unit="$.time_unit",
        only=("run_type", "iteration"),
    ),
    "hyperfine": JsonForm(benchmarks="results[*]", name="command", times="times[*]"),
    "pyperf": JsonForm(benchmarks="benchmarks[*]", name="metadata.name", times="runs[*].values[*]"),
    "pytest_benchmark": JsonForm(
        benchmarks="benchmarks[*]", name="fullname", times="stats.data[*]", exact=False
    ),
    "jmh": JsonForm(
        benchmarks="$[*]",
        name="benchmark",
        times="primaryMetric.rawData[*][*]",
        unit="$.primaryMetric.scoreUnit",
    ),
    "benchmark_model": BenchmarkModelForm(),
    "onnxruntime_perf_test": PerfTestForm(),
}
"""Maps the name in specifications to the form."""
