"""Users of one machine take turns on a device, although they share no file that they trust."""

import os
import pwd
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarking.driver import machine_lock
from benchmarking.driver.device_lock import DeviceLocks
from benchmarking.errors import DeviceBusyError
from benchmarking.platforms.host.host import HostPlatform
from benchmarking.platforms.platform_base import DeviceInfo, PlatformOptions
from benchmarking.programs.process import Cancellation

NOBODY = 65534
LOCK_AS_NOBODY = """
import fcntl, os, sys
os.setuid(int(sys.argv[2]))
fcntl.flock(int(sys.argv[1]), fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def device():
    return HostPlatform(DeviceInfo("one", "1"), PlatformOptions())


@pytest.fixture
def users(tmp_path):
    """The locks of two users, who have only the directory of the machine in common."""
    machine = tmp_path / "machine"
    machine.mkdir()
    return [DeviceLocks(tmp_path / name, "fail", machine) for name in ("ann", "ben")]


@contextmanager
def held(locks, device):
    with Cancellation() as cancellation, locks.held(device, cancellation):
        yield


def test_two_users_take_turns_on_a_device(users, device):
    ann, ben = users
    other = HostPlatform(DeviceInfo("two", "2"), PlatformOptions())
    with held(ann, device):
        with pytest.raises(DeviceBusyError, match=r"one is in use by .* of "), held(ben, device):
            pass
        assert " of " in ben.holder(device)
        with held(ben, other):
            pass
    assert ben.holder(device) is None
    with held(ben, device):
        assert ann.holder(device) is not None
    assert not [path for one in users for path in one.directory.glob("*.owner")]


def test_it_is_held_as_long_as_a_process_that_was_started_under_it(users, device):
    ann, ben = users
    with held(ann, device):
        sleeper = subprocess.Popen(["sleep", "600.625"], pass_fds=device.tether.others)
    try:
        assert ben.holder(device) is not None
    finally:
        sleeper.kill()
        sleeper.wait()
    assert ben.holder(device) is None


@pytest.mark.skipif(
    os.getuid() != 0 or not Path("/proc/locks").exists(),
    reason="only root can be another user, and not every system says who has a lock",
)
def test_who_has_it_is_what_the_system_says(tmp_path):
    descriptor = machine_lock.opened(tmp_path / "lock")
    again = machine_lock.opened(tmp_path / "lock")
    argv = [sys.executable, "-c", LOCK_AS_NOBODY, str(again), str(NOBODY)]
    with subprocess.Popen(argv, pass_fds=[again], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        assert machine_lock.holder(descriptor) == f"process {other.pid} of {pwd.getpwuid(NOBODY).pw_name}"
        other.stdin.close()
    os.close(again)
    assert machine_lock.holder(descriptor) == "a program of another user"
    os.close(descriptor)


@pytest.mark.parametrize("kind", ["link", "directory", "fifo"])
def test_what_somebody_puts_in_its_place_is_left_alone_and_named(users, device, tmp_path, caplog, kind):
    ann, _ = users
    with held(ann, device):
        (path,) = ann.of_machine.iterdir()
    path.unlink()
    (tmp_path / "precious").write_text("content")
    {
        "link": lambda: path.symlink_to(tmp_path / "precious"),
        "directory": path.mkdir,
        "fifo": lambda: os.mkfifo(path),
    }[kind]()
    with held(ann, device):
        assert "other users may measure on one at the same time" in caplog.text
        assert str(path) in caplog.text
    assert (tmp_path / "precious").read_text() == "content"
    assert ann.holder(device) is None


def test_everybody_can_lock_it_and_nobody_writes_to_it(users, device):
    ann, _ = users
    before = os.umask(0o077)
    try:
        with held(ann, device):
            (path,) = ann.of_machine.iterdir()
    finally:
        os.umask(before)
    assert (path.stat().st_mode & 0o777, path.read_bytes()) == (0o644, b"")


def test_its_directory_is_the_same_for_all_users_or_the_chosen_one(tmp_path, monkeypatch):
    mine, shared, unsafe = (tmp_path / name for name in ("mine", "shared", "unsafe"))
    for path, mode in ((mine, 0o755), (shared, 0o1777), (unsafe, 0o777)):
        path.mkdir()
        path.chmod(mode)
    monkeypatch.delenv(machine_lock.VARIABLE)
    monkeypatch.setattr(machine_lock, "_DIRECTORIES", ("/nonesuch", str(mine), str(unsafe), str(shared)))
    assert machine_lock.directory() == (shared if os.getuid() == 0 else None)
    monkeypatch.setattr(machine_lock, "_DIRECTORIES", (str(mine),))
    assert machine_lock.directory() is None
    monkeypatch.setenv(machine_lock.VARIABLE, str(mine))
    assert machine_lock.directory() == mine
    assert DeviceLocks.of_user("fail").of_machine == mine
    monkeypatch.setenv(machine_lock.VARIABLE, "")
    assert machine_lock.directory() is None
