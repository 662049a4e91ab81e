"""Failures have as little effect as possible, and are reported."""

import json
import os
import signal
import subprocess
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import psutil
import pytest

from tests.support.waiting import LIMIT_S, files_named
from tests.support.workshop import COMMIT, ROOT


@pytest.mark.parametrize(
    ("behaviour", "part"),
    [
        ({"exit_code": 7}, "exit status 7"),
        ({"crash": True}, "signal 11"),
        ({"missing_samples": 1}, "2 of 3 samples of the net"),
        ({"garbage_megabytes": 200, "missing_samples": 3}, "0 of 3"),
    ],
)
def test_a_program_that_fails_costs_its_own_case_and_shows_its_log(workshop, behaviour, part):
    workshop.benchmark({"identifier": "first"}, {"identifier": "second"})
    document, done = workshop.json(
        "--program", workshop.program(**behaviour), "--local_reporter", workshop.results
    )
    assert done.returncode == 3
    assert len(document["results"]) == 2
    assert part in document["results"][0]["failure"]["message"]
    assert document["results"][0]["failure"]["evidence"]
    assert len(list((workshop.results / ".failures").rglob("failure.json"))) == 2
    assert not list(workshop.results.glob("[!.]*"))


def test_much_garbage_around_good_samples_does_no_harm(workshop):
    workshop.benchmark()
    assert workshop.run("--program", workshop.program(garbage_megabytes=1024)).returncode == 0


def test_a_model_that_cannot_be_had_costs_its_own_cases(workshop):
    good = workshop.benchmark(name="good")
    bad = workshop.benchmark(name="bad")
    bad.write_text(bad.read_text().replace("init_net.pb", "missing.pb"))
    suite = workshop.directory / "suite.json"
    suite.write_text(json.dumps({"benchmarks": [bad.name, good.name]}))
    document, done = workshop.json("--program", workshop.program(), benchmark=suite)
    assert done.returncode == 3
    assert [one["failure"] is None for one in document["results"]] == [False, True]


def test_a_reporter_that_fails_is_reported_and_the_others_deliver(workshop):
    workshop.benchmark()
    document, done = workshop.json(
        "--program", workshop.program(), "--remote_reporter", "http://127.0.0.1:9/x|y", "--junit", "j.xml"
    )
    assert done.returncode == 6
    assert document["exit_status"] == 6
    assert "remote" in document["problems"][0]
    assert (workshop.directory / "j.xml").exists()


def test_destinations_are_checked_before_anything_runs(workshop, recorded):
    program, record = recorded
    (workshop.directory / "file").write_text("")
    for option_name in ("--local_reporter", "--junit", "--markdown"):
        done = workshop.run("--program", program, option_name, "file/below")
        assert done.returncode == 2
        assert option_name in done.stderr
    assert not record.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_keeps_what_is_finished_and_leaves_nothing_behind(workshop, number):
    workshop.benchmark({"identifier": "first"}, {"identifier": "second"}, {"identifier": "third"})
    started = workshop.directory / "started"
    quick = workshop.program()
    arguments = ("--program", quick, "--local_reporter", workshop.results, "--json", "--junit", "j.xml")
    process = subprocess.Popen(
        workshop.command(*arguments),
        cwd=workshop.directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + LIMIT_S
    while not [*files_named("NET_DELAY.txt", workshop.results)] and time.monotonic() < deadline:
        time.sleep(0.005)
    quick.with_suffix(".json").write_text(
        json.dumps({"hang": True, "fork_stubborn_child": True, "started_file": str(started)})
    )
    while not started.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    if process.poll() is None:
        process.send_signal(number)
    output, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130, errors
    document = json.loads(output)
    assert document["exit_status"] == 130
    assert 1 <= len(document["results"]) <= 2
    assert all(one["failure"] is None for one in document["results"])
    assert (workshop.directory / "j.xml").exists()
    assert not list((workshop.directory / "temporary").iterdir())
    assert not psutil.pid_exists(int(started.read_text()))


def test_a_run_that_is_killed_leaves_no_program_beside_the_next_one(workshop):
    """Its program holds the device until the next run ends it, and says so."""
    workshop.benchmark()
    started = workshop.directory / "started"
    hanging = workshop.program("hanging", hang=True, fork_stubborn_child=True, started_file=str(started))
    killed = subprocess.Popen(
        workshop.command("--program", hanging), cwd=workshop.directory, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + LIMIT_S
    while not started.exists() and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    killed.kill()
    killed.wait()
    pid = int(started.read_text())
    assert psutil.pid_exists(pid)
    done = workshop.run("--program", workshop.program(), "--when_busy", "fail")
    assert done.returncode == 0, done.stderr
    assert f"ending process {pid} (" in done.stderr
    assert not psutil.pid_exists(pid)


def test_reports_of_an_earlier_run_are_not_taken_for_those_of_a_killed_one(workshop):
    workshop.benchmark()
    reports = ("--junit", "j.xml", "--markdown", "m.md")
    assert workshop.run("--program", workshop.program(), *reports).returncode == 0
    started = workshop.directory / "started"
    hanging = workshop.program("hanging", hang=True, started_file=str(started))
    process = subprocess.Popen(workshop.command("--program", hanging, *reports), cwd=workshop.directory)
    deadline = time.monotonic() + LIMIT_S
    while not started.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    process.wait(timeout=LIMIT_S)
    psutil.Process(int(started.read_text())).kill()
    assert "the run has not ended" in (workshop.directory / "m.md").read_text()
    (case,) = ElementTree.parse(workshop.directory / "j.xml").getroot().findall(".//testcase")
    assert case.find("error").get("message") == "the run has not ended: tests are missing"


def test_a_killed_run_leaves_valid_reports_of_what_was_finished(workshop):
    workshop.benchmark({"identifier": "first"}, {"identifier": "second"})
    started = workshop.directory / "started"
    quick = workshop.program()
    process = subprocess.Popen(
        workshop.command("--program", quick, "--junit", "j.xml", "--markdown", "m.md"),
        cwd=workshop.directory,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + LIMIT_S
    markdown = workshop.directory / "m.md"
    while not (markdown.exists() and "delay first" in markdown.read_text()) and time.monotonic() < deadline:
        time.sleep(0.005)
    quick.with_suffix(".json").write_text(json.dumps({"hang": True, "started_file": str(started)}))
    while not started.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    process.wait(timeout=LIMIT_S)
    if started.exists() and psutil.pid_exists(int(started.read_text())):
        psutil.Process(int(started.read_text())).kill()
    cases = ElementTree.parse(workshop.directory / "j.xml").getroot().findall(".//testcase")
    assert cases[0].get("name") == "delay first"
    assert "delay first" in (workshop.directory / "m.md").read_text()
    if process.returncode < 0 and started.exists():  # it was not already done
        assert "the run has not ended" in (workshop.directory / "m.md").read_text()


FAULTY = """
import sys
from benchmarking.cli import harness
from benchmarking.driver import {module}

real, calls = {module}.{name}, []

def faulty(*arguments, **more):
    calls.append(arguments)
    if len(calls) == {call}:
        raise KeyError("bug")
    return real(*arguments, **more)

{module}.{name} = faulty
sys.exit(harness.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("module", "name", "call", "failures"),
    [
        ("conditions", "read", 3, [None, "bug"]),  # before the second test
        ("session", "run_canary", 1, [None, None]),
        ("session", "exit_status", 1, [None, None]),  # when all tests are done
    ],
)
def test_a_bug_beside_the_tests_costs_no_report_of_what_is_finished(workshop, module, name, call, failures):
    workshop.benchmark({"identifier": "first"}, {"identifier": "second"})
    harness = workshop.directory / "faulty.py"
    harness.write_text(FAULTY.format(module=module, name=name, call=call))
    arguments = ("--program", workshop.program(), "--json", "--junit", "j.xml", "--markdown", "m.md")
    python, _, *command = workshop.command(*arguments)
    done = subprocess.run(
        [python, harness, *command],
        cwd=workshop.directory,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    document = json.loads(done.stdout)
    assert document["exit_status"] == 1
    assert [one["failure"] and one["failure"]["kind"] for one in document["results"]] == failures
    cases = ElementTree.parse(workshop.directory / "j.xml").getroot().findall(".//testcase")
    assert [one.get("name") for one in cases][:2] == ["delay first", "delay second"]
    assert sum(one.find("error") is not None for one in cases) == 1
    assert "delay first" in (workshop.directory / "m.md").read_text()


@pytest.mark.parametrize("options", [("--json",), ("--junit", "j.xml"), ("--markdown", "m.md")])
def test_a_run_without_a_device_ends_its_reports(workshop, options):
    workshop.benchmark()
    done = workshop.run("--program", workshop.program(), "--devices", "nonesuch", *options)
    assert done.returncode == 4
    assert done.stderr.count("nonesuch") == 1
    files = [workshop.directory / one for one in options[1:]]
    reports = [done.stdout] if options == ("--json",) else [one.read_text() for one in files]
    assert ["nonesuch" in one for one in reports] == [True]
    if options == ("--json",):
        document = json.loads(done.stdout)
        assert (document["exit_status"], document["results"]) == (4, [])


@pytest.mark.parametrize(
    "options", [("--junit", "j.xml"), ("--markdown", "m.md"), ("--local_reporter", "d"), ("--json",)]
)
def test_failures_and_the_closing_line_reach_stderr_whatever_the_reporter(workshop, options):
    workshop.benchmark({"identifier": "first"})
    arguments = ("--program", workshop.program(exit_code=7), *options)
    done = workshop.run(*arguments)
    assert done.returncode == 3
    assert "tiny delay first on" in done.stderr
    assert "exit status 7" in done.stderr
    assert "1 failed in" in done.stderr
    assert workshop.run(*arguments, "--log_level", "error").stderr == ""


def test_two_harnesses_at_once_do_not_share_a_run_directory(workshop):
    workshop.benchmark()
    info = json.dumps({"treatment": COMMIT | {"program": str(workshop.program())}})
    command = workshop.command("--info", info, "--local_reporter", workshop.results)
    processes = [subprocess.Popen(command, cwd=workshop.directory, stderr=subprocess.PIPE) for _ in range(4)]
    for process in processes:
        assert process.wait(timeout=LIMIT_S) == 0
        process.stderr.close()
    runs = sorted(path.name for path in workshop.results.glob("*/caffe2/tiny/delay/0/2018/3/19/abc/*"))
    assert runs == ["0", "1", "2", "3"]


def test_names_with_quotes_and_blanks_go_through(workshop):
    name = 'we\'re "odd"; $HOME `x`'
    benchmark = workshop.benchmark({"identifier": "a 'b' $c;{ID}"}, name=name.replace("/", ""))
    document, done = workshop.json(
        "--program", workshop.program("pro gram's"), "--local_reporter", workshop.results, benchmark=benchmark
    )
    assert done.returncode == 0, done.stderr
    assert document["results"][0]["meta"]["net_name"] == name
    assert list(workshop.results.rglob("NET_DELAY.txt"))


def test_a_disk_that_is_full_is_reported(workshop):
    """/dev/full refuses every byte."""
    workshop.benchmark()
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            workshop.command("--program", workshop.program(), "--json", "--local_reporter", workshop.results),
            cwd=workshop.directory,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 6
    assert "json reporter failed" in done.stderr
    assert list(workshop.results.rglob("NET_DELAY.txt"))


def test_a_python_without_the_requirements_names_the_package_to_install(workshop):
    workshop.benchmark()
    command = workshop.command()
    done = subprocess.run([command[0], "-S", *command[1:]], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "is missing; install the requirements with" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("option_name", ["--json", "--screen_reporter"])
def test_a_closed_stdout_is_reported_before_anything_runs(workshop, recorded, option_name):
    program, record = recorded
    command = workshop.command("--program", program, option_name)
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *command], stderr=subprocess.PIPE, text=True, check=False
    )
    assert done.returncode == 2
    assert "stdout is closed" in done.stderr
    assert not record.exists()


def test_help_lists_the_exit_statuses(workshop):
    workshop.benchmark()
    done = workshop.run("--help")
    assert done.returncode == 0
    for status in ("2", "3", "4", "5", "6", "130"):
        assert f"\n  {status:>3}  " in done.stdout
