"""Reports in a single file, which is complete at any time."""

from __future__ import annotations

import tempfile
import time
from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

from benchmarking.errors import ReporterError, UsageError
from benchmarking.files import atomic_file
from benchmarking.reporters.reporter_base import ReporterBase, RunSummary
from benchmarking.results.model import Result

QUICK_S = 0.1
"""If the file is written at least this quickly, it is written after every test."""
PAUSE_FACTOR = 20
"""Otherwise it is not written again until this many times the duration of its last writing has passed, so
that a large report does not slow down the run.
"""


class FileReporter(ReporterBase):
    """Writes its file again after each test: if a run is killed, it leaves a valid file with the finished
    tests.
    """

    content_name: ClassVar[str]
    """The name of the file's content, for people."""

    def __init__(self, file: Path) -> None:
        """Raises:
        UsageError: the file cannot be written.
        """
        self._file = _checked(f"--{self.name}", file)
        self._results: list[Result] = []
        self._not_before = 0.0

    def report(self, result: Result) -> None:
        self._results.append(result)

    def begin(self) -> None:
        """Writes the file at once, so that the report of an earlier run is never mistaken for that of this
        run.
        """
        self._write(None)

    def save(self) -> None:
        started = time.monotonic()
        if started < self._not_before:
            return
        self._write(None)
        took_s = time.monotonic() - started
        self._not_before = time.monotonic() + PAUSE_FACTOR * took_s if took_s > QUICK_S else 0.0

    def finish(self, summary: RunSummary) -> None:
        self._write(summary)

    @property
    def destination(self) -> str | None:
        return f"{self.content_name} in {self._file}"

    @abstractmethod
    def _content(self, summary: RunSummary | None) -> bytes | None:
        """Of all results so far; None while there is nothing to write: then there is no file.

        Args:
            summary: None while the run goes on: the content says so.

        Raises:
            ReporterError: there is no such file of these results.
        """

    def _write(self, summary: RunSummary | None) -> None:
        content = self._content(summary)
        try:
            if content is None:
                self._file.unlink(missing_ok=True)
                return
            with atomic_file.writing(self._file) as stream:
                stream.write(content)
        except OSError as error:
            raise ReporterError(f"cannot write {self._file}: {error.strerror or error}") from error


def _checked(option: str, file: Path) -> Path:
    """The absolute path of a file that can be replaced, with all links resolved.

    Raises:
        UsageError: its directory is missing or cannot be written to, or it is not a regular file.
    """
    path = Path(file.absolute())
    if path.is_dir():
        raise UsageError(f"{option}: {file} is a directory; give a file")
    if path.exists() and not path.is_file():
        raise UsageError(f"{option}: {file} is not a regular file and would be replaced; choose another")
    try:
        path = path.resolve()
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{option}: cannot write to {path.parent}: {reason}") from error
    return path
