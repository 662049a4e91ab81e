import os
import stat
from pathlib import Path

import pytest

from benchmarking.files import atomic_file


@pytest.mark.parametrize(("umask", "mode"), [(0o027, 0o750), (0, 0o777), (0o777, 0)])
def test_the_file_is_there_whole_with_the_usual_mode(tmp_path, umask, mode):
    mask = os.umask(umask)
    try:
        atomic_file.write_text(tmp_path / "file", "tëxt")
        with atomic_file.writing(tmp_path / "program", executable=True) as stream:
            stream.write(b"#!/bin/sh\n")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode & 0o666
    assert stat.S_IMODE((tmp_path / "program").stat().st_mode) == mode
    (tmp_path / "file").chmod(0o600)
    assert (tmp_path / "file").read_text(encoding="utf-8") == "tëxt"


@pytest.mark.parametrize("mask", [0, 0o022, 0o077])
def test_the_umask_is_read_and_left_as_it_is(mask):
    before = os.umask(mask)
    try:
        assert atomic_file.umask() == mask
        assert os.umask(mask) == mask
    finally:
        os.umask(before)


def test_an_error_leaves_what_was_there_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")

    def write_half():
        with atomic_file.writing(path) as stream:
            stream.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == "before"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_a_reader_never_sees_half(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")
    with atomic_file.writing(path) as stream:
        stream.write(b"after")
        stream.flush()
        assert path.read_text() == "before"
    assert path.read_text() == "after"


def test_a_directory_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        atomic_file.write_text(tmp_path / "missing" / "file", "")


def test_a_pipe_makes_room_for_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    atomic_file.write_text(tmp_path / "pipe", "text")
    assert (tmp_path / "pipe").read_text() == "text"


def test_a_device_is_never_replaced(tmp_path):
    """A link to it stands for it here: root would replace the device itself."""
    path = tmp_path / "device"
    path.symlink_to("/dev/null")
    before = path.lstat()
    with pytest.raises(OSError, match="it is not a regular file"):
        atomic_file.write_text(path, "text")
    assert path.lstat() == before
    assert [one.name for one in tmp_path.iterdir()] == ["device"]


def test_neither_is_the_systems_name_of_an_open_file(tmp_path):
    with (tmp_path / "redirected").open("wb") as stream:
        path = Path(f"/proc/self/fd/{stream.fileno()}")
        with pytest.raises(OSError, match="it is not a regular file"):
            atomic_file.write_text(path, "text")
    assert (tmp_path / "redirected").read_bytes() == b""
