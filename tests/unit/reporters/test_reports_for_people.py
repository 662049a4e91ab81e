"""Screen, Markdown and JUnit: the same runs in each form, compared with golden files."""

import io
import itertools
import os
import pty
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len

from benchmarking.errors import ExitStatus, ReporterError, UsageError
from benchmarking.reporters import file_reporter, numbers, operator_rows
from benchmarking.reporters.backend_plot import BackendPlotReporter
from benchmarking.reporters.junit_reporter import JUnitReporter
from benchmarking.reporters.markdown_reporter import MarkdownReporter, markdown
from benchmarking.reporters.screen_reporter import ScreenReporter
from benchmarking.results import documents
from benchmarking.results.model import Comparison, Confirmation, Interval, Kernel, Program, Verdict, by_test
from benchmarking.results.plain_text import plain
from tests.support import golden
from tests.support.sample_results import DELAY, ERROR, FIRST, JUDGED, RUNS, having, on_device


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


@pytest.mark.parametrize(("devices", "is_shown"), [(1, False), (2, True)])
def test_where_tests_ran_is_shown_for_several_devices(devices, is_shown):
    stream = io.StringIO()
    reporter = ScreenReporter(stream)
    for number in range(devices):
        reporter.report(on_device(DELAY, f"phone-{number}", f"{number:012}"))
    reporter.finish(RUNS["passed"][1])
    assert ("missing tests" in stream.getvalue()) is is_shown


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown_on(width, run, monkeypatch, **more):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    deliver(ScreenReporter(stream, **more), run)
    text = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())
    assert "\x1b" not in text
    return text


SHAPE = "1x3x224x224"


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("run", RUNS)
def test_the_screen_fits_and_breaks_neither_names_nor_numbers(run, width, monkeypatch):
    text = shown_on(width, run, monkeypatch)
    assert all(cell_len(line) <= width or "results" in line for line in text.splitlines())
    if run in ("passed", "judged", "backends", "frameworks"):
        golden.check(text, f"reporters/screen_{run}_{width}.txt")
    if run in ("passed", "compared", "judged", "fell_back", "backends", "devices"):
        assert not re.search(
            r"(^|\s)(x\d|\d+x$)|\d+x\d+x\d*$(?<!1x3x224x224)(?<!1x1x28x28)", text, re.MULTILINE
        )
    if run == "fell_back":  # each operator in one line, with its name
        for name in ("fire2/expand3x3", "fire2/squeeze1x1", "pool1"):
            assert re.search(rf"^  {name} .* (ms|us) ", text, re.MULTILINE)
    if run == "passed":
        for number in ("12.6 ms", "4.29 ms", "12.3 to 13.0 ms", "2.5e-07"):
            assert number in text


@pytest.mark.parametrize("width", [60, 80])
def test_long_names_of_operators_keep_both_ends_and_one_line(width, monkeypatch):
    names = [f"ID_{index}_Conv_inception_4{index}/pool_proj/of_a_very_deep_net_{index}" for index in range(9)]
    judged = [replace(one, type=name) for name, one in zip(names, itertools.cycle(JUDGED.types[1:]))]
    result = replace(JUDGED, types=(JUDGED.types[0], *judged))
    monkeypatch.setitem(RUNS, "long", ((result,), RUNS["judged"][1]))
    text = shown_on(width, "long", monkeypatch, operators="all")
    lines = [line for line in text.splitlines() if line.startswith("  incep")]
    assert [line.split()[0][-1] for line in lines] == sorted(
        (str(index) for index in range(9)), key=lambda one: (int(one) % 2 == 0, one)
    )
    assert all(len(line) <= width for line in lines)


@pytest.mark.parametrize(
    ("choice", "shown", "hidden"),
    [
        (0, [], ["fire2", "operators"]),
        (1, ["slowest 1 of 7 operators", "fire2/expand3x3"], ["pool1"]),
        ("all", ["slowest 7 of 7 operators", "softmaxout"], []),
        ("by_type", ["7 operators by type", "Conv", "90.4 %"], ["fire2"]),
    ],
)
def test_the_operators_that_are_wanted(choice, shown, hidden, tmp_path):
    stream = io.StringIO()
    deliver(ScreenReporter(stream, operators=choice), "interrupted")
    deliver(MarkdownReporter(tmp_path / "r.md", operators=choice), "interrupted")
    for text in (stream.getvalue(), (tmp_path / "r.md").read_text()):
        assert all(one in text for one in shown)
        assert not any(one in text for one in hidden)


def test_an_interruption_before_the_first_result_is_no_report_of_tests(tmp_path, monkeypatch):
    monkeypatch.setitem(RUNS, "nothing", ((), replace(RUNS["interrupted"][1], problems=())))
    deliver(MarkdownReporter(tmp_path / "r.md"), "nothing")
    deliver(JUnitReporter(tmp_path / "r.xml"), "nothing")
    for report in ("r.md", "r.xml"):
        text = (tmp_path / report).read_text()
        assert "interrupted before the first test was finished" in text
        assert "were reported" not in text


def test_a_backend_that_was_chosen_shows_whether_it_ran():
    kernels = {"ID_0_Conv_a": Kernel("winograd", own=True), "ID_1_Relu_b": Kernel("relu", own=True)}
    stream = io.StringIO()
    ScreenReporter(stream).report(having(DELAY, backend="mkl", program=Program(kernels=kernels)))
    assert "mkl: 2 of 2 operators" in stream.getvalue()


def test_a_verification_shows_the_operators_that_it_looked_at():
    verified = having(JUDGED, run_type="verify", types=(*JUDGED.types[:2], DELAY.types[6]))
    stream = io.StringIO()
    ScreenReporter(stream).report(verified)
    assert "slowest 1 of 1 operators" in stream.getvalue()
    assert "conv1" in stream.getvalue()


def test_an_operator_that_is_too_short_for_its_clock_is_marked(tmp_path):
    short = replace(JUDGED.types[2], decision=None, comparison=None, too_short=True)
    result = replace(JUDGED, types=(*JUDGED.types[:2], short))
    stream = io.StringIO()
    for reporter in (ScreenReporter(stream), MarkdownReporter(tmp_path / "r.md", operators="all")):
        reporter.report(result)
        reporter.save()
    for text in (stream.getvalue(), (tmp_path / "r.md").read_text()):
        (line,) = (line for line in text.splitlines() if "too short to compare" in line)
        assert "fire2/expand3x3" in line
    assert documents.type_json(short)["too_short"] == 1


def test_the_change_of_a_type_is_that_of_its_operators_by_their_time():
    operators = [
        replace(JUDGED.types[1], type=f"ID_{number}_Conv_c", comparison=Comparison(6, ratio, None))
        for number, ratio in enumerate((1.0, 2.0))
    ]
    ((row),) = operator_rows.chosen(operators, "by_type").rows
    assert row.ratio == pytest.approx(2 / (1 + 1 / 2))  # both take as long now
    unknown = [operators[0], replace(operators[1], comparison=None)]
    assert operator_rows.chosen(unknown, "by_type").rows[0].ratio is None


def test_reports_show_the_times_that_the_verdict_rests_on(tmp_path):
    """A test that is judged by CPU time shows no wall time next to its verdict, and the name of the clock."""
    stream = io.StringIO()
    deliver(ScreenReporter(stream), "judged")
    deliver(MarkdownReporter(tmp_path / "r.md"), "judged")
    block = stream.getvalue().split("\n\n")[0]
    assert "CPU time" in block.splitlines()[1]
    assert "8.27 ms" in block
    assert "12.6 ms" not in block
    assert "p50 (wall)" in block  # of the operators, of which no other time is known
    overview = [
        line for line in stream.getvalue().splitlines() if line.startswith("squeezenet  delay delay-ab")
    ]
    table = [line for line in (tmp_path / "r.md").read_text().splitlines() if "| delay delay-ab" in line]
    for (line,) in (overview, table):
        assert "8.27 ms CPU" in line
    assert "12.6 ms wall" in stream.getvalue()  # the test that is judged by wall time


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


def test_in_markdown_an_operator_has_the_verdict_of_the_last_stage():
    """It looked regressed, and fresh pairs do not show it."""
    slower = replace(JUDGED.types[1], decision=replace(FIRST, verdict=Verdict.REGRESSED))
    first = replace(JUDGED, types=(JUDGED.types[0], slower))
    again = Confirmation(Verdict.INCONCLUSIVE, "not confirmed", FIRST, FIRST)
    second = having(first, run_type="verify", types=(replace(slower, confirmation=again),))
    alone, verified = (markdown(stages, None) for stages in ([first], [first, second]))
    assert re.search(r"  - ID_0_Conv_conv1 .*: regressed$", alone, re.MULTILINE)
    assert re.search(r"  - ID_0_Conv_conv1 .*: inconclusive$", verified, re.MULTILINE)


@pytest.mark.parametrize("result", [DELAY, ERROR])
def test_in_markdown_a_regression_that_the_history_shows_needs_no_pairs(result):
    """An operator or an output, not the net: confirmed in a third stage, without a reason from pairs."""
    one = result.types[-1]
    confirmed = having(result, run_type="regress", types=(*result.types[:-1], replace(one, regressed=True)))
    text = markdown([result, confirmed], None)
    assert f"**regressed**: {one.type}" in text
    assert (f"  - {one.type}: regressed" in text) == (result is DELAY)


@pytest.mark.parametrize("run", RUNS)
def test_junit(run, tmp_path):
    deliver(JUnitReporter(tmp_path / "report.xml"), run)
    golden.check((tmp_path / "report.xml").read_text(encoding="utf-8"), f"reporters/junit_{run}.xml")
    root = ElementTree.parse(tmp_path / "report.xml").getroot()
    results, summary = RUNS[run]
    tests = [stages[-1] for stages in by_test(results)]
    suites = root.findall("testsuite")
    of_the_run = [one for one in suites if one.get("name") == "run"]
    assert len(of_the_run) == bool(summary.problems or summary.exit_status is ExitStatus.INTERRUPTED)
    of_devices = [one for one in suites if one not in of_the_run]
    cases = [case for one in of_devices for case in one.findall("testcase")]
    assert len(cases) == len(tests)
    bad = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    assert len(bad) == sum(bool(test.failure or test.regressed_types) for test in tests)
    assert {one.get("name") for one in of_devices} == {plain(one.device.name) for one in results}


FILE_REPORTERS = {JUnitReporter: "r.xml", MarkdownReporter: "r.md", BackendPlotReporter: "r.svg"}


@pytest.mark.parametrize("kind", FILE_REPORTERS)
def test_a_file_is_whole_after_every_test_and_says_that_the_run_goes_on(kind, tmp_path):
    path = tmp_path / FILE_REPORTERS[kind]
    reporter = kind(path)
    results, summary = RUNS["backends"]
    for result in results[:5]:
        reporter.report(result)
    assert list(tmp_path.iterdir()) == []  # nothing of a test whose backends are not all there yet
    reporter.save()
    unfinished = path.read_text(encoding="utf-8")
    assert "delay-0" in unfinished
    assert "delay-1" not in unfinished
    if kind is not BackendPlotReporter:
        assert "the run has not ended" in unfinished
    for result in results[5:]:
        reporter.report(result)
    reporter.finish(summary)
    assert "delay-1" in path.read_text(encoding="utf-8")
    assert "has not ended" not in path.read_text(encoding="utf-8")
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    assert str(path) in reporter.destination


def test_a_large_file_is_not_written_after_every_test(tmp_path, monkeypatch):
    monkeypatch.setattr(file_reporter, "QUICK_S", 0.0)
    monkeypatch.setattr(file_reporter, "PAUSE_FACTOR", 1e9)
    reporter = MarkdownReporter(tmp_path / "r.md")
    for identifier in ("first", "second"):
        reporter.report(having(DELAY, identifier=identifier))
        reporter.save()
    assert "second" not in (tmp_path / "r.md").read_text()
    reporter.finish(RUNS["passed"][1])
    assert "second" in (tmp_path / "r.md").read_text()


@pytest.mark.parametrize("kind", [JUnitReporter, MarkdownReporter])
def test_a_file_that_cannot_be_written_any_more_is_an_error(kind, tmp_path):
    (tmp_path / "directory").mkdir()
    reporter = kind(tmp_path / "directory/report")
    (tmp_path / "directory").rmdir()
    with pytest.raises(ReporterError, match=r"cannot write .*directory/report: No such file or directory"):
        reporter.finish(RUNS["passed"][1])


@pytest.mark.parametrize("kind", [JUnitReporter, MarkdownReporter])
def test_only_regular_files_are_replaced_and_links_stay(kind, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(UsageError, match="not a regular file"):
            kind(path)
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    kind(tmp_path / "link").finish(RUNS["passed"][1])
    assert (tmp_path / "link").is_symlink()
    assert "squeezenet" not in (tmp_path / "real").read_text()
    assert (tmp_path / "real").read_text() != "old"


@pytest.mark.parametrize("kind", [JUnitReporter, MarkdownReporter])
def test_a_place_that_cannot_be_written_is_reported_at_once(kind, tmp_path):
    for path in (tmp_path / "missing/report", tmp_path):
        with pytest.raises(UsageError, match=r"--(junit|markdown)"):
            kind(path)


@pytest.mark.parametrize(
    ("value_us", "text"),
    [
        (0.0, "0.00 us"),
        (0.0042, "0.0042 us"),
        (0.0999, "0.1 us"),
        (0.123, "0.12 us"),
        (999.4, "999 us"),
        (12_345.6, "12.3 ms"),
        (1_234_567.0, "1.23 s"),
        (123_456_789.0, "123 s"),
    ],
)
def test_durations(value_us, text):
    assert numbers.duration(value_us) == text


def test_the_shape_of_a_scalar_has_a_name():
    result = having(DELAY, input_shapes={"data": (1, 3), "scale": ()})
    assert numbers.shapes(result) == "data 1x3, scale scalar"


def test_ranges_and_changes():
    assert numbers.duration_range(Interval(950.0, 1050.0, 0.95)) == "0.95 to 1.05 ms"
    assert numbers.percent(1.0311) == "+3.1 %"
    assert numbers.percent(0.95) == "-5.0 %"
    assert numbers.confidence(Interval(0, 1, 0.96875)) == "96.8 %"
    assert numbers.confidence(Interval(0, 1, 0.9999)) == "99.9 %"
