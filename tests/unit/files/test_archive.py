"""One file for many: the same bytes for the same files, and nothing outside of its directory."""

import io
import os
import tarfile

import pytest

from benchmarking.errors import RunCancelledError
from benchmarking.files import archive
from benchmarking.programs.process import Cancellation


def tree(directory, time):
    (directory / "empty").mkdir(parents=True)
    (directory / "program").write_text("#!/bin/sh\n")
    (directory / "program").chmod(0o775)
    (directory / "link").symlink_to("program")
    for path in directory.iterdir():
        os.utime(path, (time, time), follow_symlinks=False)
    return directory


def test_the_same_files_are_the_same_bytes(tmp_path):
    for name, time in (("one", 1e9), ("two", 1.5e9)):
        root = tree(tmp_path / name, time)
        archive.pack(tmp_path / f"{name}.tar.gz", root, root.rglob("*"))
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()
    archive.unpack(tmp_path / "one.tar.gz", tmp_path / "there", Cancellation())
    there = tmp_path / "there"
    assert sorted(path.name for path in there.iterdir()) == ["empty", "link", "program"]
    assert os.access(there / "program", os.X_OK)
    assert (there / "link").readlink().name == "program"


@pytest.mark.parametrize("name", ["../outside", "/outside", "link/outside"])
def test_nothing_leaves_the_directory(tmp_path, name):
    path = tmp_path / "bad.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        if name.startswith("link"):
            tar.addfile(link)
        tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    directory = tmp_path / "there"
    if name == "/outside":
        archive.unpack(path, directory, Cancellation())
        assert (directory / "outside").exists()
    else:
        with pytest.raises(ValueError, match="it cannot be unpacked: "):
            archive.unpack(path, directory, Cancellation())
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("cut", [0, 10, 60])
def test_half_an_archive_is_none(tmp_path, cut):
    path = tmp_path / "whole.tar.gz"
    root = tree(tmp_path / "root", 1e9)
    archive.pack(path, root, root.rglob("*"))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match="it cannot be unpacked: "):
        archive.unpack(path, tmp_path / "there", Cancellation())


@pytest.mark.parametrize("bound", ["MOST_ENTRIES", "LARGEST_CONTENT_BYTES"])
def test_what_is_unpacked_is_bounded(tmp_path, monkeypatch, bound):
    path = tmp_path / "whole.tar.gz"
    root = tree(tmp_path / "root", 1e9)
    archive.pack(path, root, root.rglob("*"))
    monkeypatch.setattr(archive, bound, 2)
    with pytest.raises(ValueError, match=r"it has more than .* entries, or more than .* bytes"):
        archive.unpack(path, tmp_path / "there", Cancellation())


def test_a_python_without_safe_archives_is_named(tmp_path, monkeypatch):
    monkeypatch.delattr(tarfile, "data_filter")
    with pytest.raises(ValueError, match=r"safe from 3\.11\.4 on"):
        archive.unpack(tmp_path / "any.tar.gz", tmp_path / "there", Cancellation())


class CancelledLater(Cancellation):
    """As soon as a file is there."""

    def __init__(self, directory):
        super().__init__()
        self.directory = directory

    @property
    def is_set(self):
        return any(self.directory.glob("*"))


def test_who_cancels_does_not_wait_for_all_files(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    for number in range(8):
        (root / str(number)).write_bytes(os.urandom(archive.BLOCK_BYTES))
    archive.pack(tmp_path / "whole.tar.gz", root, root.rglob("*"))
    with pytest.raises(RunCancelledError):
        archive.unpack(tmp_path / "whole.tar.gz", tmp_path / "there", CancelledLater(tmp_path / "there"))
    assert 1 <= len(list((tmp_path / "there").iterdir())) < 8
