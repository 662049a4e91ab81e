"""Which tests execute which lines: one run of the tests under coverage, one context for each test.

Processes that tests start are measured as well; their context is the test that started them. A test is its
function here, whatever its parameters. What is found lies in a directory: ``coverage.sqlite`` and, for each
test, its outcome and seconds in ``tests.jsonl``.
"""

from __future__ import annotations

import difflib
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from coverage import CoverageData

DIRECTORY = "TESTS_OF_LINES"
"""Names the directory to the process that runs the tests, where this module is a plugin of pytest."""


@dataclass(frozen=True)
class TestsOfLines:
    seconds: dict[str, float]
    """Of each test function that passed, the sum over its parameters; in the order in which they ran."""
    tests_of: dict[Path, dict[int, frozenset[str]]]
    """By module, relative to the root, and line. Lines that were executed by no test are left out."""

    def executing(self, module: Path, lines: Sequence[int]) -> set[str]:
        known = self.tests_of.get(module, {})
        return {test for line in lines for test in known.get(line, ())}


def measure(clone: Path, directory: Path, tests: Sequence[str], workers: int) -> None:
    """Runs the tests in the clone, unless that was done.

    A test that fails under coverage is tried once without it; the last outcome counts.
    """
    if (directory / "complete").exists():
        return
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.glob("*.*"):
        old.unlink()
    (directory / "coverage.ini").write_text(
        "[run]\n"
        f"source = {clone / 'benchmarking'}\n"
        f"data_file = {directory / 'coverage.sqlite'}\n"
        "omit = */frameworks/*\n"
        "parallel = true\n"
        "disable_warnings = no-data-collected,module-not-measured,module-not-imported,couldnt-parse\n"
        "context = ${PYTEST_CURRENT_TEST-}\n"
    )
    pytest_command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        f"--numprocesses={workers}",
        "-p",
        "no:cacheprovider",
    ]
    plugin = ["-p", "benchmarks.tests_of_lines"]
    coverage = ["--cov=benchmarking", f"--cov-config={directory / 'coverage.ini'}", "--cov-context=test"]
    environment = {**os.environ, DIRECTORY: str(directory)}
    subprocess.run(
        [*pytest_command, *plugin, *coverage, "--cov-report=", *tests],
        cwd=clone,
        env=environment,
        check=False,
    )
    failed = [name for name, report in reports(directory) if report["outcome"] == "failed"]
    if failed:
        again = sorted({name.partition("[")[0] for name in failed})
        environment["WITHOUT_COVERAGE"] = "1"
        subprocess.run([*pytest_command, *plugin, *again], cwd=clone, env=environment, check=False)
    (directory / "complete").touch()


def reports(directory: Path) -> Iterator[tuple[str, dict[str, object]]]:
    """Of each test the last report."""
    lines = (directory / "tests.jsonl").read_text(encoding="utf-8").splitlines()
    yield from {report["test"]: report for report in map(json.loads, lines)}.items()


def load(clone: Path, directory: Path) -> TestsOfLines:
    seconds: dict[str, float] = defaultdict(float)
    failed = set()
    for name, report in reports(directory):
        function = name.partition("[")[0]
        seconds[function] += float(str(report["seconds"]))
        if report["outcome"] == "failed":
            failed.add(function)
    passed = {function: value for function, value in seconds.items() if function not in failed}

    data = CoverageData(str(directory / "coverage.sqlite"))
    data.read()
    tests_of: dict[Path, dict[int, frozenset[str]]] = {}
    for file in data.measured_files():
        if Path(file).is_relative_to(clone):
            contexts = data.contexts_by_lineno(file)
            found = {line: frozenset(map(function_of, names)) & {*passed} for line, names in contexts.items()}
            tests_of[Path(file).relative_to(clone)] = {line: names for line, names in found.items() if names}
    return TestsOfLines(passed, tests_of)


def same_file(path: str, old: Path, new: Path) -> bool:
    return (old / path).is_file() and (old / path).read_bytes() == (new / path).read_bytes()


def changed_tests(old: Path, new: Path) -> list[str]:
    """The files of tests that differ between two clones, or are new."""
    files = sorted(str(path.relative_to(new)) for path in (new / "tests").rglob("test_*.py"))
    return [file for file in files if not same_file(file, old, new)]


def carried_over(measured: TestsOfLines, old: Path, new: Path) -> TestsOfLines:
    """What is still true in another clone: of tests in files that are the same, the lines that are there."""
    files = {test.partition("::")[0] for test in measured.seconds}
    same = {file for file in files if (new / file).is_file() and same_file(file, old, new)}
    seconds = {test: one for test, one in measured.seconds.items() if test.partition("::")[0] in same}
    tests_of = {}
    for module, tests_of_line in measured.tests_of.items():
        if not (new / module).is_file():
            continue
        before, now = ((root / module).read_text(encoding="utf-8").splitlines() for root in (old, new))
        blocks = difflib.SequenceMatcher(None, before, now, autojunk=False).get_matching_blocks()
        tests_of[module] = {
            block.b + 1 + place: tests & {*seconds}
            for block in blocks
            for place in range(block.size)
            if (tests := tests_of_line.get(block.a + 1 + place))
        }
    return TestsOfLines(seconds, tests_of)


def united(one: TestsOfLines, other: TestsOfLines) -> TestsOfLines:
    modules = {*one.tests_of, *other.tests_of}
    tests_of = {}
    for module in modules:
        first, second = one.tests_of.get(module, {}), other.tests_of.get(module, {})
        nothing: frozenset[str] = frozenset()
        tests_of[module] = {
            line: first.get(line, nothing) | second.get(line, nothing) for line in {*first, *second}
        }
    return TestsOfLines({**one.seconds, **other.seconds}, tests_of)


def function_of(context: str) -> str:
    """Contexts are ``test[parameters]|run`` in pytest, ``test[parameters] (call)`` in what it started."""
    return context.partition("[")[0].partition("|")[0].partition(" (")[0]


# What follows is called by pytest, for which this module is a plugin.


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Not before: pytest's own processes are measured by pytest-cov. Git and Mercurial are not measured."""
    os.environ.pop("COVERAGE_PROCESS_START", None)
    if "WITHOUT_COVERAGE" not in os.environ and item.path.name != "test_repo_contract.py":
        os.environ["COVERAGE_PROCESS_START"] = str(Path(os.environ[DIRECTORY]) / "coverage.ini")


class _Reports:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.seconds: dict[str, float] = defaultdict(float)
        self.outcomes: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        test = report.nodeid
        self.seconds[test] += report.duration
        if report.outcome != "passed" or test not in self.outcomes:
            self.outcomes[test] = report.outcome
        if report.when == "teardown":
            line = {
                "test": test,
                "outcome": self.outcomes.pop(test),
                "seconds": round(self.seconds.pop(test), 3),
            }
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Reports(Path(os.environ[DIRECTORY]) / "tests.jsonl"))
