"""Screen, Markdown and JUnit: the same runs in each form, held against golden files."""

import io
import os
import pty
import re
import xml.etree.ElementTree as ElementTree

import pytest

from benchmarking.errors import ReporterError, UsageError
from benchmarking.reporters import numbers
from benchmarking.reporters.junit_reporter import JUnitReporter
from benchmarking.reporters.markdown_reporter import MarkdownReporter
from benchmarking.reporters.screen_reporter import ScreenReporter
from benchmarking.results import Interval
from tests.support import golden
from tests.support.sample_results import DELAY, RUNS


def deliver(reporter, run):
    results, summary = RUNS[run]
    for result in results:
        reporter.report(result)
    reporter.finish(summary)


@pytest.mark.parametrize("run", RUNS)
def test_the_screen_when_piped(run):
    stream = io.StringIO()
    deliver(ScreenReporter(stream), run)
    text = stream.getvalue()
    golden.check(text, f"reporters/screen_{run}.txt")
    assert all(character.isprintable() for line in text.splitlines() for character in line)
    assert not any(line.endswith(" ") for line in text.splitlines())


@pytest.mark.parametrize("run", RUNS)
def test_a_narrow_terminal_folds_names_but_never_numbers(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    deliver(ScreenReporter(stream), run)
    text = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())
    assert "\x1b" not in text
    assert all(len(line) <= 80 or "results" in line for line in text.splitlines())
    if run == "passed":
        for number in ("12.6 ms", "4.29 ms", "12.3 to 13.0 ms", "2.5e-07"):
            assert number in text


def test_colour_on_a_terminal_unless_the_user_wants_none(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    for no_color in (False, True):
        if no_color:
            monkeypatch.setenv("NO_COLOR", "1")
        else:
            monkeypatch.delenv("NO_COLOR", raising=False)
        main_end, terminal_end = pty.openpty()
        with os.fdopen(terminal_end, "w") as stream:
            reporter = ScreenReporter(stream)
            reporter.finish(RUNS["passed"][1])
        text = os.read(main_end, 100_000).decode()
        os.close(main_end)
        assert ("\x1b[32m" in text) != no_color


@pytest.mark.parametrize("run", RUNS)
def test_markdown(run, tmp_path):
    deliver(MarkdownReporter(tmp_path / "report.md"), run)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    golden.check(text, f"reporters/markdown_{run}.md")
    outside_of_fences = re.sub(r"^(```+)text\n.*?\n\1$", "", text, flags=re.MULTILINE | re.DOTALL)
    for dangerous in ("<script>", "<b>", "@team"):
        assert dangerous not in outside_of_fences
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in rows}) <= 1


@pytest.mark.parametrize("run", RUNS)
def test_junit(run, tmp_path):
    deliver(JUnitReporter(tmp_path / "report.xml"), run)
    golden.check((tmp_path / "report.xml").read_text(encoding="utf-8"), f"reporters/junit_{run}.xml")
    root = ElementTree.parse(tmp_path / "report.xml").getroot()
    results = RUNS[run][0]
    assert len(root.findall(".//testcase")) == len(results)
    failures = len(root.findall(".//failure")) + len(root.findall(".//error"))
    assert failures == sum(bool(result.failure or result.regressed_types) for result in results)
    assert {suite.get("name") for suite in root.findall("testsuite")} == {
        one.meta.platform for one in results
    }


@pytest.mark.parametrize("kind", [JUnitReporter, MarkdownReporter])
def test_a_report_is_written_at_the_end_whole_or_not_at_all(kind, tmp_path):
    path = tmp_path / "report"
    reporter = kind(path)
    reporter.report(DELAY)
    assert list(tmp_path.iterdir()) == []
    tmp_path.chmod(0o500)
    try:
        if os.geteuid() != 0:
            with pytest.raises(ReporterError):
                reporter.finish(RUNS["passed"][1])
    finally:
        tmp_path.chmod(0o700)
    reporter.finish(RUNS["passed"][1])
    assert [one.name for one in tmp_path.iterdir()] == ["report"]
    assert str(path) in reporter.destination


@pytest.mark.parametrize("kind", [JUnitReporter, MarkdownReporter])
def test_a_place_that_cannot_be_written_is_told_at_once(kind, tmp_path):
    for path in (tmp_path / "missing/report", tmp_path):
        with pytest.raises(UsageError, match=r"--(junit|markdown)"):
            kind(path)


@pytest.mark.parametrize(
    ("value_us", "text"),
    [
        (0.0, "0.00 us"),
        (0.123, "0.12 us"),
        (999.4, "999 us"),
        (12_345.6, "12.3 ms"),
        (1_234_567.0, "1.23 s"),
        (123_456_789.0, "123 s"),
    ],
)
def test_durations(value_us, text):
    assert numbers.duration(value_us) == text


def test_ranges_and_changes():
    assert numbers.duration_range(Interval(950.0, 1050.0, 0.95)) == "0.95 to 1.05 ms"
    assert numbers.percent(1.0311) == "+3.1 %"
    assert numbers.percent(0.95) == "-5.0 %"
    assert numbers.confidence(Interval(0, 1, 0.96875)) == "96.8 %"
    assert numbers.confidence(Interval(0, 1, 0.9999)) == "99.9 %"
