"""What is the same on every device behind a connection, on this machine's own shell."""

import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from benchmarking.errors import (
    DeviceBusyError,
    DeviceError,
    DeviceLostError,
    ProgramExitError,
    ProgramStartError,
    ProgramTimeoutError,
    RunCancelledError,
)
from benchmarking.files.model_cache import TOGETHER
from benchmarking.platforms.platform_base import PlatformOptions
from benchmarking.platforms.remote import live_run, shell
from benchmarking.platforms.remote.shell import RemoteShell
from benchmarking.programs.command import Command, Program
from benchmarking.programs.process import Cancellation
from tests.support.local_connection import LocalConnection, LocalLinux

LOST = DeviceLostError("board: the link is gone")


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "the 'device' $"


@pytest.fixture
def discover(directory):
    def find(**options):
        chosen = {"devices": ("board",), "remote_dir": str(directory), "owner": "me", **options}
        (one,) = LocalLinux.discover(PlatformOptions(**chosen)).devices
        return one

    return find


@pytest.fixture
def platform(discover):
    one = discover()
    with one.hold():
        yield one


@pytest.fixture
def cancellation():
    with Cancellation() as one:
        yield one


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "program"
    path.write_text('#!/bin/sh\nread -r line; echo "got $line"; read -r line; echo bye >&2; exit 5\n')
    path.chmod(0o755)
    return Program(path)


def staged_files(directory):
    return sorted(str(path.relative_to(directory)) for path in directory.glob("files/*/*"))


# --- files --------------------------------------------------------------------------------------------------


def test_what_is_there_already_is_not_brought_again(platform, directory, tmp_path, monkeypatch):
    file = tmp_path / "model"
    file.write_bytes(b"weights")
    with platform.stage([file]) as staged:
        path = staged.paths[file]
    assert Path(path).read_bytes() == b"weights"
    monkeypatch.setattr(platform.connection, "push", None)
    with platform.stage([file]) as staged:
        assert staged.paths[file] == path


def test_a_staged_file_that_disappeared_is_copied_again(platform, directory, tmp_path):
    file = tmp_path / "model"
    file.write_bytes(b"weights")
    with platform.stage([file]) as staged:
        path = Path(staged.paths[file])
    path.unlink()  # somebody tidies up on the device while we hold it
    with platform.stage([file]) as staged:
        assert Path(staged.paths[file]).read_bytes() == b"weights"
        assert Path(staged.output_directory).is_dir()


def test_files_that_repeatedly_disappear_are_the_devices_fault(platform, tmp_path, monkeypatch):
    file = tmp_path / "model"
    file.write_bytes(b"weights")
    bring = platform._staging._bring

    def bring_and_lose(path, target, cancellation):
        bring(path, target, cancellation)
        Path(target).unlink()

    monkeypatch.setattr(platform._staging, "_bring", bring_and_lose)
    with pytest.raises(DeviceError, match="staged files disappear; is the disk full"), platform.stage([file]):
        pytest.fail("there is nothing to run with")


def test_a_file_that_is_damaged_on_the_device_is_brought_again(discover, tmp_path):
    file = tmp_path / "model"
    file.write_bytes(b"weights")
    for _ in range(2):
        one = discover()
        with one.hold(), one.stage([file]) as staged:
            path = Path(staged.paths[file])
            assert path.read_bytes() == b"weights"
        path.write_bytes(b"other")


def test_a_file_that_does_not_arrive_whole_is_not_kept(platform, directory, tmp_path, monkeypatch):
    file = tmp_path / "model"
    file.write_bytes(b"weights")
    monkeypatch.setattr(
        platform.connection, "push", lambda source, target, **_: Path(target).write_bytes(b"weig")
    )
    with pytest.raises(DeviceError, match="did not arrive completely"), platform.stage([file]):
        pytest.fail("there is nothing to run with")
    assert staged_files(directory) == []


def test_what_a_run_did_not_use_goes_at_its_end(discover, directory, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    for names, left in ((("one", "two"), 2), (("two",), 1)):
        platform = discover()
        with platform.hold(), platform.stage([tmp_path / name for name in names]):
            pass
        assert len(staged_files(directory)) == left
    platform = discover(remove_staged=True)
    with platform.hold(), platform.stage([tmp_path / "one"]):
        pass
    assert staged_files(directory) == []


def test_many_files_are_asked_for_in_scripts_of_bounded_length(discover, directory, tmp_path, monkeypatch):
    """A script is one argument, and no system takes one above 128 KiB."""
    monkeypatch.setattr(shell, "LONGEST_PART_BYTES", 2000)
    files = [tmp_path / ("\N{PILE OF POO}" * 50 + str(number)) for number in range(12)]
    for number, path in enumerate(files):
        path.write_text(str(number))
    platform = discover()
    with platform.hold(), platform.stage(files) as staged:
        assert [Path(staged.paths[path]).read_text() for path in files] == [*map(str, range(12))]
        before = len(platform.connection.scripts)
        Path(staged.paths[files[-1]]).unlink()
        assert platform._staging.make_run(staged.paths.values()) is None
        with platform.stage(files):
            pass
    assert max(len(one.encode()) for one in platform.connection.scripts[before:]) < 2500
    platform = discover(remove_staged=True)
    with platform.hold():
        pass
    assert staged_files(directory) == []


def test_a_staged_file_that_cannot_be_read_there_is_brought_again(platform, directory, tmp_path):
    (tmp_path / "model").write_text("1")
    with platform.stage([tmp_path / "model"]) as staged:
        path = Path(staged.paths[tmp_path / "model"])
        path.unlink()
        path.symlink_to("/proc/self/clear_refs")  # which is there, and cannot be read
        platform._staging.forget()
        with platform.stage([tmp_path / "model"]):
            assert path.read_text() == "1"


def test_a_script_is_parted_between_its_lines(monkeypatch):
    monkeypatch.setattr(shell, "LONGEST_PART_BYTES", 10)
    assert [*shell.parts(["abcd", "efgh", "\N{PILE OF POO}", "i", "x" * 50, "j"])] == [
        ["abcd", "efgh"],
        ["\N{PILE OF POO}", "i"],
        ["x" * 50],
        ["j"],
    ]
    assert [*shell.parts([])] == []


def test_an_output_that_changes_on_its_way_is_not_taken(platform, program, tmp_path, monkeypatch):
    with platform.stage([program.path]) as staged:
        (Path(staged.output_directory) / "one").write_text("1")
        monkeypatch.setattr(platform.connection, "pull", lambda source, target, **_: target.write_bytes(b"2"))
        with pytest.raises(DeviceError, match="did not arrive completely"):
            platform.fetch_outputs(staged, tmp_path / "fetched")
    assert not list((tmp_path / "fetched").iterdir())


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x"])
def test_names_of_outputs_that_lead_elsewhere_are_refused(platform, program, tmp_path, monkeypatch, name):
    with platform.stage([program.path]) as staged:
        answer = f"./{name}\0 1\n"
        monkeypatch.setattr(platform._shell, "check", lambda *_, **__: answer)
        with pytest.raises(DeviceError, match="unexpected names of outputs"):
            platform.fetch_outputs(staged, tmp_path / "fetched")
        monkeypatch.undo()


# --- the shell ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("greeting", ["", "echo Welcome; echo to the board >&2", "printf 'no newline'"])
def test_what_a_login_prints_is_not_taken_for_output(greeting, merged):
    shell = RemoteShell(LocalConnection(greeting=greeting, merged=merged))
    result = shell.run("echo out; exit 3")
    assert (result.exit_code, result.stdout) == (3, "out\n")


def test_a_shell_that_ends_before_its_script_is_a_lost_device():
    shell = RemoteShell(LocalConnection())
    with pytest.raises(DeviceLostError, match="ended before the command did: too late"):
        shell.run("echo too late >&2; kill -9 $$")
    assert shell.is_lost


def test_a_failed_script_is_reported_with_its_last_words():
    shell = RemoteShell(LocalConnection())
    with pytest.raises(DeviceError, match=r"^board: last$"):
        shell.check("echo first >&2; echo last >&2; exit 1")
    with pytest.raises(DeviceError, match=r"^board: exit status 4$"):
        shell.check("exit 4")


# --- programs that are spoken to ----------------------------------------------------------------------------


@pytest.fixture
def converse(platform, program, cancellation):
    with platform.stage([program.path]) as staged:
        argv = platform.launcher(program, staged)
        yield lambda: platform.start(Command(argv, timeout_s=60), cancellation)


def test_a_silent_program_on_a_device_that_answers_is_the_programs_fault(converse):
    with converse() as live, pytest.raises(ProgramTimeoutError, match=r"did not answer within 0.2 s"):
        live.read_line(0.2)


def test_a_silent_program_on_a_device_that_is_gone_is_the_devices_fault(converse, platform):
    with converse() as live:
        platform.connection.failures = [LOST]
        with pytest.raises(DeviceLostError, match="the link is gone"):
            live.read_line(0.2)


def test_a_link_that_ends_before_the_program_is_a_lost_device(converse, monkeypatch):
    with converse() as live:
        live.write_line("x")
        assert live.read_line(30) == "got x"
        assert live.pid is None  # it is no process of this machine
        monkeypatch.setattr(live._framed, "receive", lambda timeout_s: b"")
        with pytest.raises(DeviceLostError, match="the connection ended before the program did"):
            live.read_line(30)


def test_a_program_that_ends_says_how(converse):
    with converse() as live:
        live.write_line("x")
        live.read_line(30)
        live.write_line("y")
        with pytest.raises(ProgramExitError, match="with exit status 5"):
            live.read_line(30)
    assert live.stderr == "bye\n"


def test_a_link_that_was_never_there_is_a_lost_device(converse, monkeypatch):
    monkeypatch.setattr(live_run, "framed", lambda script, token: "echo no such command >&2; exit 127")
    with converse() as live, pytest.raises(DeviceLostError, match="no program was started"):
        live.read_line(30)


def test_a_program_that_cannot_start_is_the_programs_fault(platform, cancellation):
    with (
        platform.start(Command(("/nonesuch",), timeout_s=60), cancellation) as live,
        pytest.raises(ProgramStartError, match="cannot start the program"),
    ):
        live.read_line(30)
    with pytest.raises(ProgramStartError, match="cannot start '/nonesuch'"):
        platform.run(Command(("/nonesuch",), timeout_s=60), cancellation)


def test_a_program_whose_lease_is_anothers_is_not_started(platform, directory, cancellation):
    (directory / "lease/owner").write_text("somebody 99999999999\n")
    with (
        platform.start(Command(("true",), timeout_s=60), cancellation) as live,
        pytest.raises(DeviceError, match="in use by somebody"),
    ):
        live.read_line(30)
    with pytest.raises(DeviceError, match="in use by somebody"):
        platform.run(Command(("true",), timeout_s=60), cancellation)


# --- the device ---------------------------------------------------------------------------------------------


def test_a_device_that_another_machine_holds_is_not_waited_for(discover, directory):
    first, second = discover(), discover(owner="you")
    with (
        first.hold(),
        pytest.raises(DeviceBusyError, match=r"in use by the machine me, for up to (9|10) more"),
        second.hold(),
    ):
        pytest.fail("two hold it")
    with second.hold():
        assert "you" in (directory / "lease/owner").read_text()
    assert not (directory / "lease").exists()


@pytest.mark.parametrize(("until", "is_free"), [(-10, True), (3600, False)])
def test_a_lease_expires(discover, directory, until, is_free):
    (directory / "lease").mkdir(parents=True)
    (directory / "lease/owner").write_text(f"gone {int(time.time()) + until}\n")
    one = discover()
    if is_free:
        with one.hold():
            assert "me" in (directory / "lease/owner").read_text()
        return
    with pytest.raises(DeviceBusyError, match=r"the machine gone, for up to (59|60)"), one.hold():
        pytest.fail("it is another's")


def test_a_device_that_comes_back_is_used_again(platform, monkeypatch):
    connection = platform.connection
    connection.failures = [LOST, LOST]
    platform.recover()
    assert connection.restarts == 3
    assert not platform._shell.is_lost


def test_a_device_that_does_not_come_back_is_given_up(discover):
    one = discover(recovery_limit_s=0)
    with one.hold():
        one.connection.failures = [LOST] * 3
        with pytest.raises(DeviceError, match="did not return within 0 s: board: the link is gone"):
            one.recover()


def test_a_recovery_is_cancelled(discover, cancellation):
    one = discover(cancellation=cancellation)
    cancellation.set()
    with pytest.raises(RunCancelledError):
        one.recover()


def test_what_a_killed_run_left_is_swept(discover, directory):
    left = directory / "runs/left"
    kept = directory / "runs/kept"
    for path in (left, kept):
        path.mkdir(parents=True)
    (kept / "kept").write_text("")
    sleeper = Command(("sleep", "600.375"))
    with Cancellation() as cancellation:
        one = discover()
        with one.hold():
            assert not left.exists()
            assert kept.exists()
            threading.Timer(0.3, cancellation.set).start()
            with pytest.raises(RunCancelledError):
                one.run(sleeper, cancellation)
    assert not shutil.which("pgrep") or os.system("pgrep -f '^sleep 600.375' > /dev/null") != 0


def test_a_python_that_lacks_modules_is_named(platform, tmp_path):
    path = tmp_path / "program.py"
    path.write_text("")
    program = Program(path, needs_python=True, python_modules=("json", "nonesuch.sub", "neither"))
    with platform.stage([path]) as staged, pytest.raises(ProgramStartError) as caught:
        platform.launcher(program, staged)
    assert "lacks nonesuch.sub, neither; install it there" in str(caught.value)
    assert "--remote_python" in str(caught.value)


def test_files_that_are_needed_beside_each_other_stay_so(platform, tmp_path):
    together = tmp_path / f"{TOGETHER}abc"
    together.mkdir()
    for name in ("model.onnx", "weights"):
        (together / name).write_text(name)
    with platform.stage([together / "model.onnx", together / "weights"]) as staged:
        paths = [Path(path) for path in staged.paths.values()]
        assert [path.name for path in paths] == ["model.onnx", "weights"]
        assert len({path.parent for path in paths}) == 1
        assert [path.read_text() for path in paths] == ["model.onnx", "weights"]


@pytest.mark.parametrize("remove_staged", [False, True])
def test_the_lease_is_given_back_whatever_else_fails(discover, directory, monkeypatch, remove_staged):
    platform = discover(remove_staged=remove_staged)
    name = "remove_all" if remove_staged else "prune"

    def fail():
        raise DeviceError("board: a file is busy")

    monkeypatch.setattr(platform._staging, name, fail)
    with platform.hold():
        assert (directory / "lease").exists()
    assert not (directory / "lease").exists()


def test_after_a_device_is_lost_nothing_more_is_asked_of_it(discover, directory):
    platform = discover()
    with platform.hold():
        platform.connection.failures = [LOST]
        asked = len(platform.connection.scripts)
    assert len(platform.connection.scripts) == asked + 1
    assert (directory / "lease").exists()
