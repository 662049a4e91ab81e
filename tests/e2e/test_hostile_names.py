"""Nothing that others chose drives a terminal: every program, with names that try to."""

import json
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from benchmarking.cli import devices
from benchmarking.driver.survey import FoundDevice
from tests.support.loop_workshop import BUILD, LoopWorkshop
from tests.support.repositories import MONDAY
from tests.support.workshop import COMMIT, ROOT

EVIL = "\x1b]0;owned\x07\x1b[31m\x9b2J\u202etxt.exe\u2066\u200b\u2028\x85\r\x08evil"
EVIL_NAME = "\u202etxt.exe\u2066\u200b\u2028evil"
"""Of a net, whose name may not hold control characters."""
EVIL_FILE = EVIL.replace("\r", "").replace("\x85", "")


def run(argv, directory, **more):
    """The bytes as they came: nothing may be made of line breaks on the way."""
    return subprocess.run([*map(str, argv)], cwd=directory, capture_output=True, check=False, **more)


def assert_harmless(*streams, holds="evil"):
    text = "".join(one.decode("utf-8") for one in streams)
    wrong = {character for character in text if character != "\n" and not character.isprintable()}
    assert not wrong, text
    assert holds in text


@pytest.mark.parametrize("reporters", [("--screen_reporter",), ("--junit", "j.xml", "--log_level", "debug")])
def test_a_run(workshop, reporters):
    workshop.benchmark(
        {"identifier": EVIL}, {"identifier": "fails", "input_files": {"data": EVIL}}, name="tiny"
    )
    path = workshop.directory / "tiny.json"
    path.write_text(path.read_text().replace('"name": "tiny"', f'"name": {json.dumps(EVIL_NAME)}'))
    info = json.dumps({"treatment": COMMIT | {"commit": EVIL}, "meta": {"branch": EVIL}})
    arguments = ("--program", workshop.program(), "--info", info, "--local_reporter", "results", *reporters)
    done = run(workshop.command(*arguments), workshop.directory)
    assert done.returncode == 3
    assert_harmless(done.stdout, done.stderr)
    for command in ("show", "changes"):
        history = [sys.executable, "-m", "benchmarking.history", command]
        shown = run([*history, "--local_reporter", workshop.results], ROOT)
        assert shown.returncode == 0
        assert_harmless(shown.stdout, shown.stderr, holds="" if command == "changes" else "evil")


def test_a_program_that_fails(workshop):
    workshop.benchmark()
    program = workshop.directory / f"{EVIL_FILE}.py"
    program.write_text(
        f"import sys\nsys.stderr.write({EVIL!r})\nsys.exit('caffe2_benchmark: error: ' + {EVIL!r})\n"
    )
    done = run(workshop.command("--program", program, "--screen_reporter"), workshop.directory)
    assert done.returncode == 3
    assert_harmless(done.stdout, done.stderr)


@pytest.mark.parametrize(
    "argv",
    [
        ("--benchmark_file", EVIL),
        ("--program", EVIL),
        ("--shared_libs", EVIL),
        ("--info", json.dumps({"treatment": COMMIT, EVIL: 1})),
        ("--info", f"@{EVIL}"),
        ("--platform", EVIL),
        ("--backend", EVIL),
        ("--clock", EVIL),
        ("--timeout", EVIL),
        (f"--{EVIL}",),
        (EVIL,),
        ("--remote_reporter", EVIL),
        ("--local_reporter", f"tiny.json/{EVIL}"),
        ("--junit", f"nonesuch/{EVIL}/x"),
        ("--devices", EVIL),
    ],
    ids=lambda argv: argv[0].replace(EVIL, "EVIL"),
)
def test_wrong_arguments(workshop, argv):
    workshop.benchmark()
    done = run(workshop.command("--screen_reporter", *argv), workshop.directory)
    assert done.returncode in (2, 4)
    assert done.stderr.count(b"\n") == 1
    assert_harmless(done.stdout, done.stderr)


@pytest.mark.parametrize(
    "suite",
    [
        {"benchmarks": [EVIL]},
        {"benchmarks": ["tiny.json"], EVIL: 1},
        {"model": {"name": "x", "format": EVIL, EVIL: 1}, "tests": [{"metric": EVIL}]},
    ],
)
def test_a_faulty_specification(workshop, suite):
    workshop.benchmark()
    file = workshop.directory / "suite.json"
    file.write_text(json.dumps(suite))
    done = run(workshop.command("--validate", benchmark=file), workshop.directory)
    assert done.returncode == 2
    assert_harmless(done.stdout, done.stderr)


def test_the_words_of_a_server(workshop):
    class Server(BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(403, "evil\x1b[31m")
            self.end_headers()
            self.wfile.write(EVIL.encode())

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Server)
    Thread(target=server.serve_forever, daemon=True).start()
    workshop.benchmark()
    target = f"http://127.0.0.1:{server.server_port}/x|y"
    arguments = ("--program", workshop.program(), "--remote_reporter", target, "--screen_reporter")
    done = run(workshop.command(*arguments), workshop.directory)
    server.shutdown()
    server.server_close()
    assert done.returncode == 6
    assert_harmless(done.stdout, done.stderr, holds="403")


def test_the_loop_its_log_and_its_status(tmp_path):
    workshop = LoopWorkshop(tmp_path)
    (workshop.scripts / "build.sh").write_text(BUILD.replace('$(cat "$1/subject")', "built"))
    author = f"{EVIL} <evil@example.org>"
    for number, (delay, also) in enumerate(
        [(100, {}), (200, {}), (200, {"build_first": f"echo '{EVIL}' >&2; exit 1"})]
    ):
        files = {"delay": str(delay), "subject": "x", **also}
        time = MONDAY + number * 3600
        workshop.commits.append(
            workshop.remote.commit(files, subject=f"{EVIL} {number}", time=time, author=author)
        )
    argv = workshop.argv(
        "--commit", workshop.commits[0], "--once", "--regression", "--log_file", str(tmp_path / "log")
    )
    done = run([*argv, "--screen_reporter"], tmp_path, env=workshop.environment())
    assert done.returncode in (5, 7), done.stderr
    assert b"made host slower" in done.stderr
    assert b"BUILD FAILED" in done.stderr
    assert_harmless(done.stdout, done.stderr)
    assert_harmless((tmp_path / "log").read_bytes())
    status = run([*workshop.argv("--status")], tmp_path, env=workshop.environment())
    assert_harmless(status.stdout, status.stderr)


@pytest.mark.parametrize(
    "argv", [("--branch", EVIL), ("--commit", EVIL), ("--platforms", EVIL), ("--repo_dir", EVIL)]
)
def test_wrong_arguments_of_the_loop(tmp_path, argv):
    workshop = LoopWorkshop(tmp_path)
    workshop.commit()
    done = run(workshop.argv("--once", *argv), tmp_path, env=workshop.environment())
    assert done.returncode != 0
    assert_harmless(done.stdout, done.stderr)


def test_devices(capsys):
    rows = [
        FoundDevice(EVIL, EVIL, EVIL, state, EVIL, EVIL, {"android_version": EVIL, "abi": EVIL})
        for state in ("ready", "unusable", EVIL)
    ]
    devices._show(rows)
    assert_harmless(capsys.readouterr().out.encode())
