"""What only shows on a terminal, and what only shows where there is none."""

import hashlib
import json
import os
import pty
import subprocess
import sys
import time
from itertools import chain, combinations
from pathlib import Path

import psutil
import pytest

from tests.support import http_server
from tests.support.loop_workshop import LoopWorkshop
from tests.support.waiting import LIMIT_S
from tests.support.workshop import ROOT

DATA = b"x" * 3_000_000


def run_on_terminal(command, directory, environment=None):
    """Everything that the command wrote to a terminal of 80 columns."""
    main_end, terminal_end = pty.openpty()
    variables = {"TERM": "xterm", "COLUMNS": "80", **(environment or {})}
    process = subprocess.Popen(
        command,
        cwd=directory,
        stdin=terminal_end,
        stdout=terminal_end,
        stderr=terminal_end,
        env=os.environ | variables,
    )
    os.close(terminal_end)
    parts = []
    while True:
        try:
            part = os.read(main_end, 65536)
        except OSError:  # the last writer has gone
            break
        if not part:
            break
        parts.append(part)
    os.close(main_end)
    assert process.wait() == 0
    return b"".join(parts).decode()


def test_the_progress_of_a_download_shows_on_a_terminal_only(workshop):
    path = workshop.benchmark()
    with http_server.running() as server:
        url = server.on("/init", http_server.trickled(DATA, 0.02, block=200_000))
        text = path.read_text().replace('"location": "init_net.pb"', f'"location": "{url}"')
        path.write_text(text.replace(hashlib.md5(b"init").hexdigest(), hashlib.md5(DATA).hexdigest()))
        arguments = ("--program", workshop.program(), "--screen_reporter")
        shown = run_on_terminal(workshop.command(*arguments), workshop.directory)
        assert "3.0 MB" in shown.replace("/", " ")
        assert "101 us" in shown
        for cached in (workshop.directory / "cache").rglob("init_net_*.pb"):
            cached.unlink()
        # Where colour is forced, the library would draw its bar into a file too.
        piped = workshop.run(*arguments, environment={"FORCE_COLOR": "1", "TTY_COMPATIBLE": "1"})
        assert server.requests["/init"] == 2
        assert piped.returncode == 0
        assert "MB" not in piped.stderr
        assert "\x1b[?25l" not in piped.stderr  # the hidden cursor of a bar


def test_colour_is_for_terminals_whose_users_want_it(workshop):
    workshop.benchmark()
    command = workshop.command("--program", workshop.program(), "--screen_reporter")
    assert "\x1b[32m" in run_on_terminal(command, workshop.directory)
    assert "\x1b[32m" not in run_on_terminal(command, workshop.directory, {"NO_COLOR": "1"})


CLOSED = list(chain.from_iterable(combinations((0, 1, 2), count) for count in (1, 2, 3)))


@pytest.mark.parametrize("closed", CLOSED, ids=str)
def test_a_run_with_closed_streams_measures_and_saves(workshop, closed):
    workshop.benchmark()
    command = workshop.command(
        "--program", workshop.program(), "--local_reporter", "results", "--junit", "j.xml"
    )
    closing = " ".join(f"{descriptor}>&-" for descriptor in closed)
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closing}', "sh", *command],
        cwd=workshop.directory,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert ("1 passed" in done.stderr) == (2 not in closed)
    (saved,) = workshop.results.rglob("NET_DELAY.txt")
    assert len(json.loads(saved.read_text())["values"]) == 3
    assert (workshop.directory / "j.xml").read_text().startswith("<?xml")


def run_with_stdout(command, stdout, directory):
    return subprocess.run(
        list(map(str, command)), cwd=directory, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False
    )


@pytest.fixture
def broken_pipe():
    """Whose reader has gone, as of ``| head -1`` after the first line."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    yield write_end
    os.close(write_end)


def test_what_only_shows_something_ends_quietly_when_its_reader_has_gone(workshop, broken_pipe):
    workshop.benchmark()
    workshop.run("--program", workshop.program(), "--local_reporter", workshop.results)
    history = (sys.executable, "-m", "benchmarking.history", "show", "--local_reporter", workshop.results)
    look = (sys.executable, "-m", "benchmarking.devices", "list", "--platform", "host")
    program = (sys.executable, ROOT / "benchmarking/frameworks/caffe2/program", "--help")
    commands = (
        workshop.command("--validate"),
        history,
        (*history, "--json"),
        look,
        (*look, "--json"),
        program,
    )
    for command in commands:
        done = run_with_stdout(command, broken_pipe, ROOT)
        assert (done.returncode, done.stderr) == (0, ""), command


def test_results_that_nobody_takes_are_a_failed_report(workshop, broken_pipe):
    workshop.benchmark()
    for reporter in ("--screen_reporter", "--json"):
        command = workshop.command("--program", workshop.program(), "--local_reporter", "results", reporter)
        done = run_with_stdout(command, broken_pipe, workshop.directory)
        assert done.returncode == 6
        assert "Broken pipe" in done.stderr
        assert "Traceback" not in done.stderr
        assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_results_that_do_not_fit_on_the_disk_are_a_failed_report(workshop, unbuffered):
    workshop.benchmark()
    command = workshop.command("--program", workshop.program(), "--screen_reporter")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            cwd=workshop.directory,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )
    assert done.returncode == 6
    assert "the screen reporter failed: cannot write to the screen: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_disk_below_stdout_is_reported(workshop):
    workshop.benchmark()
    with Path("/dev/full").open("w") as full:
        done = run_with_stdout(workshop.command("--validate"), full, workshop.directory)
    assert done.returncode == 4
    assert done.stderr == "harness.py: cannot write to stdout: No space left on device\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_lacks_characters_shows_similar_ones(workshop, encoding):
    workshop.benchmark(name="gr\u00f6\u00dfe")
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    command = workshop.command(
        "--program", workshop.program(), benchmark=workshop.directory / "gr\u00f6\u00dfe.json"
    )
    extra = ("--local_reporter", str(workshop.results), "--screen_reporter")
    history = [
        sys.executable,
        "-m",
        "benchmarking.history",
        "show",
        "--local_reporter",
        str(workshop.results),
    ]
    name = "gr\u00f6\u00dfe" if encoding == "latin-1" else "gro?e"
    for argv in ([*command, *extra], history):
        done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        assert name in done.stdout.decode(encoding)
    document = subprocess.run(
        [*command, "--json"], cwd=ROOT, env=environment, capture_output=True, check=True
    )
    assert json.loads(document.stdout)["results"][0]["meta"]["net_name"] == "gr\u00f6\u00dfe"


def test_a_locale_without_names_for_all_files(workshop):
    workshop.benchmark(name="gr\u00f6\u00dfe")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("LC_", "PYTHONIO"))
    }
    environment |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = workshop.command(
        "--program", workshop.program(), benchmark=workshop.directory / "gr\u00f6\u00dfe.json"
    )
    done = subprocess.run(
        [*command, "--local_reporter", str(workshop.results), "--screen_reporter"],
        cwd=workshop.directory,
        env=environment,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"gro?e delay 0" in done.stdout
    assert list(workshop.results.glob("*/caffe2/gr*/delay"))


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_the_status_of_the_loop_on_such_a_terminal(tmp_path, encoding):
    workshop = LoopWorkshop(tmp_path)
    subject = "gr\u00f6\u00dfer \u6a21" + "x" * 100
    workshop.remote.commit({"delay": "100", "subject": "x"}, subject=subject)
    assert workshop.run("--once").returncode == 0
    status = subprocess.run(
        workshop.argv("--status"),
        env=workshop.environment(PYTHONIOENCODING=encoding),
        capture_output=True,
        check=True,
    )
    shown = status.stdout.decode(encoding)
    assert ("gr\u00f6\u00dfer ?" if encoding == "latin-1" else "gro?er ?") in shown
    assert "x~" in shown


@pytest.mark.parametrize(
    ("name", "argv"),
    [
        ("harness.py", ["harness.py", "--benchmark_file", "x"]),
        ("repo_driver.py", ["repo_driver.py", "--exec_dir", "e", "--status"]),
        ("benchmarking.history", ["-m", "benchmarking.history", "show", "--local_reporter", "r"]),
        ("benchmarking.devices", ["-m", "benchmarking.devices", "list"]),
    ],
)
def test_a_current_directory_that_is_gone_is_one_line(tmp_path, name, argv):
    gone = tmp_path / "gone"
    gone.mkdir()
    argv = [str(ROOT / one) if one.endswith(".py") else one for one in argv]
    done = subprocess.run(
        ["sh", "-c", 'rmdir "$PWD" && exec "$@"', "sh", sys.executable, *argv],
        cwd=gone,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert (
        done.stderr
        == f"{name}: the current directory does not exist any more; start again from another directory\n"
    )


def test_a_terminal_that_is_closed_ends_the_run_in_order(workshop):
    """Whatever the program still says then, nobody reads it."""
    workshop.benchmark()
    started = workshop.directory / "started"
    program = workshop.program(hang=True, fork_stubborn_child=True, started_file=str(started))
    command = workshop.command("--program", program, "--screen_reporter", "--junit", "j.xml")
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(workshop.directory)
        os.execv(command[0], command)
    deadline = time.monotonic() + LIMIT_S
    while not started.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 130
    assert not psutil.pid_exists(int(started.read_text()))
    assert not list((workshop.directory / "temporary").iterdir())
    assert (workshop.directory / "j.xml").read_text().startswith("<?xml")
