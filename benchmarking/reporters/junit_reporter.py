"""A JUnit XML report: a suite per device, a test case per case."""

from __future__ import annotations

import io
import re
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from benchmarking import atomic_file
from benchmarking.errors import ReporterError
from benchmarking.plain_text import plain
from benchmarking.reporters import destination_file
from benchmarking.reporters.reporter_base import ReporterBase, RunSummary
from benchmarking.results import FailureKind, Result

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold in any form. Attributes, where line breaks get lost, hold less: printable text."""


class JUnitReporter(ReporterBase):
    """Writes the file once, at the end, whole."""

    name: ClassVar[str] = "junit"

    def __init__(self, file: Path) -> None:
        """Raises:
        UsageError: the file's directory cannot be written to.
        """
        self._file = destination_file.checked("--junit", file)
        self._by_device: defaultdict[str, list[Result]] = defaultdict(list)

    def report(self, result: Result) -> None:
        self._by_device[result.meta.platform].append(result)

    def finish(self, summary: RunSummary) -> None:
        from junitparser import JUnitXml

        document = JUnitXml("benchmarks")
        for device, results in self._by_device.items():
            document.add_testsuite(_suite(device, results))
        content = io.BytesIO()
        document.write(content, pretty=True)
        try:
            with atomic_file.writing(self._file) as stream:
                stream.write(content.getvalue())
        except OSError as error:
            raise ReporterError(f"cannot write {self._file}: {error.strerror or error}") from error

    @property
    def destination(self) -> str | None:
        return f"JUnit report in {self._file}"


def _suite(device: str, results: list[Result]) -> Any:
    from junitparser import TestSuite

    suite = TestSuite(plain(device))
    first = results[0].meta
    suite.timestamp = datetime.fromtimestamp(first.time - results[0].duration_s, UTC).isoformat(
        timespec="seconds"
    )
    suite.hostname = plain(str(first.device.get("host_name", device)))
    properties = {"commit": first.commit, "control_commit": first.control_commit, **first.device}
    for name, value in properties.items():
        if value is not None:
            suite.add_property(name, plain(str(value)))
    suite.add_testcases([_case(result) for result in results])
    return suite


def _case(result: Result) -> Any:
    from junitparser import Error, Failure, TestCase

    meta = result.meta
    on = f" on {meta.backend}" if meta.cell and meta.backend else ""
    case = TestCase(
        plain(f"{meta.metric} {meta.identifier}{on}"),
        plain(meta.net_name),
        round(result.duration_s, 3),
    )
    if result.failure:
        kind = Failure if result.failure.kind is FailureKind.CASE else Error
        problem = kind(plain(result.failure.message), result.failure.error)
        problem.text = _FORBIDDEN.sub("?", result.failure.evidence)
        case.result = [problem]
    elif result.regressed_types:
        case.result = [Failure(plain("regressed: " + ", ".join(result.regressed_types)), "Regression")]
    notes = [
        f"{one.type}: {judged.verdict}: {judged.reason}" for one in result.types if (judged := one.judged)
    ]
    notes += [f"tainted: {reason}" for reason in meta.tainted]
    if notes:
        case.system_out = "\n".join(map(plain, notes))
    return case
