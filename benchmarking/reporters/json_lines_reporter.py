"""Each result as one line of JSON as soon as it is available, for programs that follow a run."""

from __future__ import annotations

from typing import Any, ClassVar, TextIO

from benchmarking.errors import ReporterError
from benchmarking.reporters.reporter_base import ReporterBase, RunSummary
from benchmarking.results import documents
from benchmarking.results.model import Result


class JsonLinesReporter(ReporterBase):
    """``{"result": {...}}`` for each result, and at last ``{"end": {...}}``."""

    name: ClassVar[str] = "JSON lines"

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def report(self, result: Result) -> None:
        self._write({"result": documents.result_json(result)})

    def finish(self, summary: RunSummary) -> None:
        end = {
            "exit_status": summary.exit_status,
            "duration_s": summary.duration_s,
            "problems": summary.problems,
        }
        self._write({"end": end})

    def _write(self, value: dict[str, Any]) -> None:
        text = documents.line(value)
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError) as error:  # ValueError: the stream is closed
            reason = getattr(error, "strerror", None) or error
            raise ReporterError(f"cannot write a line of JSON: {reason}") from error
