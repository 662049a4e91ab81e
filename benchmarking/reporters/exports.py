"""The values of a run in the formats of other programs: one small function for each."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from benchmarking.errors import ReporterError
from benchmarking.files import atomic_file
from benchmarking.records.saved_comparison import RATIO, SavedComparison
from benchmarking.records.series import Series, SeriesKey
from benchmarking.reporters.file_reporter import FileReporter
from benchmarking.reporters.reporter_base import RunSummary
from benchmarking.reporters.settings import Export, ExportFormat
from benchmarking.results.model import NET_DELAY, Result, TestKey, TypeResult, by_test
from benchmarking.results.plain_text import plain, plain_lines

DIGITS = 4
"""Significant digits in OpenMetrics: GitLab shows every value that differs as text as a change."""
LONGEST_NAME = 1024
"""Characters; Bencher refuses more."""


@dataclass(frozen=True)
class Exported:
    """A value; lower is better."""

    labels: Mapping[str, str]
    """net, test, type, device, framework, backend: those that apply."""
    unit: str
    """``us``; empty for an error, which has none."""
    value: float
    low: float | None = None
    high: float | None = None
    ratio: float | None = None
    """Divided by the control, or by BASE."""
    note: str = ""
    """The verdict, for people."""

    @property
    def name(self) -> str:
        """``squeezenet delay-0 on Linux-x86_64-Example, caffe2``."""
        what, where = (
            [self.labels[name] for name in names if name in self.labels]
            for names in (("net", "test", "type"), ("device", "framework", "backend"))
        )
        return f"{' '.join(what)} on {', '.join(where)}"[:LONGEST_NAME]


# --- what is exported ---------------------------------------------------------------------------------------


def of_results(results: Iterable[Result]) -> list[Exported]:
    """The delays of nets and the errors of outputs, of the first stage of each test that did not fail.

    The verdict is that of both stages, where there was a second one.
    """
    return [
        _of_type(stages, one)
        for stages in by_test(results)
        for one in stages[0].types
        if stages[0].failure is None and (one.type == NET_DELAY or one.error)
    ]


def _of_type(stages: Sequence[Result], one: TypeResult) -> Exported:
    result = stages[0]
    confirmations = [
        again.confirmation for stage in stages for again in stage.types if again.type == one.type
    ]
    judged = next(filter(None, confirmations), one.judged)
    interval = None if one.error else one.summary.median_interval
    return Exported(
        _labels(result.test, one.type, result.device.name),
        unit=one.unit,
        value=one.error.max_absolute if one.error else one.summary.p50,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        ratio=one.ratio,
        note=f"{judged.verdict}: {judged.reason}" if judged else "",
    )


def of_series(series: Iterable[Series]) -> list[Exported]:
    """The newest commit of each."""
    newest = [(one, one.points[-1]) for one in series]
    return [
        Exported(
            _series_labels(one.key), one.unit, point.value, ratio=point.ratio, note=str(point.verdict or "")
        )
        for one, point in newest
    ]


def of_comparison(comparison: SavedComparison) -> list[Exported]:
    """HEAD, without what is only known as a ratio to a control."""
    return [
        Exported(
            _series_labels(row.key),
            unit=row.unit,
            value=row.head,
            ratio=row.judgement.ratio,
            note=f"{row.judgement.finding}: {row.judgement.reason}",
        )
        for row in comparison.rows
        if row.unit != RATIO
    ]


def _series_labels(key: SeriesKey) -> dict[str, str]:
    return _labels(key.test, key.type, key.platform)


def _labels(test: TestKey, kind: str, device: str) -> dict[str, str]:
    labels = {
        "net": test.net,
        "test": test.identifier,
        "type": "" if kind == NET_DELAY else kind,
        "device": device,
        "framework": test.framework,
        "backend": test.backend or "",
    }
    return {name: plain(value) for name, value in labels.items() if value}


# --- the formats --------------------------------------------------------------------------------------------


def github_action_benchmark(values: Sequence[Exported]) -> str:
    """For its tool ``customSmallerIsBetter``."""
    entries = []
    for one in values:
        entry = {"name": one.name, "unit": one.unit, "value": one.value}
        if one.low is not None and one.high is not None:
            entry["range"] = f"± {(one.high - one.low) / 2:.{DIGITS}g}"
        notes = [f"treatment/control {one.ratio:.{DIGITS}g}" if one.ratio is not None else "", one.note]
        if extra := "\n".join(filter(None, notes)):
            entry["extra"] = plain_lines(extra)
        entries.append(entry)
    return json.dumps(entries, indent=2, ensure_ascii=False) + "\n"


def bencher(values: Sequence[Exported]) -> str:
    """Bencher's metric format, for its adapter ``json``; its measure ``latency`` is in nanoseconds."""
    benchmarks = {}
    for one in values:
        measure, scale = ("latency", 1000.0) if one.unit == "us" else ("max-absolute-error", 1.0)
        numbers = {"value": one.value, "lower_value": one.low, "upper_value": one.high}
        known = {name: number * scale for name, number in numbers.items() if number is not None}
        benchmarks[one.name] = {measure: known}
    return json.dumps(benchmarks, indent=2, ensure_ascii=False) + "\n"


def open_metrics(values: Sequence[Exported]) -> str:
    """Version 1 of the text format."""
    delays = [(one, one.value / 1e6) for one in values if one.unit == "us"]
    errors = [(one, one.value) for one in values if one.unit != "us"]
    ratios = [(one, one.ratio) for one in values if one.ratio is not None and math.isfinite(one.ratio)]
    lines = [
        *_family("benchmark_delay_seconds", "seconds", "The median time of an iteration.", delays),
        *_family("benchmark_error", "", "The largest absolute error of an output.", errors),
        *_family("benchmark_relative_ratio", "ratio", "The value divided by that of the control.", ratios),
        "# EOF",
    ]
    return "\n".join(lines) + "\n"


def _family(name: str, unit: str, meaning: str, values: Sequence[tuple[Exported, float]]) -> list[str]:
    if not values:
        return []
    units = [f"# UNIT {name} {unit}"] if unit else []
    return [
        f"# TYPE {name} gauge",
        *units,
        f"# HELP {name} {meaning}",
        *(f"{name}{{{_label_text(one)}}} {value:.{DIGITS}g}" for one, value in values),
    ]


_ESCAPED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def _label_text(one: Exported) -> str:
    return ",".join(f'{name}="{value.translate(_ESCAPED)}"' for name, value in one.labels.items())


FORMATS: Mapping[ExportFormat, Callable[[Sequence[Exported]], str]] = {
    "github_action_benchmark": github_action_benchmark,
    "bencher": bencher,
    "open_metrics": open_metrics,
}


def content(kind: ExportFormat, values: Iterable[Exported]) -> bytes:
    """A whole file. Values that are not finite are left out; of those of one name, the last is kept."""
    finite = {one.name: one for one in values if math.isfinite(one.value)}
    return FORMATS[kind](list(finite.values())).encode("utf-8", "replace")


def write(exports: Iterable[Export], values: Sequence[Exported]) -> None:
    """
    Raises:
        ReporterError: a file cannot be written.
    """
    for one in exports:
        try:
            with atomic_file.writing(one.file) as stream:
                stream.write(content(one.format, values))
        except OSError as error:
            raise ReporterError(f"--export: cannot write {one.file}: {error.strerror or error}") from error


class ExportReporter(FileReporter):
    name: ClassVar[str] = "export"
    content_name: ClassVar[str] = "export"

    def __init__(self, export: Export) -> None:
        """Raises:
        UsageError: the file cannot be written.
        """
        super().__init__(export.file)
        self._format = export.format

    @property
    def destination(self) -> str:
        return f"{self._format} in {self._file}"

    def _content(self, summary: RunSummary | None) -> bytes:
        return content(self._format, of_results(self._results))
