"""A JUnit XML report: a suite per device, a test case per test with its stages inside."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from benchmarking.errors import ExitStatus, run_meaning
from benchmarking.reporters.file_reporter import FileReporter
from benchmarking.reporters.reporter_base import RunSummary
from benchmarking.results.model import FailureKind, Result, by_test
from benchmarking.results.plain_text import plain, plain_lines


class JUnitReporter(FileReporter):
    name: ClassVar[str] = "junit"
    content_name: ClassVar[str] = "JUnit report"

    def _content(self, summary: RunSummary | None) -> bytes:
        from junitparser import JUnitXml

        document = JUnitXml("benchmarks")
        by_device: defaultdict[str, list[tuple[Result, ...]]] = defaultdict(list)
        for stages in by_test(self._results):
            by_device[stages[0].test.device].append(stages)
        for tests in by_device.values():
            document.add_testsuite(_suite(tests))
        if problems := _problems(summary, has_results=bool(self._results)):
            document.add_testsuite(_suite_of_problems(problems))
        content = io.BytesIO()
        document.write(content, pretty=True)
        return content.getvalue()


def _problems(summary: RunSummary | None, *, has_results: bool) -> list[str]:
    """The reasons why tests may be missing although every reported test case passed."""
    if summary is None:
        return ["the run has not ended: tests are missing"]
    status = summary.exit_status
    interruption = [run_meaning(status, has_results=has_results)] if status is ExitStatus.INTERRUPTED else []
    return [*summary.problems, *interruption]


def _suite_of_problems(problems: Sequence[str]) -> Any:
    from junitparser import Error, TestCase, TestSuite

    suite, case = TestSuite("run"), TestCase("the run as a whole", "run", 0.0)
    case.result = [Error(plain(problem), "RunProblem") for problem in problems]
    suite.add_testcase(case)
    return suite


def _suite(tests: Sequence[tuple[Result, ...]]) -> Any:
    from junitparser import TestSuite

    first = tests[0][0]
    device, provenance = first.device, first.provenance
    suite = TestSuite(plain(device.name))
    started = datetime.fromtimestamp(provenance.time - first.duration_s, UTC)
    suite.timestamp = started.isoformat(timespec="seconds")
    suite.hostname = plain(str(device.facts.get("host_name", device.name)))
    commits = {"commit": provenance.commit, "control_commit": provenance.control_commit}
    properties = {**commits, **device.facts}
    for name, value in properties.items():
        if value is not None:
            suite.add_property(plain(name), plain(str(value)))
    suite.add_testcases([_case(stages) for stages in tests])
    return suite


def _case(stages: tuple[Result, ...]) -> Any:
    """The outcome of the last stage; the findings of each stage are in the output of the test case."""
    from junitparser import Error, Failure, TestCase

    result = stages[-1]
    test = result.test
    case = TestCase(
        plain(f"{test.metric} {test.identifier}{result.on_arm}"),
        plain(test.net),
        round(sum(stage.duration_s for stage in stages), 3),
    )
    if result.failure:
        kind = Failure if result.failure.kind is FailureKind.CASE else Error
        problem = kind(plain(result.failure.message), result.failure.error)
        problem.text = plain_lines(result.failure.evidence)
        case.result = [problem]
    elif result.regressed_types:
        case.result = [Failure(plain("regressed: " + ", ".join(result.regressed_types)), "Regression")]
    notes = [line for stage in stages for line in _notes(stage, name_it=len(stages) > 1)]
    if notes:
        case.system_out = "\n".join(map(plain, notes))
    return case


def _notes(stage: Result, *, name_it: bool) -> list[str]:
    notes = [
        f"{one.type}: {judged.verdict}: {judged.reason}" for one in stage.types if (judged := one.judged)
    ]
    notes += [f"tainted: {reason}" for reason in stage.device.tainted]
    notes += [f"warning: {text}" for text in stage.warnings]
    if not name_it:
        return notes
    return [f"{stage.provenance.run_type}: {note}" for note in notes or [stage.outcome]]
