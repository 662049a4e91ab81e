"""All results of a run as one JSON document."""

from __future__ import annotations

from typing import ClassVar, TextIO

from benchmarking.errors import ReporterError
from benchmarking.reporters import backend_table
from benchmarking.reporters.reporter_base import ReporterBase, RunSummary
from benchmarking.results import documents
from benchmarking.results.documents import Document
from benchmarking.results.model import Result


class JsonReporter(ReporterBase):
    name: ClassVar[str] = "json"

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._results: list[Result] = []

    def report(self, result: Result) -> None:
        self._results.append(result)

    def finish(self, summary: RunSummary) -> None:
        document = Document(
            results=tuple(self._results),
            exit_status=summary.exit_status,
            duration_s=summary.duration_s,
            destinations=tuple(summary.destinations),
            problems=tuple(summary.problems),
            backends=tuple(backend_table.table_json(one) for one in backend_table.tables(self._results)),
        )
        text = documents.dumps(documents.document_json(document))
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError) as error:  # ValueError: the stream is closed
            reason = getattr(error, "strerror", None) or error
            raise ReporterError(f"cannot write the JSON document: {reason}") from error
