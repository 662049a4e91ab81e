"""Whose a process on a device is, and what becomes of one that was left there; the local sh is the device."""

import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

from benchmarking.platforms.remote import program_run
from benchmarking.platforms.remote.shell import RemoteShell
from benchmarking.platforms.remote.staging import Staging
from tests.support.local_connection import LocalConnection

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="devices run Linux")


@pytest.fixture
def shell():
    return RemoteShell(LocalConnection())


@pytest.fixture
def program(tmp_path):
    """A program of the run "left", with its number where a run writes it down."""
    directory = tmp_path / "runs" / "left"
    directory.mkdir(parents=True)
    with subprocess.Popen(
        ["sh", "-c", "sleep 600.875 & echo $!; wait"],
        cwd=directory,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        (directory / "pid").write_text(f"{process.pid}\n")
        yield process
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def test_what_a_killed_run_left_on_a_device_is_named_and_ended(shell, program, tmp_path, caplog):
    Staging(shell, str(tmp_path)).sweep()
    assert program.wait(30) == -9
    what = f"process {program.pid} (sh -c sleep 600.875 & echo $!; wait )"
    assert caplog.messages == [f"ended {what} on board, which an earlier run left running"]
    assert list((tmp_path / "runs").iterdir()) == []


def test_another_process_that_has_the_number_by_now_is_left_alone(shell, program, tmp_path, caplog):
    (tmp_path / "runs" / "left").rename(tmp_path / "elsewhere")
    (tmp_path / "runs" / "left").mkdir()
    (tmp_path / "runs" / "left" / "pid").write_text(f"{program.pid}\n")
    Staging(shell, str(tmp_path)).sweep()
    assert program.poll() is None
    assert caplog.messages == []
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_program_owns_itself_and_what_it_started_and_nothing_else(shell, program, tmp_path):
    def owns(pid):
        script = program_run.owns_script(str(tmp_path / "runs" / "left"), pid)
        return shell.run(script).exit_code == 0

    assert owns(program.pid)
    assert owns(int(program.stdout.readline()))
    stranger = subprocess.Popen(["sleep", "600.875"])
    try:
        assert not any(owns(pid) for pid in (stranger.pid, 1, 0, 2**31 - 1))
    finally:
        stranger.kill()
        stranger.wait()
    assert shell.run(program_run.owns_script(str(tmp_path / "none"), program.pid)).exit_code
