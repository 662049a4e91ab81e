"""What is copied of a program's output folder, and what is refused."""

import os
import shutil

import pytest

from benchmarking.errors import DeviceError, ProgramOutputError
from benchmarking.platforms import outputs


@pytest.fixture
def folder(tmp_path):
    source = tmp_path / "source"
    (source / "a/b").mkdir(parents=True)
    (source / "plain.txt").write_text("text")
    (source / "a/b/deep").write_bytes(b"0123456789")
    (source / "empty").touch()
    return source


def copied(source):
    destination = source.parent / "copy"
    destination.mkdir()
    outputs.copy_local(source, destination)
    return {
        str(one.relative_to(destination)): one.read_bytes() for one in destination.rglob("*") if one.is_file()
    }


def test_regular_files_are_copied_in_blocks_and_links_are_not_followed(folder, monkeypatch, caplog):
    monkeypatch.setattr(outputs, "_BLOCK_BYTES", 4)
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "a/folder").symlink_to("/etc")
    os.mkfifo(folder / "pipe")
    assert copied(folder) == {"plain.txt": b"text", "a/b/deep": b"0123456789", "empty": b""}
    assert sorted(record.getMessage() for record in caplog.records) == [
        "the output a/folder is a link, which is not followed",
        "the output link is a link, which is not followed",
    ]


def test_a_file_that_grows_is_copied_as_long_as_it_was(folder, monkeypatch):
    (folder / "growing").write_text("now")
    real = outputs._regular_files

    def then_grow(root):
        found = list(real(root))
        (root / "growing").write_text("now and later")
        (root / "plain.txt").write_text("te")
        return iter(found)

    monkeypatch.setattr(outputs, "_regular_files", then_grow)
    found = copied(folder)
    assert (found["growing"], found["plain.txt"]) == (b"now", b"te")


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/etc/passwd"), lambda path: None])
def test_a_file_that_is_replaced_meanwhile_is_the_programs_fault(folder, monkeypatch, make):
    real = outputs._regular_files

    def then_swap(root):
        found = list(real(root))
        (root / "plain.txt").unlink()
        make(root / "plain.txt")
        return iter(found)

    monkeypatch.setattr(outputs, "_regular_files", then_swap)
    with pytest.raises(
        ProgramOutputError, match=r"has replaced its output folder|cannot read the output plain\.txt: "
    ):
        copied(folder)


def test_a_folder_that_is_replaced_is_the_programs_fault(folder):
    shutil.rmtree(folder)
    for make in (lambda: folder.symlink_to("/etc"), lambda: folder.write_text("")):
        make()
        with pytest.raises(ProgramOutputError, match="has replaced its output folder"):
            list(outputs._regular_files(folder))
        folder.unlink()


@pytest.mark.parametrize(("limit", "message"), [(6, None), (5, "more than 5 files")])
def test_the_number_of_entries_is_limited(folder, monkeypatch, limit, message):
    """Two folders, three files, and one pipe."""
    os.mkfifo(folder / "pipe")
    monkeypatch.setattr(outputs, "MOST_FILES", limit)
    if message is None:
        assert len(copied(folder)) == 3
    else:
        with pytest.raises(ProgramOutputError, match=message):
            copied(folder)


@pytest.mark.parametrize(("levels", "is_refused"), [(2, False), (1, True)])
def test_the_depth_is_limited(folder, monkeypatch, levels, is_refused):
    monkeypatch.setattr(outputs, "DEEPEST", levels)
    if is_refused:
        with pytest.raises(ProgramOutputError, match="has more than 50 levels"):
            copied(folder)
    else:
        assert len(copied(folder)) == 3


def test_the_size_is_limited_and_has_to_fit(tmp_path, monkeypatch):
    monkeypatch.setattr(outputs, "MOST_FILES", 2)
    monkeypatch.setattr(outputs, "MOST_BYTES", 10)
    outputs.check([4, 6], tmp_path / "copy")
    with pytest.raises(ProgramOutputError, match="has written 11 bytes to its output folder; up to 10 are"):
        outputs.check([4, 7], tmp_path / "copy")
    with pytest.raises(ProgramOutputError, match="more than 2 files"):
        outputs.check([1, 1, 1], tmp_path / "copy")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=9 if path == tmp_path else 99))
    outputs.check([9], tmp_path / "copy")
    with pytest.raises(
        DeviceError, match="the outputs take 10 bytes, 9 are free on this machine; set TMPDIR"
    ):
        outputs.check([10], tmp_path / "copy")


def test_a_copy_that_cannot_be_written_is_this_machines_fault(folder):
    (folder.parent / "copy").mkdir()
    (folder.parent / "copy/a").write_text("in the way")
    with pytest.raises(DeviceError, match=r"cannot copy the outputs to .*/copy: "):
        outputs.copy_local(folder, folder.parent / "copy")
