"""Temporary directories of killed runs: removed if nobody holds them, whatever their age, and never otherwise."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from benchmarking.files import held_directory
from benchmarking.files.held_directory import PREFIXES, HeldDirectory, remove_abandoned

HOLDS = """
import sys
from benchmarking.files.held_directory import HeldDirectory
held = HeldDirectory(sys.argv[1])
(held.path / "output").mkdir()
print(held.path, flush=True)
input()
"""


@pytest.fixture(autouse=True)
def parent(tmp_path, monkeypatch):
    """Of this test alone."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(held_directory, "SHORT_PATHS", str(tmp_path))
    return tmp_path


def test_a_directory_is_removed_once_its_process_was_killed(parent):
    command = [sys.executable, "-c", HOLDS, PREFIXES[0]]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        path = Path(process.stdout.readline().strip())
        os.utime(path, (0, 0))
        remove_abandoned()
        assert (path / "output").is_dir()
        process.send_signal(signal.SIGKILL)
    assert (path / "output").is_dir()
    remove_abandoned()
    assert not path.exists()


def test_a_child_does_not_keep_the_directory_of_its_parent():
    held = HeldDirectory(PREFIXES[1])
    with subprocess.Popen(["sleep", "60"], close_fds=False) as child:
        os.close(held._descriptor)  # as when the process ends
        remove_abandoned()
        child.kill()
    assert not held.path.exists()


def test_what_is_not_ours_is_left_alone(parent, monkeypatch):
    for name in ("benchmark-inputs-x", "bench-x", "benchmark-run-x", "other"):
        (parent / name).mkdir()
    (parent / "benchmark-run-file").write_text("")
    (parent / "benchmark-run-link").symlink_to(parent / "other")
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        remove_abandoned()
        assert (parent / "benchmark-run-x").exists()
    remove_abandoned()
    left = {"benchmark-inputs-x", "bench-x", "other", "benchmark-run-file", "benchmark-run-link"}
    assert {one.name for one in parent.iterdir()} == left


def test_a_directory_that_is_removed_before_it_is_locked_is_made_again(monkeypatch):
    lock, taken = held_directory._locked, []

    def late(path, how):
        taken.append(path)
        if len(taken) == 1:
            remove_abandoned()
            assert not path.exists()
        return lock(path, how)

    monkeypatch.setattr(held_directory, "_locked", late)
    with HeldDirectory(PREFIXES[0]) as held:
        assert held.path.is_dir()
    assert not held.path.exists()


def test_a_directory_is_gone_with_its_context():
    with HeldDirectory(PREFIXES[0]) as held:
        remove_abandoned()
        assert held.path.is_dir()
    assert not held.path.exists()
