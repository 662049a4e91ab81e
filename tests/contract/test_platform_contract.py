"""The requirements on every platform, on any device that this machine has."""

import importlib
import inspect
import json
import os
import pkgutil
import threading
import time
from contextlib import ExitStack
from dataclasses import replace

import psutil
import pytest

from benchmarking import platforms
from benchmarking.errors import (
    NoDeviceError,
    ProgramExitError,
    ProgramOutputError,
    ProgramStartError,
    ProgramTimeoutError,
    RunCancelledError,
)
from benchmarking.platforms import outputs
from benchmarking.platforms.platform_base import PlatformBase, PlatformOptions
from benchmarking.platforms.platforms import PLATFORMS
from benchmarking.programs import capture
from benchmarking.programs.command import Command, Program
from benchmarking.programs.process import Cancellation
from tests.device_lab.lab import why_not
from tests.support import doc_examples
from tests.support.local_connection import LocalLinux
from tests.support.waiting import LIMIT_S

EVERY_PLATFORM = {
    **PLATFORMS,
    "copy": doc_examples.module_of("writing_a_platform.md").CopyPlatform,
    "local": LocalLinux,
}
"""With the example of the documentation, and with a device that is this machine's shell."""

SECRET = "CONTRACT_TEST_SECRET"

PROGRAM = r"""#!/bin/sh
request=$1; shift
echo warning >&2
printf '%s\0' "$@"
for word in $request; do
    case $word in
        environment) env ;;
        copy) mkdir -p "$(dirname "$2")" && cp "$1" "$2" ;;
        do) cd "$1" && sh -c "$2" ;;
        megabytes=*) yes xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx | head -c "${word#*=}000000" ;;
        converse)
            echo here
            while IFS= read -r line; do
                case $line in
                    pid) echo $$ ;;
                    quit) echo "no luck" >&2; exit 4 ;;
                    sleep) sleep 600.125 ;;
                    *) printf 'got %s\n' "$line" ;;
                esac
            done
            echo bye >&2 ;;
        hang) trap '' TERM; sleep 600.125 & sleep 600.125; sleep 600.125 ;;
        exit=*) exit "${word#*=}" ;;
    esac
done
"""

NEED_THE_LAB = {"android", "linux"}
LAB_DEVICES = {
    "android-amd64": "android",
    "android-arm64": "android",
    "android-server": "android",
    "linux": "linux",
}
ON_EMULATED_DEVICES = {
    "test_streams_and_exit_codes",
    "test_files_of_any_name_and_size_come_back_as_they_are",
    "test_a_timeout_is_reported_and_keeps_the_output",
    "test_a_cancellation_stops_the_program",
    "test_a_program_is_spoken_to",
    "test_a_number_is_a_programs_own_only_if_it_is_its_process",
    "test_facts_are_plain_and_the_name_is_stable",
}
"""An emulated device takes seconds for each test; what these do not show of another architecture is our own code."""


def concrete(kind):
    """The classes below ``kind`` of which there are objects, and that are the project's."""
    below = [one for child in kind.__subclasses__() for one in concrete(child)]
    own = [kind] if kind.__module__.startswith("benchmarking.") and not inspect.isabstract(kind) else []
    return [*own, *below]


def test_every_platform_is_here():
    """Each class of the package is registered, and so tried below; those of the lab are tried there."""
    for module in pkgutil.walk_packages(platforms.__path__, "benchmarking.platforms."):
        importlib.import_module(module.name)
    assert {one for one in concrete(PlatformBase) if "name" in vars(one)} == set(PLATFORMS.values())
    assert set(LAB_DEVICES.values()) == set(NEED_THE_LAB)


@pytest.fixture(scope="module", params=[*sorted(set(EVERY_PLATFORM) - NEED_THE_LAB), *LAB_DEVICES])
def place(request, tmp_path_factory):
    """The class, the options it is discovered with, and the lab's host where it is one of those."""
    name, _, way = request.param.partition("-")
    kind, options, host = EVERY_PLATFORM[name], PlatformOptions(secrets=(SECRET,)), None
    with ExitStack() as stack:
        if request.param in LAB_DEVICES:
            architecture = "arm64" if way == "arm64" else "amd64"
            if reason := why_not(architecture):
                pytest.skip(reason)
            lab = request.getfixturevalue("lab")
            if name == "linux":
                host = lab.linux("board", banner=True)
                options = replace(options, devices=(host.address,))
            else:
                host = lab.android(request.param, architecture)
                options = replace(options, devices=(f"{host.address}:5555",))
            if way == "server":
                stack.enter_context(lab.adb_server(host))
                options = replace(options, devices=())
        if name == "local":
            path = tmp_path_factory.mktemp("the 'local' $device")
            options = replace(options, devices=("board",), remote_dir=str(path))
        yield kind, options, host


@pytest.fixture
def platform(request, place, monkeypatch):
    is_emulated = request.node.callspec.params["place"] == "android-arm64"
    if is_emulated and request.node.originalname not in ON_EMULATED_DEVICES:
        pytest.skip("shown on the device of this machine's own architecture")
    monkeypatch.setenv(SECRET, "s3cret")
    kind, options, _ = place
    try:
        found = kind.discover(options)
    except NoDeviceError as error:
        pytest.skip(str(error))
    assert not found.unusable
    with found.devices[0].hold():
        yield found.devices[0]
    found.devices[0].close()


@pytest.fixture
def cancellation():
    with Cancellation() as one:
        yield one


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "the program's $file"
    path.write_text(PROGRAM)
    path.chmod(0o755)
    return Program(path)


@pytest.fixture
def run(platform, program, cancellation):
    def run_with(request="", *arguments, timeout_s=LIMIT_S, environment=None):
        with platform.stage([program.path]) as staged:
            argv = (*platform.launcher(program, staged), request, *arguments)
            return platform.run(Command(argv, environment or {}, timeout_s), cancellation)

    return run_with


@pytest.fixture
def left_running(place):
    """The command lines of what the program started and should have ended with it."""
    host = place[2]

    def find():
        if host is not None:
            return host.processes("sleep 600.125")
        found = (" ".join(one.info["cmdline"] or ()) for one in psutil.process_iter(["cmdline"]))
        return [line for line in found if line.startswith("sleep 600.125")]

    return find


def test_streams_and_exit_codes(run):
    outcome = run("exit=9")
    assert outcome.stdout == "\0"
    assert outcome.stderr == "warning\n"
    assert outcome.exit_code == 9


def test_arguments_arrive_as_they_are(run):
    arguments = [
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
        "a!b",
        "~",
    ]
    assert run("", *arguments).stdout.split("\0")[:-1] == arguments


def test_the_environment_is_set_and_holds_no_secret(run):
    seen = run("environment", environment={"ODD": "a 'b' $c"}).stdout
    assert "ODD=a 'b' $c\n" in seen
    assert SECRET not in seen
    assert "s3cret" not in seen


def test_files_of_any_name_and_size_come_back_as_they_are(platform, program, cancellation, tmp_path):
    content = os.urandom(3 * 2**20 + 1)
    given = tmp_path / "a 'b' $c;d ü.bin"
    given.write_bytes(content)
    with platform.stage([program.path, given]) as staged:
        target = f"{staged.output_directory}/nested/o 'p' $q.bin"
        arguments = ("copy", staged.paths[given], target)
        command = Command((*platform.launcher(program, staged), *arguments), timeout_s=LIMIT_S)
        assert platform.run(command, cancellation).exit_code == 0
        platform.fetch_outputs(staged, tmp_path / "fetched")
        output_directory = staged.output_directory
    assert (tmp_path / "fetched/nested/o 'p' $q.bin").read_bytes() == content
    assert given.read_bytes() == content
    with platform.stage([program.path]) as staged:
        assert staged.output_directory != output_directory


def written(platform, program, cancellation, script, destination):
    """Fetches the files that a script leaves in the output folder."""
    with platform.stage([program.path]) as staged:
        argv = (*platform.launcher(program, staged), "do", staged.output_directory, script)
        assert platform.run(Command(argv, timeout_s=LIMIT_S), cancellation).exit_code == 0
        platform.fetch_outputs(staged, destination)
    return sorted(str(path.relative_to(destination)) for path in destination.rglob("*") if path.is_file())


def test_links_and_what_is_not_a_file_are_not_fetched(platform, program, cancellation, tmp_path):
    script = (
        "echo 1 > file; ln -s file link; ln -s / root; mkfifo fifo; mkdir -p a/b; ln -s .. a/b/up; "
        "echo 2 > a/b/inner; ln -s /nonesuch broken; printf 3 > '.hidden * \n name'; ln -s /dev/zero zeros"
    )
    names = written(platform, program, cancellation, script, tmp_path / "fetched")
    assert names == sorted(["file", "a/b/inner", ".hidden * \n name"])


@pytest.mark.parametrize(
    ("script", "part"),
    [
        ("for one in 1 2 3 4 5 6 7; do : > $one; done", "more than 5 files"),
        ("mkdir a; for one in 1 2 3 4 5 6 7; do : > a/$one; done", "more than 5 files"),
        (f"mkdir -p {'d/' * 51} && : > {'d/' * 51}x", "more than 50 levels"),
        ("head -c 2000 /dev/zero > file", "up to 1,000 are fetched"),
        ("dd if=/dev/zero of=sparse bs=1 count=1 seek=1000000000 2> /dev/null", "up to 1,000 are fetched"),
        ("cd ..; rm -r output; ln -s / output", "replaced its output folder by something else"),
        ("cd ..; rm -r output; : > output", "replaced its output folder by something else"),
        ("cd ..; rm -r output; mkfifo output", "replaced its output folder by something else"),
        ("cd ..; rm -r output", "replaced its output folder by something else"),
    ],
)
def test_output_folders_that_are_too_much_or_swapped_are_the_programs_fault(
    platform, program, cancellation, tmp_path, monkeypatch, script, part
):
    monkeypatch.setattr(outputs, "MOST_FILES", 100 if "levels" in part else 5)
    monkeypatch.setattr(outputs, "MOST_BYTES", 1000)
    script = script.replace("output", '"$(basename "$OLDPWD")"') if "output" in script else script
    with pytest.raises(ProgramOutputError, match=part):
        written(platform, program, cancellation, script, tmp_path / "fetched")


def test_what_was_staged_is_cleaned_up_after_an_error_too(platform, program, cancellation):
    with pytest.raises(KeyError), platform.stage([program.path]) as staged:
        raise KeyError
    with platform.stage([program.path]) as later:
        argv = (*platform.launcher(program, later), "copy", staged.output_directory, later.output_directory)
        outcome = platform.run(Command(argv), cancellation)
    assert "No such file" in outcome.stderr or "not found" in outcome.stderr, outcome


def test_much_output_does_not_block(run, monkeypatch):
    monkeypatch.setattr(capture, "HEAD_LIMIT_BYTES", 2**20)
    outcome = run("megabytes=6")
    assert outcome.exit_code == 0
    assert outcome.omitted_bytes > 3 * 10**6


def test_a_timeout_is_reported_and_keeps_the_output(run, left_running):
    outcome = run("hang", timeout_s=1.5)
    assert outcome.timed_out
    assert outcome.stdout == "\0"
    assert left_running() == []


def test_a_cancellation_stops_the_program(run, cancellation, left_running):
    timer = threading.Timer(0.7, cancellation.set)
    timer.start()
    started = time.monotonic()
    with pytest.raises(RunCancelledError):
        run("hang")
    assert left_running() == []
    assert time.monotonic() - started < 30


def wait_until_gone(left_running):
    """A device's guards need a moment."""
    deadline = time.monotonic() + LIMIT_S
    while left_running():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def converse(platform, program, cancellation):
    with platform.stage([program.path]) as staged:
        argv = (*platform.launcher(program, staged), "converse")
        yield lambda: platform.start(Command(argv, timeout_s=LIMIT_S), cancellation)


def test_a_program_is_spoken_to(converse, left_running):
    with converse() as live:
        assert live.read_line(LIMIT_S) == "\0here"
        for line in ("a 'b' \"$c\";d", "", " ü ", "x" * 100_000):
            live.write_line(line)
            assert live.read_line(LIMIT_S) == f"got {line}"
    assert live.stderr == "warning\nbye\n"


def test_a_number_is_a_programs_own_only_if_it_is_its_process(converse):
    with converse() as one, converse() as other:
        pids = []
        for live in (one, other):
            assert live.read_line(LIMIT_S) == "\0here"
            live.write_line("pid")
            pids.append(int(live.read_line(LIMIT_S)))
        assert one.owns(pids[0])
        assert not any(one.owns(pid) for pid in (pids[1], 1, 0, 2**31 - 1))


def test_two_programs_are_spoken_to_in_turn(converse):
    with converse() as one, converse() as other:
        assert (one.read_line(LIMIT_S), other.read_line(LIMIT_S)) == ("\0here", "\0here")
        for number in range(20):
            one.write_line(f"one {number}")
            other.write_line(f"other {number}")
            assert other.read_line(LIMIT_S) == f"got other {number}"
            assert one.read_line(LIMIT_S) == f"got one {number}"


def test_a_program_that_ends_while_its_answer_is_awaited_is_reported(converse):
    with converse() as live:
        live.read_line(LIMIT_S)
        live.write_line("quit")
        with pytest.raises(ProgramExitError, match="ended with exit status 4") as raised:
            live.read_line(LIMIT_S)
    assert "no luck" in raised.value.evidence


def test_a_silent_program_is_reported_and_ended(converse, left_running):
    with converse() as live:
        live.read_line(LIMIT_S)
        live.write_line("sleep")
        with pytest.raises(ProgramTimeoutError, match="did not answer within 1 s"):
            live.read_line(1)
        assert left_running()
    wait_until_gone(left_running)


def test_a_conversation_is_cancelled(converse, cancellation, left_running):
    with converse() as live:
        live.read_line(LIMIT_S)
        live.write_line("sleep")
        threading.Timer(0.5, cancellation.set).start()
        with pytest.raises(RunCancelledError):
            live.read_line(LIMIT_S)
    wait_until_gone(left_running)


def test_a_program_that_cannot_run_is_reported(platform, tmp_path, cancellation):
    path = tmp_path / "not executable"
    path.write_text("#!/bin/sh\n")
    with platform.stage([path]) as staged, pytest.raises(ProgramStartError, match="chmod"):
        platform.run(Command(platform.launcher(Program(path), staged)), cancellation)


def test_a_program_for_python(platform, tmp_path, cancellation):
    path = tmp_path / "program.py"
    path.write_text("import sys; print(sys.argv[1:])")
    program = Program(path, needs_python=True)
    with platform.stage([path]) as staged:
        if platform.name == "android":
            with pytest.raises(ProgramStartError, match="'python3' does not exist"):
                platform.launcher(program, staged)
            return
        argv = (*platform.launcher(program, staged), "a b")
        assert platform.run(Command(argv), cancellation).stdout == "['a b']\n"


def test_facts_are_plain_and_the_name_is_stable(platform, place):
    device = platform.device
    assert device == place[0].discover(place[1]).devices[0].device
    assert device.name
    assert device.hash
    assert str(device.facts["kernel"]) not in device.name
    json.dumps([dict(device.facts), dict(platform.conditions())], allow_nan=False)
    assert platform.answers_to(device.name)
    assert platform.answers_to(device.hash)
    assert not platform.answers_to("nonesuch")
