"""A device's lock lives as long as anything that was started under it, and no longer."""

import os
import subprocess
import sys
from contextlib import contextmanager

import psutil
import pytest

from benchmarking.driver.device_lock import VARIABLE, DeviceLocks
from benchmarking.errors import DeviceBusyError
from benchmarking.platforms.host.host import HostPlatform
from benchmarking.platforms.platform_base import DeviceInfo, PlatformOptions
from benchmarking.programs.command import Command
from benchmarking.programs.process import Cancellation

TAKE_LOCK = """
import sys, time
from pathlib import Path
from benchmarking.programs.command import Command
from benchmarking.driver.device_lock import DeviceLocks
from benchmarking.platforms.host.host import HostPlatform
from benchmarking.platforms.platform_base import DeviceInfo, PlatformOptions
from benchmarking.programs.process import Cancellation

platform = HostPlatform(DeviceInfo("one", "1"), PlatformOptions())
with Cancellation() as cancellation, DeviceLocks(Path(sys.argv[1]), "fail").held(platform, cancellation):
    print("held", flush=True)
    if sys.argv[2:]:
        platform.run(Command(tuple(sys.argv[2:])), cancellation)
"""
SLEEPER = "import subprocess, sys; print(subprocess.Popen(['sleep', '600.625'], start_new_session=True).pid)"


@pytest.fixture
def device():
    return HostPlatform(DeviceInfo("one", "1"), PlatformOptions())


@pytest.fixture
def locks(tmp_path):
    return DeviceLocks(tmp_path / "locks", "fail")


@contextmanager
def held(locks, device):
    with Cancellation() as cancellation, locks.held(device, cancellation):
        yield cancellation


def taking(locks, *command, **more):
    """Another process that takes the lock, and runs ``command`` under it."""
    return subprocess.Popen(
        [sys.executable, "-c", TAKE_LOCK, str(locks.directory), *command], stdout=subprocess.PIPE, **more
    )


def is_gone(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_one_at_a_time_between_threads_and_processes(locks, device):
    with held(locks, device):
        assert str(os.getpid()) in locks.holder(device)
        with pytest.raises(DeviceBusyError, match=f"in use by process {os.getpid()}"), held(locks, device):
            pass
        assert taking(locks).wait() == 1
    assert locks.holder(device) is None
    assert device.tether is None
    assert taking(locks).wait() == 0


def test_the_lock_is_held_as_long_as_a_process_that_was_started_under_it(locks, device):
    """Also after the process that took it, and where the mark was lost on the way."""
    with held(locks, device):
        sleeper = subprocess.Popen(["sleep", "600.625"], pass_fds=[device.tether.descriptor])
    try:
        assert locks.holder(device) is not None
        with pytest.raises(DeviceBusyError), held(locks, device):
            pass
    finally:
        sleeper.kill()
        sleeper.wait()
    with held(locks, device):
        assert str(os.getpid()) in locks.holder(device)


def test_what_a_killed_run_left_is_named_and_ended(locks, device, tmp_path, caplog):
    pid_file = tmp_path / "pid"
    # A process of a new session, whose parent is killed with the run: found by its mark alone.
    script = f"setsid sh -c 'echo $$ > {pid_file}; exec sleep 600.625' & wait"
    killed = taking(locks, "sh", "-c", script)
    killed.stdout.readline()
    while not (pid_file.exists() and pid_file.read_text().strip()):
        assert killed.poll() is None
    killed.kill()
    killed.wait()
    pid = int(pid_file.read_text())
    assert f"process {killed.pid}" in locks.holder(device)
    assert "is gone" in locks.holder(device)
    with held(locks, device):
        assert is_gone(pid)
    assert f"ending process {pid} (sleep 600.625)" in caplog.text


def test_what_a_program_leaves_behind_is_ended_with_the_run(locks, device, caplog):
    with held(locks, device) as cancellation:
        outcome = device.run(Command((sys.executable, "-c", SLEEPER)), cancellation)
    assert is_gone(int(outcome.stdout))
    assert f"ending process {int(outcome.stdout)} (sleep 600.625), " in caplog.text


def test_strangers_and_the_run_itself_are_spared(locks, device, tmp_path):
    """A stranger whose number is in the owner's file, the program of another lock, and a run below a
    leftover.
    """
    with held(locks, device):
        mark = device.tether.mark
    other = subprocess.Popen(["sleep", "600.625"], env={**os.environ, VARIABLE: f"x{mark}"})
    (path,) = locks.directory.glob("*.lock")
    path.with_suffix(".owner").write_text(
        f'{{"user": "me", "pid": {other.pid}, "since": 1e9, "mark": "gone"}}'
    )
    try:
        assert taking(locks, env={**os.environ, VARIABLE: mark}).wait() == 0
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_run_whose_lock_file_was_removed_is_left_alone(locks, device):
    with held(locks, device) as cancellation, device.start(Command(("cat",)), cancellation) as program:
        (path,) = locks.directory.glob("*.lock")
        path.rename(path.with_suffix(".removed"))
        assert taking(locks).wait() == 0
        program.write_line("still here")
        assert program.read_line(30) == "still here"


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"pid": 1e99}', "\0", '{"pid": ' + "9" * 500 + "}"])
def test_a_damaged_owner_file_does_no_harm(locks, device, content):
    with held(locks, device):
        (owner,) = locks.directory.glob("*.owner")
        owner.write_text(content)
        assert locks.holder(device) == "another process"
    with held(locks, device):
        assert str(os.getpid()) in locks.holder(device)
