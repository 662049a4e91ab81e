"""What is packed runs elsewhere: every path of this host is replaced."""

import hashlib
import json
import os
import re
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarking.dispatch.packing import Package
from benchmarking.dispatch.request import (
    BENCHMARK,
    PROTOCOL,
    BuildJob,
    MeasureJob,
    PackedFile,
    ReserveJob,
    read_job,
)
from benchmarking.errors import UsageError
from benchmarking.files import archive
from benchmarking.programs.process import Cancellation
from benchmarking.records.tree import History, Selection
from benchmarking.specs.reader import read_benchmarks
from benchmarking.specs.run_info import Commit, read_run_info
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
    archive.unpack(packed.sources[relative], tmp_path / "elsewhere", Cancellation())
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


# --- single files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "packed"),
    [
        ("plain_1.0-x", "plain_1.0-x"),
        ("two  words!", "two-words-"),
        (".hidden", "hidden"),
        ("-.-x", "x"),
        ("\u00e9\u00e9", "file"),
        ("x" * 101, "x" * 100),
        (f"{'y' * 50}{'x' * 100}", "x" * 100),
    ],
)
def test_a_file_keeps_its_name_as_far_as_that_is_safe(tmp_path, name, packed):
    path = tmp_path / name
    path.write_text("content")
    package = Package(tmp_path)
    digest = hashlib.sha256(b"content").hexdigest()
    relative = package.add(path)
    assert relative == f"files/{digest[:16]}/{packed}"
    assert package.add(path, "programs") == f"programs/{digest[:16]}/{packed}"
    assert package.sources[relative] == path
    assert package.files[relative] == PackedFile(sha256=digest, size_bytes=7)


def test_a_tree_is_packed_without_what_is_hidden(tmp_path):
    root = tmp_path / "root"
    for name in ("a/b", ".git/c", "d/.git", "git/e"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    package = Package(tmp_path)
    relative = package.add_tree("commit", root, hidden=(".git",))
    assert relative.endswith("/commit.tar.gz")
    archive.unpack(package.sources[relative], tmp_path / "there", Cancellation())
    found = {
        str(one.relative_to(tmp_path / "there")) for one in (tmp_path / "there").rglob("*") if one.is_file()
    }
    assert found == {"a/b", "git/e"}
    whole = package.add_tree("whole", root)
    archive.unpack(package.sources[whole], tmp_path / "everything", Cancellation())
    assert len([one for one in (tmp_path / "everything").rglob("*") if one.is_file()]) == 4


def test_a_tree_that_cannot_be_packed_is_named(tmp_path):
    with pytest.raises(UsageError, match=rf"^cannot pack {tmp_path}/root: "):
        Package(tmp_path / "nonesuch").add_tree("x", tmp_path / "root")


def test_models_below_another_directory(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "m").write_text("x")
    package = Package(tmp_path, tmp_path / "models")
    where = tmp_path / "suite.json"
    assert re.fullmatch(r"\.\./files/\w{16}/m", package._location("//m", where))
    assert package._location("https://h/m", where) == "https://h/m"
    with pytest.raises(UsageError, match=rf"^{where}: "):
        Package(tmp_path)._location("//m", where)
    (one, other) = package._paths(["//m", "https://h/m"], where)
    assert (one.startswith("../files/"), other) == (True, "https://h/m")


# --- what --info names --------------------------------------------------------------------------------------


def test_the_programs_of_info_travel(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("new", "old", "lib.so"):
        (tmp_path / name).write_text(name)
    info = read_run_info(
        json.dumps(
            {
                "treatment": {"commit": "a", "commit_time": 1, "program": "~/new"},
                "control": {"commit": "b", "commit_time": 2, "program": str(tmp_path / "old")},
                "shared_libs": ["~/lib.so"],
            }
        )
    )
    package = Package(tmp_path)
    assert package.add_info(info) == {
        "treatment": {"commit": "a", "commit_time": 1, "program": named(package, "programs", "new")},
        "control": {"commit": "b", "commit_time": 2, "program": named(package, "programs", "old")},
        "shared_libs": [named(package, "libraries", "lib.so")],
    }
    assert len(package.files) == 3


def named(package, directory, name):
    (relative,) = (
        one for one in package.files if one.startswith(f"{directory}/") and one.endswith(f"/{name}")
    )
    return relative


def test_info_without_programs_travels_as_it_is(tmp_path):
    package = Package(tmp_path)
    info = read_run_info('{"treatment": {"commit": "a", "commit_time": 1}}')
    assert package.add_info(info) == {"treatment": {"commit": "a", "commit_time": 1}}
    assert package.files == {}


@pytest.mark.parametrize("side", ["treatment", "control"])
def test_a_python_of_this_host_does_not_travel(tmp_path, side):
    sides = {"treatment": {"commit": "a", "commit_time": 1}, "control": {"commit": "b", "commit_time": 1}}
    sides[side]["python"] = "/usr/bin/python3"
    with pytest.raises(UsageError) as raised:
        Package(tmp_path).add_info(read_run_info(json.dumps(sides)))
    message = f"--info: $.{side}.python: a Python of this host cannot be sent to another"
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        *(("a", True), ("a/b.c-d/_e", True), ("A9/0", True), ("x" * 400, True), ("x" * 401, False)),
        *(("", False), ("/a", False), ("a/", False), ("a//b", False), (".a", False), ("a/..", False)),
        *(("a/.b", False), ("a b", False), ("-a", False), ("a\n", False)),
    ],
)
def test_what_is_a_path_in_a_job(path, is_one):
    job = {"protocol": PROTOCOL, "submission": "s", "person": "p", "platform": "host", "files": {}}
    value = job | {"source": path, "scripts": "a", "script": "b"}
    if is_one:
        assert read_job(BuildJob, value).source == path
    else:
        with pytest.raises(
            UsageError, match=r"^the job cannot be read: source: .*not a path inside the directory"
        ):
            read_job(BuildJob, value)
