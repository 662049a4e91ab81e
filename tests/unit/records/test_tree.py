import json
import os
import signal
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarking.bounds import parse_json
from benchmarking.errors import ReporterError, UsageError
from benchmarking.records.tree import History, Selection, path_part
from benchmarking.reporters.local_reporter import LocalReporter
from benchmarking.results.model import NET_DELAY, BackendCell, Device, Program
from benchmarking.specs.run_info import Commit
from tests.support.sample_results import (
    AB,
    DELAY,
    ERROR,
    FAILED,
    NASTY,
    REGRESSED,
    having,
    on_device,
)
from tests.support.waiting import files_named, wait_until

ROOT = Path(__file__).parents[3]
COMMIT = Commit(commit=DELAY.provenance.commit, commit_time=DELAY.provenance.commit_time)


def named(**changes):
    return having(DELAY, **changes)


def test_the_tree_and_the_files_of_the_contract(tmp_path):
    run = History(tmp_path).save(AB)
    parts = "Linux-x86_64-Example/caffe2/squeezenet/delay/delay-ab/2023/11/14"
    assert run == tmp_path / parts / DELAY.provenance.commit / "0"
    assert sorted(path.name for path in run.iterdir()) == [
        "ID_0_Conv_conv1.txt",
        "ID_5_Conv_fire2-expand3x3.txt",
        "NET_DELAY.txt",
        "meta.txt",
    ]
    text = (run / "NET_DELAY.txt").read_text()
    value = json.loads(text)
    assert text == json.dumps(value, indent=2, sort_keys=True) + "\n"
    assert value["type"] == value["control_type"] == NET_DELAY
    assert value["values"] == list(AB.types[0].values)
    assert {"p0", "p10", "p50", "p90", "p100"} <= value["summary"].keys()
    assert {"p0", "p10", "p50", "p90", "p100"} == value["diff_summary"].keys()
    assert "control_summary" in value
    assert "regressed" not in value
    meta = json.loads((run / "meta.txt").read_text())
    contract = (
        "time net_name metric framework platform platform_hash identifier commit commit_time control_commit"
    )
    contract += " control_commit_time run_type command command_str group backend"
    assert set(contract.split()) <= meta.keys()


def test_a_confirmed_regression_and_an_error(tmp_path):
    run = History(tmp_path).save(REGRESSED)
    assert json.loads((run / "NET_DELAY.txt").read_text())["regressed"] == 1
    value = json.loads((History(tmp_path).save(ERROR) / "softmax.txt").read_text())
    assert value["error"]["max_absolute"] == 2.5e-7
    assert "values" not in value
    assert {"summary", "control_summary", "diff_summary"} <= value.keys()


def test_a_result_that_is_reported_again_is_saved_once(tmp_path):
    first, second = (having(DELAY, uid=uid) for uid in ("a", "b"))
    for _ in range(2):
        reporter = LocalReporter(tmp_path)
        for one in (first, second, first):
            reporter.report(one)
    assert [one.provenance.uid for one in History(tmp_path).saved(Selection())] == ["a", "b"]


def test_half_a_character_spoils_no_file(tmp_path):
    run = History(tmp_path).save(
        named(provenance=replace(DELAY.provenance, command=("--name", "\udcff"), user={"\udcff": "x"}))
    )
    meta = parse_json((run / "meta.txt").read_bytes())
    assert (meta["command"], meta["user"]) == (["--name", "?"], {"?": "x"})
    assert len(list(History(tmp_path).saved(Selection()))) == 1


def test_runs_are_numbered_and_leave_no_temporary_files(tmp_path):
    runs = [History(tmp_path).save(DELAY) for _ in range(12)]
    assert [run.name for run in runs] == [str(number) for number in range(12)]
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]


def test_the_latest_normal_run_of_each_commit_on_this_device_is_the_history(tmp_path):
    history = History(tmp_path)
    commits = [Commit(commit=f"c{number}", commit_time=1_699_000_000 + number) for number in range(4)]
    for commit in commits[:3]:
        for p50 in (1.0, 2.0):
            types = (replace(DELAY.types[0], summary=replace(DELAY.types[0].summary, p50=p50)),)
            result = named(commit=commit.commit, commit_time=commit.commit_time, types=types)
            history.save(result)
        history.save(on_device(result, result.device.name, "another device"))
        history.save(having(result, run_type="verify"))
    runs = history.runs(DELAY, [commits[2], commits[3], commits[0]])
    assert [run[NET_DELAY].summary.p50 for run in runs] == [2.0, 2.0]
    assert history.runs(named(identifier="another"), commits) == []


def test_each_backend_of_a_run_on_several_has_its_own_directory_and_history(tmp_path):
    history = History(tmp_path)
    cell = BackendCell("default", 6)
    results = [
        named(backend="default"),
        *(named(backend=name, cell=cell) for name in ("default", "nnpack")),
        named(identifier="delay-0-on-nnpack"),
    ]
    paths = []
    for number, result in enumerate(results):
        types = (replace(DELAY.types[0], summary=replace(DELAY.types[0].summary, p50=float(number))),)
        paths.append(history.save(replace(result, types=types)))
    names = [path.relative_to(tmp_path).parts[4] for path in paths]
    assert names[:3] == ["delay-0", "delay-0-on-default", "delay-0-on-nnpack"]
    assert len({path.parent for path in paths}) == 4
    for number, result in enumerate(results):
        (run,) = history.runs(result, [COMMIT])
        assert run[NET_DELAY].summary.p50 == number
    saved = list(history.saved(Selection(identifiers=("delay-0",))))
    assert sorted(run.net.summary.p50 for run in saved) == [0, 1, 2]
    (one,) = history.saved(Selection(identifiers=("delay-0-on-nnpack",)))
    assert one.net.summary.p50 == 3


def test_runs_on_another_backend_are_not_in_the_history(tmp_path):
    history = History(tmp_path)
    history.save(named(backend="mkl"))
    assert history.runs(named(backend="nnpack"), [COMMIT]) == []
    assert len(history.runs(named(backend="mkl"), [COMMIT])) == 1


def test_runs_with_other_settings_are_not_in_the_history(tmp_path):
    history = History(tmp_path)
    device = Device(DELAY.device.name, {"cpu_governor": "powersave"})
    history.save(named(program=Program(facts={"threads": 1}), device=device))
    other = Device(DELAY.device.name, {"cpu_governor": "performance"})
    for changes in ({"program": Program(facts={"threads": 2})}, {"device": other}):
        assert history.runs(named(**changes), [COMMIT]) == []
    assert len(history.runs(named(program=Program(facts={"threads": 1})), [COMMIT])) == 1


def test_of_the_selected_tests_the_newest_commits_that_can_be_read(tmp_path):
    history = History(tmp_path)
    for number in range(3):
        history.save(named(commit=str(number), commit_time=number))
    for other in ("delay-0b", "delay-0 on another"):
        history.save(named(identifier=other))
    (damaged,) = tmp_path.rglob("2/0/NET_DELAY.txt")
    damaged.write_text("{")
    selection = Selection(identifiers=("delay-0",), limit=2)
    assert [run.provenance.commit for run in history.saved(selection)] == ["1", "0"]


def test_a_damaged_run_is_left_out_with_a_warning(tmp_path, caplog):
    history = History(tmp_path)
    first = history.save(DELAY)
    second = history.save(DELAY)
    (second / "NET_DELAY.txt").write_text("{")
    assert len(history.runs(DELAY, [COMMIT])) == 1
    assert "damaged" in caplog.text
    (first / "meta.txt").write_text(
        (first / "meta.txt").read_text().replace('"layout_version": 1', '"layout_version": 2')
    )
    assert history.runs(DELAY, [COMMIT]) == []
    assert "newer version" in caplog.text
    assert "update this program, or move the directory away" in caplog.text


def test_unreadable_runs_are_not_in_the_history(tmp_path, caplog):
    history = History(tmp_path)
    directory = history.save(DELAY).parent
    (directory / "1").write_text("a file")
    (directory / "2").mkdir()
    assert len(history.runs(DELAY, [COMMIT])) == 1
    assert [str(directory / "1") in caplog.text, str(directory / "2") in caplog.text] == [True, True]


@pytest.mark.parametrize("what", ["fifo", "huge", "no text", "directory"])
def test_a_directory_whose_name_cannot_be_read_is_not_used_again(tmp_path, caplog, what):
    history = History(tmp_path)
    result = named(net="a b")
    first = history.save(result).parents[6]
    name = first / ".name"
    name.unlink()
    if what == "fifo":
        os.mkfifo(name)
    elif what == "huge":
        name.write_bytes(b"a" * 2**20)
    elif what == "no text":
        name.write_bytes(b"\xff")
    else:
        name.mkdir()
    assert history.save(result).parents[6] != first
    assert len(history.runs(result, [COMMIT])) == 1
    assert str(first) in caplog.text


def test_the_runs_of_one_day_come_in_the_order_of_their_times_and_positions(tmp_path):
    history = History(tmp_path)
    order = [("d", 10, None), ("a", 5, 2), ("c", 5, 1), ("b", 4, 9)]
    for commit, second, position in sorted(order, key=lambda row: row[0]):
        history.save(named(commit=commit, commit_time=second, position=position))
    assert [run.provenance.commit for run in history.saved(Selection())] == [row[0] for row in order]
    assert [run.provenance.commit for run in history.saved(Selection(limit=2))] == ["d", "a"]


@pytest.mark.parametrize(
    "names", [("a b", "a-b", "a/b"), ("a-b", "a b"), ("x", "x\0", "xé"), ("", ".", "..", "...")]
)
def test_names_never_share_a_directory(tmp_path, names):
    history = History(tmp_path)
    directories = [history.save(named(net=name)).parents[6] for name in names]
    assert len(set(directories)) == len(names)
    assert [history.save(named(net=name)).parents[6] for name in names] == directories
    for name in names:
        (run,) = history.runs(named(net=name), [COMMIT])
        assert run


def test_the_contracts_path_stays_where_it_is_safe(tmp_path):
    run = History(tmp_path).save(named(name="Pixel 2 XL/9", net="it's"))
    assert run.relative_to(tmp_path).parts[0] == "Pixel-2-XL-9"
    assert run.relative_to(tmp_path).parts[2] == "its"
    assert path_part("a b/c'd_e.f-g") == "a-b-cd_e.f-g"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.text(max_size=8) | st.text(alphabet="./ a-", max_size=6) | st.just("x" * 400),
        min_size=1,
        max_size=6,
        unique=True,
    )
)
def test_any_names_get_directories_of_their_own_inside_the_root(tmp_path_factory, names):
    root = tmp_path_factory.mktemp("history") / "root"
    root.mkdir()
    runs = [History(root).save(named(identifier=name)) for name in names]
    assert len({run.parent for run in runs}) == len(names)
    assert all(
        run.resolve().is_relative_to(root.resolve()) and len(run.relative_to(root).parts) == 10
        for run in runs
    )
    assert [path.name for path in root.parent.iterdir()] == ["root"]


def test_types_of_one_run_never_share_a_file(tmp_path):
    names = ["NET_DELAY", "a/b", "a b", "a-b", "meta", "", "..", "ID_0_Conv_" + "x" * 300]
    result = replace(DELAY, types=tuple(replace(DELAY.types[0], type=name) for name in names))
    run = History(tmp_path).save(result)
    found = [json.loads(path.read_text()) for path in run.iterdir()]
    assert sorted(value["type"] for value in found if "type" in value) == sorted(names)
    assert json.loads((run / "meta.txt").read_text())["net_name"] == "squeezenet"


def test_failures_lie_apart(tmp_path):
    reporter = LocalReporter(tmp_path)
    for result in (FAILED, NASTY, DELAY):
        reporter.report(result)
    assert len(list((tmp_path / ".failures").rglob("failure.json"))) == 2
    assert [path.name for path in tmp_path.iterdir() if path.name != ".failures"] == [DELAY.device.name]
    (evidence,) = (tmp_path / ".failures").glob("*/caffe2/broken/**/evidence.txt")
    assert "line 40 of the program's log" in evidence.read_text()
    assert str(tmp_path) in reporter.destination
    assert ".failures" in reporter.destination


def test_evidence_with_half_a_character_is_kept(tmp_path):
    failure = replace(FAILED.failure, evidence="no file \udcff here", message="\udcff")
    LocalReporter(tmp_path).report(replace(FAILED, failure=failure))
    (evidence,) = tmp_path.rglob("evidence.txt")
    assert evidence.read_text() == "no file ? here\n"


@pytest.mark.parametrize(("mask", "directory", "file"), [(0o000, 0o777, 0o666), (0o027, 0o750, 0o640)])
def test_others_may_do_what_the_umask_lets_them(tmp_path, mask, directory, file):
    before = os.umask(mask)
    try:
        run = History(tmp_path).save(named(net="a b"))
    finally:
        os.umask(before)
    for path in (run, run.parents[4], run.parents[6]):
        assert stat.S_IMODE(path.stat().st_mode) == directory, path
    assert {stat.S_IMODE(path.stat().st_mode) for path in run.iterdir()} == {file}


def test_a_directory_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="--local_reporter"):
        LocalReporter(tmp_path / "file")
    reporter = LocalReporter(tmp_path / "results")
    (tmp_path / "results").rmdir()
    (tmp_path / "results").write_text("")
    with pytest.raises(ReporterError, match="cannot save"):
        reporter.report(DELAY)


LOOP = """
import sys
from pathlib import Path
from benchmarking.records.tree import History
from tests.support.sample_results import DELAY
for _ in range(int(sys.argv[2])):
    History(Path(sys.argv[1])).save(DELAY)
"""


def start_loop(directory, count):
    return subprocess.Popen([sys.executable, "-c", LOOP, str(directory), str(count)], cwd=ROOT)


def test_a_killed_process_leaves_no_half_run(tmp_path):
    for delay_s in (0.02, 0.11, 0.23):
        before = set(files_named("NET_DELAY.txt", tmp_path))
        process = start_loop(tmp_path, 100_000)
        wait_until(lambda before=before: set(files_named("NET_DELAY.txt", tmp_path)) > before)
        time.sleep(delay_s)
        process.send_signal(signal.SIGKILL)
        process.wait()
    runs = [
        path
        for path in tmp_path.rglob("*")
        if path.is_dir() and path.name.isdecimal() and path.parent.name == DELAY.provenance.commit
    ]
    assert runs
    for run in runs:
        assert len(list(run.iterdir())) == len(DELAY.types) + 1
        assert all(json.loads(path.read_text()) for path in run.iterdir())
    before = len(runs)
    assert History(tmp_path).save(DELAY).name == str(before)


def test_several_processes_never_share_a_run(tmp_path):
    processes = [start_loop(tmp_path, 25) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    (commit,) = tmp_path.rglob(DELAY.provenance.commit)
    assert sorted(int(path.name) for path in commit.iterdir()) == list(range(75))
