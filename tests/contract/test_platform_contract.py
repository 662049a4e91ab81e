"""What every platform has to do, on whatever device of it this machine has."""

import json
import os
import time
from pathlib import Path

import pytest

from benchmarking.command import Command, Program
from benchmarking.errors import NoDeviceError, ProgramStartError, RunCancelledError
from benchmarking.platforms.platform_base import PlatformOptions
from benchmarking.platforms.platforms import PLATFORMS
from benchmarking.process import Cancellation
from tests.support import doc_examples

EVERY_PLATFORM = {**PLATFORMS, "copy": doc_examples.module_of("writing_a_platform.md").CopyPlatform}
"""With the example of the documentation."""

SECRET = "CONTRACT_TEST_SECRET"

PROGRAM = """
import json, os, pathlib, signal, subprocess, sys, time
request = json.loads(sys.argv[1])
print(json.dumps(sys.argv[2:]))
print("warning", file=sys.stderr)
if request.get("environment"):
    print(json.dumps(dict(os.environ)))
if request.get("copy"):
    source, destination = map(pathlib.Path, request["copy"])
    destination.parent.mkdir(parents=True, exist_ok=True)
    destination.write_bytes(source.read_bytes())
for _ in range(request.get("megabytes", 0)):
    sys.stdout.write("x" * 1048575 + "\\n")
sys.stdout.flush()
if request.get("hang"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    time.sleep(600)
sys.exit(request.get("exit_code", 0))
"""


@pytest.fixture(params=sorted(EVERY_PLATFORM))
def platform(request, monkeypatch):
    monkeypatch.setenv(SECRET, "s3cret")
    try:
        return EVERY_PLATFORM[request.param].discover(PlatformOptions(secrets=(SECRET,)))[0]
    except NoDeviceError as error:
        pytest.skip(str(error))


@pytest.fixture
def cancellation():
    with Cancellation() as one:
        yield one


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "the program's $file.py"
    path.write_text(PROGRAM)
    return Program(path, needs_python=True)


@pytest.fixture
def run(platform, program, cancellation):
    def run_with(request=None, *arguments, timeout_s=60.0, environment=None):
        with platform.stage([program.path]) as staged:
            argv = (*platform.launcher(program, staged), json.dumps(request or {}), *arguments)
            return platform.run(Command(argv, environment or {}, timeout_s), cancellation)

    return run_with


def test_streams_and_exit_codes(run):
    outcome = run({"exit_code": 9})
    assert outcome.stdout == "[]\n"
    assert "warning" in outcome.stderr
    assert outcome.exit_code == 9


def test_arguments_arrive_as_they_are(run):
    arguments = (
        "",
        " ",
        "a b",
        "'",
        '"',
        "$HOME",
        "`id`",
        ";id",
        "a\nb",
        "ünï",
        "*",
        "\\",
        "-x",
        "a'\"b",
        "&|<>",
    )
    assert json.loads(run({}, *arguments).stdout) == list(arguments)


def test_the_environment_is_set_and_holds_no_secret(run):
    lines = run({"environment": True}, environment={"ODD": "a 'b' $c"}).stdout.splitlines()
    seen = json.loads(lines[1])
    assert seen["ODD"] == "a 'b' $c"
    assert SECRET not in seen


def test_files_of_any_name_and_size_come_back_as_they_are(platform, program, cancellation, tmp_path):
    content = os.urandom(3 * 2**20 + 1)
    given = tmp_path / "a 'b' $c;d ü.bin"
    given.write_bytes(content)
    with platform.stage([program.path, given]) as staged:
        target = f"{staged.output_directory}/nested/o 'p' $q.bin"
        request = json.dumps({"copy": [staged.paths[given], target]})
        command = Command((*platform.launcher(program, staged), request), timeout_s=60)
        assert platform.run(command, cancellation).exit_code == 0
        platform.fetch_outputs(staged, tmp_path / "fetched")
        output_directory = staged.output_directory
    assert (tmp_path / "fetched/nested/o 'p' $q.bin").read_bytes() == content
    assert given.read_bytes() == content
    with platform.stage([program.path]) as staged:
        assert staged.output_directory != output_directory


def test_what_was_staged_is_cleaned_up_after_an_error_too(platform, program):
    with pytest.raises(KeyError), platform.stage([program.path]) as staged:
        raise KeyError
    if platform.name in ("host", "gpu", "copy"):  # whose devices' files can be seen from here
        assert not Path(staged.output_directory).exists()


def test_much_output_does_not_block(run):
    outcome = run({"megabytes": 100})
    assert outcome.exit_code == 0
    assert outcome.omitted_bytes > 20 * 2**20


def test_a_timeout_is_told_and_keeps_the_output(run):
    outcome = run({"hang": True}, timeout_s=1.5)
    assert outcome.timed_out
    assert outcome.stdout == "[]\n"


def test_a_cancellation_stops_the_program(run, cancellation):
    import threading

    timer = threading.Timer(0.7, cancellation.set)
    timer.start()
    started = time.monotonic()
    with pytest.raises(RunCancelledError):
        run({"hang": True})
    assert time.monotonic() - started < 30


def test_a_program_that_cannot_run_is_told(platform, tmp_path, cancellation):
    path = tmp_path / "not executable"
    path.write_text("#!/bin/sh\n")
    with platform.stage([path]) as staged, pytest.raises(ProgramStartError, match="chmod"):
        platform.run(Command(platform.launcher(Program(path), staged)), cancellation)


def test_facts_are_plain_and_the_name_is_stable(platform):
    device = platform.device
    assert device == type(platform).discover(PlatformOptions())[0].device
    assert device.name
    assert device.hash
    assert str(device.facts["kernel"]) not in device.name
    json.dumps([dict(device.facts), dict(platform.conditions())], allow_nan=False)
    assert platform.answers_to(device.name)
    assert platform.answers_to(device.hash)
    assert not platform.answers_to("nonesuch")
