"""The start of the programs: each test is a separate process."""

import ast
import os
import signal
import subprocess
import sys
from itertools import chain, combinations
from pathlib import Path

import pytest

from benchmarking import start

ROOT = Path(__file__).parents[2]
PROGRAMS = {
    "harness.py": [str(ROOT / "harness.py")],
    "repo_driver.py": [str(ROOT / "repo_driver.py")],
    "benchmarking.history": ["-m", "benchmarking.history"],
    "benchmarking.devices": ["-m", "benchmarking.devices"],
    "mlbench": ["-m", "benchmarking"],
}


def run(arguments, *python_options, **more):
    return subprocess.run(
        [sys.executable, *python_options, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        **more,
    )


@pytest.mark.parametrize(
    "name", ["harness.py", "repo_driver.py", "benchmarking/start.py", "benchmarking/__init__.py"]
)
def test_old_pythons_can_read_what_they_are_given_first(name):
    source = (ROOT / name).read_text(encoding="ascii")
    tree = ast.parse(source, feature_version=(3, 4))
    new = (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.Match, ast.AsyncFunctionDef)
    assert not any(isinstance(node, new) for node in ast.walk(tree))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    assert not any(one.returns or any(each.annotation for each in one.args.args) for one in functions)


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_old_python_gets_one_line(name):
    kind, *rest = PROGRAMS[name] if len(PROGRAMS[name]) == 2 else ["", *PROGRAMS[name]]
    how = f"run_module({rest[0]!r}" if kind else f"run_path({rest[0]!r}"
    code = f"import runpy, sys; sys.version_info = (3, 10, 4, 'final', 0); runpy.{how}, run_name='__main__')"
    done = run(["-c", code])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{name}: Python 3.11 or newer is needed; {sys.executable} is 3.10\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_signal_while_modules_are_imported_ends_the_program_in_order(tmp_path, name, number):
    (tmp_path / "argparse.py").write_text("import time\nprint('reached', flush=True)\ntime.sleep(60)\n")
    process = subprocess.Popen(
        [sys.executable, *PROGRAMS[name]],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "reached\n"
    process.send_signal(number)
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 130


def test_nohup_keeps_its_word(tmp_path):
    (tmp_path / "argparse.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGHUP)\nprint('alive', flush=True)\nos._exit(0)\n"
    )
    done = run(
        PROGRAMS["harness.py"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    assert (done.returncode, done.stdout) == (0, "alive\n")


SETS = list(chain.from_iterable(combinations((0, 1, 2), count) for count in (1, 2, 3)))


@pytest.mark.parametrize("closed", SETS, ids=str)
@pytest.mark.parametrize("name", PROGRAMS)
def test_nothing_takes_the_place_of_a_closed_stream(tmp_path, name, closed):
    """Else the first file that a program opens is where its messages go."""
    (tmp_path / "argparse.py").write_text(
        f"import os, sys\nfile = open({str(tmp_path / 'file')!r}, 'w')\nprint(file.fileno(), file=file)\n"
        "file.close()\nsys.stderr.write('a message')\nsys.stderr.flush()\nos._exit(0)\n"
    )
    closing = " ".join(f"{descriptor}>&-" for descriptor in closed)
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closing}', "sh", sys.executable, *PROGRAMS[name]],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert int((tmp_path / "file").read_text()) > 2
    assert done.stderr == ("" if 2 in closed else "a message")


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_reader_that_leaves_gets_no_complaint(name):
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [sys.executable, *PROGRAMS[name], "--help"],
        cwd=ROOT,
        stdout=write_end,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write_end)
    assert (done.returncode, done.stderr) == (0, b"")


def test_names_of_files_are_utf_8_and_the_terminal_keeps_its_encoding(tmp_path):
    (tmp_path / "argparse.py").write_text(
        "import os, sys\nprint(sys.getfilesystemencoding(), sys.stdout.encoding, sys.argv[1:], flush=True)\n"
        "os._exit(0)\n"
    )
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("LC_") and name != "PYTHONIOENCODING"
    }
    environment |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(tmp_path)}
    done = run([*PROGRAMS["harness.py"], "--a", "b"], env=environment)
    assert done.stderr == ""
    encoding = done.stdout.split()[1]
    assert done.stdout == f"utf-8 {encoding} ['--a', 'b']\n"
    assert encoding.lower() in ("ansi_x3.4-1968", "ascii", "us-ascii")


@pytest.mark.parametrize(
    ("encoding", "restarts"), [("utf-8", 0), ("ascii", 1), ("utf-16", 1), ("latin-1", 1)]
)
def test_it_starts_again_only_where_names_of_files_need_it(monkeypatch, encoding, restarts):
    calls = []
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: encoding)
    monkeypatch.setattr(os, "execv", lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(sys, "stdout", None)
    start._name_files_in_utf8()
    assert len(calls) == restarts
    for program, argv in calls:
        assert program == sys.executable
        assert argv[:5] == [sys.executable, "-X", "utf8", "-X", f"terminal_encoding={sys.stderr.encoding}"]
        assert argv[5:] == sys.orig_argv[1:]
