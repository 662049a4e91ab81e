"""How the loop calls the harness: a script in its place shows what it is given, and what comes back."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarking.cli import harness_arguments
from benchmarking.continuous import measurement
from benchmarking.continuous.activities import Activities
from benchmarking.continuous.builder import Built
from benchmarking.continuous.measurement import Harness, HarnessRequest, remove_old_logs
from benchmarking.errors import StorageError
from benchmarking.programs.process import Cancellation
from benchmarking.repos.repo_base import Revision
from benchmarking.results.model import TestKey
from benchmarking.specs.run_info import read_run_info

NEW, OLD, OLDER = (Revision(one * 40, 1772442000 + number, "Ann", "") for number, one in enumerate("abc"))
TREATMENT, CONTROL = Built(NEW, Path("/programs/new"), 1.0), Built(OLD, Path("/programs/old"), 0.0)


@pytest.fixture
def harness(tmp_path):
    """Makes a harness whose place a script takes; it has the name ``arguments``."""

    def make(script, **options):
        code = f"import json, os, sys, time\narguments = sys.argv[1:]\n{script}"
        activities = Activities(tmp_path / "now.json")
        own = ("--benchmark_file", "b.json", "--backend", "cpu")
        program = (sys.executable, "-c", code)
        return Harness(
            own, "onnxruntime", tmp_path / "logs", activities, cancellation, program=program, **options
        )

    with Cancellation() as cancellation:
        yield make


def asked(harness, **request):
    report = harness("json.dump(arguments, sys.stdout)").measure(
        HarnessRequest("host/mkl", TREATMENT, **request)
    )
    return json.loads(report.output)


def test_it_gets_the_users_options_and_the_loops(harness):
    argv = asked(harness)
    assert argv[-1] == "--json"
    options = harness_arguments.parse(argv)
    assert (options.backend, options.framework, options.platform) == ("cpu", "onnxruntime", "host/mkl")
    info = read_run_info(options.info)
    assert (info.treatment.commit, info.treatment.program) == (NEW.commit, "/programs/new")
    assert (info.control, info.treatment.position) == (None, None)


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("harness.py: a\nharness.py: b", "a\nb"),
        ("  of another: harness.py: a\n", "of another: harness.py: a"),
        ("", "harness.py ended with 2"),
    ],
)
def test_its_problem_is_told_without_its_name(harness, said, problem):
    report = harness(f"sys.exit(print({said!r}, file=sys.stderr) or 2)").validate(
        HarnessRequest("host", TREATMENT)
    )
    assert report.problem() == problem


def test_it_is_told_all_of_a_comparison(harness):
    key = TestKey("net", "delay", "first", "onnxruntime", None, "hash")
    argv = asked(
        harness,
        control=CONTROL,
        history=[OLD, OLDER],
        run_type="verify",
        regressed_types=("NET_DELAY",),
        tests=(key,),
        positions={NEW.commit: 7, OLD.commit: 6},
    )
    info = read_run_info(harness_arguments.parse(argv).info)
    assert (info.treatment.position, info.control.position) == (7, 6)
    assert (info.control.commit, info.control.commit_time) == (OLD.commit, OLD.commit_time)
    assert [(one.commit, one.commit_time) for one in info.regression_commits] == [
        (OLD.commit, OLD.commit_time),
        (OLDER.commit, OLDER.commit_time),
    ]
    assert (info.run_type, info.regressed_types) == ("verify", ["NET_DELAY"])
    assert [(one.net, one.metric, one.identifier) for one in info.tests] == [("net", "delay", "first")]


def test_what_people_want_to_know_of_a_commit_is_passed_on_without_addresses(harness):
    revision = replace(NEW, author="Ann <ann@example.org>", subject="faster pooling" + "x" * 999)
    one = replace(harness("json.dump(arguments, sys.stdout)"), branch="main")
    output = one.measure(HarnessRequest("host", replace(TREATMENT, revision=revision))).output
    version = read_run_info(harness_arguments.parse(json.loads(output)).info).treatment
    assert (version.branch, version.author, len(version.subject)) == ("main", "Ann", 200)


def test_what_would_be_passed_is_checked_before(harness):
    report = harness("json.dump(arguments, sys.stdout)").validate(HarnessRequest("host/mkl", TREATMENT))
    assert report.log.name == "validate-host+mkl.log"
    assert json.loads(report.output) == [*asked(harness)[:-1], "--validate"]


def test_the_document_and_what_people_read_are_kept_apart(harness, tmp_path):
    script = (
        "print('document'); print(os.environ['TOKEN'], *range(30), sep='\\n', file=sys.stderr); sys.exit(5)"
    )
    report = harness(script, environment={"TOKEN": "secret"}).measure(HarnessRequest("host/mkl", TREATMENT))
    assert (report.exit_status, report.output) == (5, b"document\n")
    assert report.log == tmp_path / f"logs/{NEW.commit}-host+mkl.log"
    assert report.log.read_text() == report.screen == "\n".join(["secret", *map(str, range(30)), ""])
    assert report.tail().splitlines() == [f"--- end of {report.log} ---", *map(str, range(10, 30))]


@pytest.mark.parametrize(
    ("script", "status"),
    [("os.kill(os.getpid(), 9)", -9), ("print('begun', flush=True); time.sleep(60)", None)],
)
def test_a_harness_that_is_killed_or_too_slow_has_its_own_status(harness, script, status):
    report = harness(script, timeout_s=2.0 if status is None else None).measure(
        HarnessRequest("host", TREATMENT)
    )
    assert report.exit_status == status
    assert report.output == (b"begun\n" if status is None else b"")


def test_of_endless_messages_the_end_is_kept(harness, monkeypatch):
    monkeypatch.setattr(measurement, "SCREEN_LIMIT_BYTES", 10)
    report = harness("print('x' * 100 + 'the end', file=sys.stderr)").measure(
        HarnessRequest("host", TREATMENT)
    )
    assert report.screen == "xxthe end\n"
    assert report.log.stat().st_size == 108


def test_what_is_measured_is_shown_while_it_goes_on(harness, tmp_path):
    script = f"print(open({str(tmp_path / 'now.json')!r}).read())"
    ((what, commit, platform, _),) = json.loads(
        harness(script).measure(HarnessRequest("host", TREATMENT)).output
    )["activities"]
    assert (what, commit, platform) == ("measuring", NEW.short, "host")


def test_a_log_that_cannot_be_written_is_one_line(harness, tmp_path):
    (tmp_path / "logs").touch()
    with pytest.raises(StorageError, match=r"/logs/.*\.log: "):
        harness("").measure(HarnessRequest("host", TREATMENT))


def test_the_newest_logs_are_kept(tmp_path):
    for number in (3, 1, 4, 2, 5):
        (tmp_path / f"{number}.log").touch()
        os.utime(tmp_path / f"{number}.log", (number, number))
    (tmp_path / "other").touch()
    remove_old_logs(tmp_path, 2)
    assert {one.name for one in tmp_path.iterdir()} == {"4.log", "5.log", "other"}
    remove_old_logs(tmp_path, 2)
    assert len([*tmp_path.iterdir()]) == 3


def test_what_is_too_long_for_an_argument_is_in_a_file(harness, tmp_path):
    """A regression of every test of a large suite."""
    tests = tuple(
        TestKey(f"net{number}", "delay", "x" * 100, "caffe2", None, "hash") for number in range(1500)
    )
    argv = asked(harness, run_type="regress", regressed_types=("NET_DELAY",), tests=tests)
    info = read_run_info(harness_arguments.parse(argv).info)
    assert len(info.tests) == 1500
    assert info.regressed_types == ["NET_DELAY"]
    (path,) = (tmp_path / "logs").glob("*.info")
    assert f"@{path}" in argv
    assert asked(harness, tests=tests[1:]) != asked(harness, tests=tests[2:])
    (tmp_path / "logs").rename(tmp_path / "gone")
    (tmp_path / "logs").touch()
    with pytest.raises(StorageError, match=r"logs/[0-9a-f]{64}\.info: "):
        asked(harness, tests=tests)


def test_old_files_that_cannot_be_removed_cost_nothing(tmp_path):
    (tmp_path / "a.log").mkdir()
    (tmp_path / "b.info").symlink_to("nonesuch")
    for number, name in enumerate(("c.log", "c.info", "other")):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (number, 2**32))
    remove_old_logs(tmp_path, 1)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.log", "c.info", "c.log", "other"]
