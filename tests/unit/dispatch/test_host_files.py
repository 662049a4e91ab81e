"""The files of jobs that an agent keeps on its host."""

import os

from benchmarking.dispatch import host_files


def test_files_that_no_job_used_for_long_are_removed(tmp_path):
    assert host_files.remove_unused(tmp_path) == 0
    directory = tmp_path / "files/ab"
    directory.mkdir(parents=True)
    for name, age_s in (("new", 0), ("old", host_files.UNUSED_S - 60), ("older", host_files.UNUSED_S + 60)):
        (directory / name).write_text("1")
        then = (directory / name).stat().st_mtime - age_s
        os.utime(directory / name, (then, then))
    assert host_files.remove_unused(tmp_path) == 1
    assert sorted(one.name for one in directory.iterdir()) == ["new", "old"]


def test_what_cannot_be_removed_costs_nothing_else(tmp_path):
    (tmp_path / "files/ab/directory").mkdir(parents=True)
    os.utime(tmp_path / "files/ab/directory", (0, 0))
    assert host_files.remove_unused(tmp_path) == 0
    host_files.remove_left(tmp_path)
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs/file").touch()
    host_files.remove_left(tmp_path)
    assert (tmp_path / "files/ab/directory").is_dir()
