"""What is packed runs elsewhere: every path of this host is replaced."""

import json
import os
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarking.dispatch.packing import Package
from benchmarking.dispatch.request import BENCHMARK, PROTOCOL, MeasureJob, ReserveJob, read_job
from benchmarking.errors import UsageError
from benchmarking.files import archive
from benchmarking.records.tree import History, Selection
from benchmarking.specs.reader import read_benchmarks
from benchmarking.specs.run_info import Commit
from tests.support.sample_results import AGAINST_CONTROL, having
from tests.support.workshop import Workshop, error_test


@pytest.fixture
def workshop(tmp_path):
    return Workshop(tmp_path)


def package(tmp_path, loaded):
    directory = tmp_path / "package"
    directory.mkdir()
    one = Package(directory)
    one.add_benchmarks(loaded)
    return one


def test_specifications_name_only_files_of_the_package(workshop, tmp_path):
    (tmp_path / "golden.txt").write_text("1\n")
    (tmp_path / "in put.npy").write_text("x")
    remote = "https://models.example/predict_net.pb"
    path = workshop.benchmark({}, error_test() | {"input_files": {"data": ["in put.npy"]}})
    spec = json.loads(path.read_text())
    spec["model"]["files"]["predict"]["location"] = remote
    path.write_text(json.dumps(spec))
    packed = package(tmp_path, read_benchmarks(path))
    assert json.loads(packed.sources[BENCHMARK].read_text()) == {"benchmarks": ["0.json"]}
    written = json.loads(packed.sources["benchmarks/0.json"].read_text())
    locations = [
        written["model"]["files"]["init"]["location"],
        written["tests"][1]["input_files"]["data"][0],
        written["tests"][1]["output_files"]["out"],
    ]
    for location in locations:
        relative = os.path.normpath(PurePosixPath("benchmarks") / location)
        assert relative in packed.files
        assert packed.sources[relative].is_file()
    assert locations[1].endswith("/in-put.npy")
    assert written["model"]["files"]["predict"]["location"] == remote
    assert str(tmp_path) not in json.dumps(written)
    assert written["tests"][0] == spec["tests"][0]


def test_what_the_harness_reads_from_the_package_is_what_was_packed(workshop, tmp_path):
    loaded = read_benchmarks(workshop.benchmark())
    packed = package(tmp_path, loaded)
    for relative, source in packed.sources.items():
        target = tmp_path / "there" / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    (again,) = read_benchmarks(tmp_path / "there" / BENCHMARK)
    assert again.spec.tests == loaded[0].spec.tests
    assert {one.md5 for one in again.spec.model.files.values()} == {
        one.md5 for one in loaded[0].spec.model.files.values()
    }


def test_a_file_that_is_missing_is_named(workshop, tmp_path):
    path = workshop.benchmark()
    (tmp_path / "init_net.pb").unlink()
    with pytest.raises(UsageError, match=r"cannot read \S+/init_net.pb: No such file"):
        package(tmp_path, read_benchmarks(path))


def test_the_history_of_the_commits_travels_and_nothing_else(tmp_path):
    (tmp_path / "results").mkdir()
    history = History(tmp_path / "results")
    there = [having(AGAINST_CONTROL, commit=f"commit {number}", commit_time=number) for number in range(3)]
    for one in (*there, having(AGAINST_CONTROL, net="another", commit="commit 1", commit_time=1)):
        history.save(one)
    wanted = [Commit(commit=f"commit {number}", commit_time=number) for number in (1, 2, 7)]
    (run,) = (
        path.parent
        for path in history.files_of(wanted[:1], [AGAINST_CONTROL.test.net])
        if path.name == "meta.txt"
    )
    unfinished = run.parent / ".tmp-of-another-process"
    unfinished.mkdir()
    (unfinished / "meta.txt").write_text("{")
    packed = Package(tmp_path)
    relative = packed.add_history(history, wanted, [AGAINST_CONTROL.test.net])
    archive.unpack(packed.sources[relative], tmp_path / "elsewhere")
    assert not list((tmp_path / "elsewhere").rglob(unfinished.name))
    found = History(tmp_path / "elsewhere")
    assert found.runs(there[0], wanted) == history.runs(there[0], wanted)
    assert {one.provenance.commit for one in found.saved(Selection())} == {"commit 1", "commit 2"}
    assert len(list(found.saved(Selection()))) == 2


@given(st.text(max_size=60) | st.from_regex(r"[./a-z]{1,20}", fullmatch=True))
def test_no_path_of_a_job_leaves_its_directory(text):
    job = {
        "protocol": PROTOCOL,
        "submission": "s",
        "person": "p",
        "platform": "host",
        "device": "d",
        "files": {},
        "options": {},
        "info": {},
        "tests": [],
        "program": text,
    }
    try:
        found = read_job(MeasureJob, job).program
    except UsageError as error:
        assert "it is not a path inside the directory of the job" in str(error)
    else:
        parts = PurePosixPath(found).parts
        assert not PurePosixPath(found).is_absolute()
        assert not any(part.startswith(".") for part in parts)


@pytest.mark.parametrize("value", [None, [], {}, {"protocol": "1"}, {"protocol": PROTOCOL + 1}])
def test_a_job_of_another_version_is_one_line(value):
    with pytest.raises(UsageError, match=r"^the job has the version .{1,20}, and this agent reads 1: update"):
        read_job(ReserveJob, value)


@pytest.mark.parametrize("duration_s", [0, -1, float("nan"), 1e9, "1", None])
def test_a_reservation_is_bounded(duration_s):
    job = {"protocol": PROTOCOL, "submission": "s", "person": "p", "duration_s": duration_s}
    with pytest.raises(UsageError, match="the job cannot be read: duration_s: "):
        read_job(ReserveJob, job)
