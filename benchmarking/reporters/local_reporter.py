"""Saves results in files below a directory."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import ClassVar

from benchmarking.errors import ReporterError, UsageError
from benchmarking.records.tree import History
from benchmarking.reporters.reporter_base import ReporterBase
from benchmarking.results.model import Result


class LocalReporter(ReporterBase):
    """The tree of docs/contracts.md, section 4; failed cases are saved in ``.failures`` inside it."""

    name: ClassVar[str] = "local"

    def __init__(self, directory: Path) -> None:
        """Raises:
        UsageError: the directory cannot be written to.
        """
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=directory):
                pass
        except OSError as error:
            raise UsageError(f"--local_reporter: cannot write to {directory}: {error.strerror}") from error
        self._history = History(directory.absolute())
        self._failures = 0

    def report(self, result: Result) -> None:
        try:
            if result.failure is None:
                if not self._history.has(result):
                    self._history.save(result)
            else:
                self._failures += 1
                self._history.save_failure(result)
        except OSError as error:
            raise ReporterError(
                f"cannot save below {self._history.root}: {error.strerror or error}"
            ) from error

    @property
    def destination(self) -> str | None:
        failures = f" (failed tests: {self._history.root / '.failures'})" if self._failures else ""
        return f"results saved in {self._history.root}{failures}"
