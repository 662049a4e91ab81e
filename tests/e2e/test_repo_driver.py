"""The whole loop, as a user starts it: real repositories, real builds, the real harness."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarking.records.series import series_of
from benchmarking.records.tree import History, Selection
from examples.regression_demo.make_repository import MERGE, SLOW_PRODUCT
from tests.support.loop_workshop import ROOT, LoopWorkshop, kill
from tests.support.repositories import MONDAY, find_hg
from tests.support.waiting import LIMIT_S, wait_until

SECRET = "t0ken-that-nobody-may-see"


@pytest.fixture
def workshop(tmp_path):
    return LoopWorkshop(tmp_path)


@pytest.fixture(params=["git", "hg"])
def either(request, tmp_path):
    if request.param == "hg" and find_hg() is None:
        pytest.skip("there is no hg here")
    return LoopWorkshop(tmp_path, request.param)


def slow_in_the_middle(workshop):
    for number in range(9):
        workshop.commit(100.0 if number < 6 else 200.0)


# --- what it finds ------------------------------------------------------------------------------------------


def test_every_commit_is_measured_once(either):
    slow_in_the_middle(either)
    done = either.run("--commit", either.commits[0], "--once", "--regression")
    assert done.returncode == 5, done.stderr
    after = {"commit 6": "regressed", "commit 7": "known", "commit 8": "known"}
    assert either.statuses() == {f"commit {number}": "measured" for number in range(6)} | after
    assert re.search("  known +0 left  commit 8", done.stderr)
    assert "made host slower: commit 6 (Ann <ann@example.org>, 2026-03-02 15:00)" in done.stderr
    assert "NET_DELAY +100.0 %" in done.stderr
    assert sorted(either.builds) == sorted(f"commit {number}" for number in range(9))

    again = either.run("--once", "--regression")
    assert again.returncode == 0, again.stderr
    assert len(either.builds) == 9
    status = either.run("--status").stdout
    assert f"done up to {either.commits[-1][:12]}" in status
    assert "made host slower: commit 6" in status
    assert re.search(r"  known  .*  commit 8", status)


def test_commits_of_one_second_and_of_times_that_no_clock_has(workshop):
    remote = workshop.remote
    commits = [workshop.commit()]
    commits += [remote.commit({"subject": str(number)}, time=MONDAY) for number in range(2)]
    commits += [remote.commit_at(f"{time} +0000") for time in (0, 253_402_300_800, 10**25)]
    done = workshop.run("--commit", commits[0], "--once", "--regression")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert set(workshop.statuses().values()) == {"measured"}
    assert "285428751" in str(sorted(workshop.exec_dir.glob("results/*/caffe2/tiny/delay/delay/*")))
    status = workshop.run("--status")
    assert (status.returncode, status.stderr) == (0, "")
    series = series_of(History(workshop.exec_dir / "results").saved(Selection()))
    assert [[one.commit for one in found.points] for found in series] == [commits]
    assert [one.position for one in series[0].points] == list(range(1, 7))


def test_skipped_commits_are_bisected(workshop, tmp_path):
    for number in range(16):
        workshop.commit(100.0 if number < 13 else 200.0)
    told = tmp_path / "told"
    arguments = ("--commit", workshop.commits[0], "--once", "--regression", "--step", "3")

    done = workshop.run(*arguments, "--notify", f"tee -a '{told}'")

    assert done.returncode == 5, done.stderr
    assert "searching the 3 commits since" in done.stderr
    assert "made host slower: commit 13 (" in done.stderr
    (event,) = [json.loads(line) for line in told.read_text().splitlines()]
    (culprit,) = event["culprits"]
    assert culprit["commit"] == workshop.commits[13]
    assert culprit["subject"] == "commit 13"
    assert culprit["author"] == "Ann <ann@example.org>"
    assert culprit["good_commit"] == workshop.commits[12]
    marked = [
        path
        for path in workshop.exec_dir.glob("results/**/NET_DELAY.txt")
        if workshop.commits[13] in str(path)
    ]
    assert any(json.loads(path.read_text()).get("regressed") == 1 for path in marked)


@pytest.mark.parametrize(("fail_on", "status"), [("never", 0), ("inconclusive", 5)])
def test_fail_on_changes_the_exit_status_and_nothing_else(workshop, fail_on, status):
    for delay_us in (100.0, 100.0, 200.0):
        workshop.commit(delay_us)
    arguments = ("--commit", workshop.commits[0], "--once", "--regression", "--fail_on", fail_on)
    done = workshop.run(*arguments)
    assert done.returncode == status, done.stderr
    assert workshop.statuses() == {"commit 0": "measured", "commit 1": "measured", "commit 2": "regressed"}
    assert "made host slower: commit 2 (" in done.stderr


def test_the_newest_commit_is_measured_whatever_the_step(workshop):
    for _ in range(5):
        workshop.commit()
    done = workshop.run("--commit", workshop.commits[0], "--once", "--step", "3")
    assert done.returncode == 0, done.stderr
    assert workshop.builds == ["commit 0", "commit 3", "commit 4"]
    assert f"done up to {workshop.commits[4][:12]}" in workshop.run("--status").stdout


def test_an_inconclusive_commit_is_looked_at_again(workshop, tmp_path):
    """Where the noise hides a regression, it is not put down to the next commit."""
    runs = tmp_path / "runs"
    noisy = (
        f"$(echo >> '{runs}'; number=$(wc -l < '{runs}'); if [ $number -gt 28 ]; then echo 200; "
        "elif [ $((number / 4 % 2)) = 0 ]; then echo 100; else echo 300; fi)"
    )
    for delay_us in (100.0, 100.0, noisy, 200.0):
        workshop.commit(delay_us)
    arguments = ("--commit", workshop.commits[0], "--once", "--regression", "--fail_on", "inconclusive")
    done = workshop.run(*arguments)
    assert done.returncode == 5, done.stderr
    assert workshop.statuses()["commit 2"] == "inconclusive"
    assert "made host slower: commit 2 (" in done.stderr
    assert "made host slower: commit 3 (" not in done.stderr
    assert "inconclusive" in workshop.run("--status").stdout


def test_the_newest_first_when_too_many_wait(workshop):
    for _ in range(6):
        workshop.commit()
    done = workshop.run("--commit", workshop.commits[0], "--once", "--max_pending", "2")
    assert done.returncode == 0, done.stderr
    assert workshop.builds == ["commit 5", "commit 4"]
    assert workshop.statuses()["commit 3"] == "skipped"


def test_one_commit_without_once_and_interval(workshop, tmp_path):
    for _ in range(3):
        workshop.commit()
    file = tmp_path / "last"
    assert workshop.run("--commit", workshop.commits[0][:10], "--commit_file", str(file)).returncode == 0
    assert file.read_text().strip() == workshop.commits[0]
    assert workshop.run("--commit_file", str(file)).returncode == 0
    assert file.read_text().strip() == workshop.commits[1]
    assert workshop.run().returncode == 0
    assert workshop.builds == ["commit 0", "commit 1", "commit 2"]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"nonsense\n", b"x" * 100_000, None], ids=str)
def test_a_damaged_commit_file_and_manifest_are_not_believed(workshop, tmp_path, content):
    """None: a pipe that nobody writes to."""
    workshop.commit()
    file = tmp_path / "last"
    assert workshop.run("--once", "--commit_file", str(file)).returncode == 0
    (manifest,) = workshop.exec_dir.rglob("manifest.json")
    for path in (file, manifest):
        path.unlink()
        if content is None:
            os.mkfifo(path)
        else:
            path.write_bytes(content)
    done = workshop.run("--commit_file", str(file))
    assert done.returncode == 0, done.stderr
    assert "is not valid and is not used" in done.stderr
    assert workshop.builds == ["commit 0", "commit 0"]
    assert file.read_text().strip() == workshop.commits[0]


def test_a_wrong_commit_and_a_wrong_harness_argument(workshop):
    workshop.commit()
    for extra, message in [
        (("--commit", "nothing"), "has no commit, branch or tag 'nothing'"),
        (("--platforms", "toaster"), "--platforms: there is no platform 'toaster'"),
        (("--platforms", "host/../x"), "is not a platform"),
        (
            ("--platfrms", "host"),
            "repo_driver.py: error: there is no option '--platfrms'; did you mean --platforms?",
        ),
        (("--alpha", "0.9"), "--alpha 0.9"),
        (("--backend", "mkk"), "did you mean mkl?"),
        (("--backend", "default,mkl", "--regression"), "--backend: several backends"),
        (("--shared_libz", "x"), "there is no option '--shared_libz'; did you mean --shared_libs?"),
        (("--info", "{}"), "--info is set by the loop itself"),
        (("--once", "--interval", "5"), "choose one"),
        (("--frameworks_dir", "/nowhere"), "there is no build.sh"),
        (("--repo_dir", "/nowhere"), "is not a git repository"),
        (("--notify", "no-such-command x"), "--notify: there is no command 'no-such-command'"),
    ]:
        done = workshop.run(*extra)
        assert done.returncode == 2, (extra, done.stderr)
        assert message in done.stderr
        assert "Traceback" not in done.stderr
    assert workshop.builds == []


# --- builds -------------------------------------------------------------------------------------------------


def test_builds_that_fail_hang_or_leave_half_a_binary(workshop):
    workshop.commit()
    workshop.commit(build_first="echo this went wrong >&2; exit 3")
    workshop.commit(build_first="sleep 600")
    workshop.commit(build_first='echo half > "$2"; exit 0')
    workshop.commit(build_first=None)
    arguments = ("--commit", workshop.commits[0], "--once", "--build_timeout", "2")

    done = workshop.run(*arguments)

    assert done.returncode == 7, done.stderr
    failed = {f"commit {number}": "build failed" for number in (1, 2, 3)}
    assert workshop.statuses() == {"commit 0": "measured", **failed, "commit 4": "measured"}
    assert "this went wrong" in done.stderr
    assert "it exceeded the --build_timeout of 2 s and was killed" in done.stderr
    assert "left no executable" in done.stderr
    programs = list(workshop.exec_dir.glob("caffe2/host/**/caffe2_benchmark"))
    assert len(programs) == 2
    assert not list(workshop.exec_dir.glob("caffe2/host/**/.tmp-*"))

    built = len(workshop.builds)
    assert workshop.run("--once").returncode == 0
    assert len(workshop.builds) == built
    assert workshop.run("--once", "--retry_failed", "--build_timeout", "2").returncode == 7
    assert len(workshop.builds) > built


def test_what_begins_to_fail_and_works_again_is_notified(workshop, tmp_path):
    workshop.commit()
    workshop.commit(build_first="exit 3")
    workshop.commit()
    workshop.commit(build_first=None, program_also="exit 9")
    told = tmp_path / "told"
    arguments = ("--commit", workshop.commits[0], "--once", "--notify", f"tee -a '{told}'")
    assert workshop.run(*arguments).returncode == 7
    workshop.commit(program_also=None)
    assert workshop.run(*arguments).returncode == 0
    events = [json.loads(line) for line in told.read_text().splitlines()]
    assert [(one["event"], one.get("what"), one["commit"]["subject"]) for one in events] == [
        ("build_failure", None, "commit 1"),
        ("works_again", "build", "commit 3"),
        ("test_failure", None, "commit 3"),
        ("works_again", "test", "commit 4"),
    ]
    assert "exit status 3" in events[0]["message"]


def test_the_status_shows_what_is_being_built(workshop):
    workshop.commit(build_first="sleep 600")
    process = workshop.start()
    try:
        wait_until(lambda: workshop.builds)
        shown = workshop.run("--status").stdout
        assert re.search(
            rf"^now building {workshop.commits[0][:12]} for host: \d+ s so far$", shown, re.MULTILINE
        )
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    assert "now building" not in workshop.run("--status").stdout


def test_an_executable_that_is_not_what_its_manifest_says_is_built_again(workshop):
    workshop.commit()
    assert workshop.run().returncode == 0
    (program,) = workshop.exec_dir.glob("caffe2/host/**/caffe2_benchmark")
    assert workshop.run().returncode == 0
    assert workshop.builds == ["commit 0"]
    program.write_text("#!/bin/sh\nexit 9\n")
    assert workshop.run().returncode == 0
    assert workshop.builds == ["commit 0", "commit 0"]


def test_a_failing_test_is_recorded_and_the_others_go_on(workshop):
    workshop.commit()
    workshop.commit(program_also="exit 9")
    workshop.commit(program_also=None)
    done = workshop.run("--commit", workshop.commits[0], "--once")
    assert done.returncode == 3, done.stderr
    assert workshop.statuses() == {"commit 0": "measured", "commit 1": "failed", "commit 2": "measured"}


# --- what goes wrong around it ------------------------------------------------------------------------------


def test_a_remote_that_fails_for_a_while(either, tmp_path):
    either.commit()
    user = either.remote.clone(tmp_path / "user")
    arguments = ("--commit", either.commits[0], "--once")
    assert either.run(*arguments, repo_dir=user).returncode == 0
    away = either.remote.directory.rename(tmp_path / "away")

    done = either.run("--once", repo_dir=user)
    assert done.returncode == 4, done.stderr
    assert "continuing with the commits fetched before" in done.stderr

    away.rename(either.remote.directory)
    either.commit()
    assert either.run("--once", repo_dir=user).returncode == 0
    assert either.statuses() == {"commit 0": "measured", "commit 1": "measured"}


def test_a_platform_that_fails_does_not_hold_up_the_others(workshop, tmp_path):
    """This machine has no GPU, or none of this name: a device that is not there."""
    workshop.commit()
    workshop.commit()
    file, told = tmp_path / "last", tmp_path / "told"
    arguments = ("--commit", workshop.commits[0], "--once", "--platforms", "gpu,host")
    notify = ("--notify", f"tee -a '{told}'")

    done = workshop.run(
        *arguments, *notify, "--commit_file", str(file), CUDA_VISIBLE_DEVICES="", PATH_TO_NVML=""
    )

    if "gpu: " not in done.stderr:
        pytest.skip("there is a GPU here")
    assert done.returncode == 4, done.stderr
    assert workshop.rows("SELECT DISTINCT platform, status FROM runs") == [("host", "measured")]
    assert len(workshop.rows("SELECT 1 FROM runs")) == 2
    assert not file.exists()
    (event,) = [json.loads(line) for line in told.read_text().splitlines()]
    assert (event["event"], event["what"]) == ("infrastructure_failure", "gpu")
    waiting = workshop.run("--status").stdout
    assert "pending" in waiting
    assert "a device of gpu failed" in waiting
    assert workshop.run("--once", "--commit_file", str(file)).returncode == 0
    assert file.read_text().strip() == workshop.commits[1]


def test_a_commit_that_ends_the_harness_again_and_again_counts_as_failed(workshop):
    workshop.commit(program_also="kill -9 $PPID")
    workshop.commit(program_also=None)
    arguments = ("--commit", workshop.commits[0], "--once")
    for _ in range(2):
        done = workshop.run(*arguments)
        assert done.returncode == 1, done.stderr
        assert "the harness was ended by signal 9" in done.stderr
        assert workshop.statuses() == {}
    assert workshop.run(*arguments).returncode == 3
    assert workshop.statuses() == {"commit 0": "failed", "commit 1": "measured"}


def test_a_damaged_state_is_one_line(workshop):
    workshop.commit()
    assert workshop.run().returncode == 0
    workshop.state.write_bytes(b"")
    for extra in ((), ("--status",)):
        done = workshop.run(*extra)
        assert done.returncode == 4, done.stderr
        assert f"{workshop.state}: this file was emptied" in done.stderr
        assert "Traceback" not in done.stderr
    assert workshop.state.read_bytes() == b""


def test_missing_packages_are_named(tmp_path):
    """Python without site-packages stands for an installation without the requirements."""
    argv = (sys.executable, "-S", ROOT / "repo_driver.py", "--repo_dir", tmp_path, "--exec_dir", tmp_path)
    for extra in (("--benchmark_file", "x.json"), ("--status",)):
        done = subprocess.run([*argv, *extra], capture_output=True, text=True, timeout=LIMIT_S, check=False)
        assert done.returncode == 2, done.stderr
        assert re.search(r"^repo_driver\.py: the package \w+ is missing; install", done.stderr, re.MULTILINE)
        assert "Traceback" not in done.stderr


def test_the_log_file_has_all_messages(workshop, tmp_path):
    workshop.commit()
    log = tmp_path / "logs/loop.log"
    done = workshop.run("--log_file", str(log))
    assert log.read_text() == done.stderr
    assert "commit 0" in log.read_text()
    taken = tmp_path / "a directory"
    taken.mkdir()
    done = workshop.run("--log_file", str(taken))
    assert done.returncode == 2
    assert "--log_file" in done.stderr


def test_killed_at_twenty_moments_it_comes_to_the_same_end(workshop):
    slow_in_the_middle(workshop)
    arguments = ("--commit", workshop.commits[0], "--once", "--regression")
    query = 'SELECT "commit", platform, status, control, suspects FROM runs ORDER BY 1'
    culprits = 'SELECT regressed, test, type, ratio, good, "commit" FROM culprits ORDER BY 1, 2, 3'
    assert workshop.run(*arguments).returncode == 5
    undisturbed = workshop.rows(query), workshop.rows(culprits)
    workshop.forget()

    moments = random.Random(20)
    finished: dict[str, float] = {}
    for _ in range(20):
        process = workshop.start(*arguments)
        time.sleep(moments.uniform(0.2, 2.5))
        kill(process)
        now = dict(workshop.rows('SELECT "commit", finished_at FROM runs'))
        assert {commit: now.get(commit) for commit in finished} == finished, (
            "finished work was lost or repeated"
        )
        finished = now
    assert workshop.run(*arguments).returncode in (0, 5)

    assert (workshop.rows(query), workshop.rows(culprits)) == undisturbed


def test_what_a_killed_run_has_left_running_is_ended(workshop):
    workshop.commit(build_first="sleep 600")
    process = workshop.start()
    wait_until(lambda: workshop.builds)
    kill(process)
    done = workshop.run("--build_timeout", "1")
    assert "an earlier run left running" in done.stderr
    assert done.returncode == 7


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "status_file"])
def test_a_continuous_loop_ends_in_order(workshop, tmp_path, how):
    workshop.commit()
    status_file = tmp_path / "status"
    status_file.write_text("1")
    arguments = ("--commit", workshop.commits[0], "--interval", "0", "--status_file", str(status_file))
    process = workshop.start(*arguments)
    try:
        wait_until(lambda: workshop.statuses() == {"commit 0": "measured"})
        second = workshop.run("--once")
        assert second.returncode == 2
        assert "another repo_driver.py is running" in second.stderr
        assert workshop.run("--status").returncode == 0
        workshop.commit()
        wait_until(lambda: workshop.statuses().get("commit 1") == "measured")
        if how == "status_file":
            status_file.write_text("0\n")
        else:
            process.send_signal(getattr(signal, how))
        assert process.wait(30) == (0 if how == "status_file" else 130)
    finally:
        process.kill()


def test_a_full_disk(workshop, tmp_path):
    """On a file system of our own, which needs root."""
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(small)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        workshop.exec_dir = small / "exec"
        for _ in range(4):
            workshop.commit()
        filler = small / "filler"
        done = workshop.run("--commit", workshop.commits[0], "--once")
        filler.write_bytes(b"")
        assert done.returncode == 4, done.stderr
        assert "Traceback" not in done.stderr
        assert "full" in done.stderr or "No space" in done.stderr
        subprocess.run(["mount", "-o", "remount,size=500m", str(small)], check=True)
        done = workshop.run("--commit", workshop.commits[0], "--once")
        assert done.returncode == 0, done.stderr
        assert set(workshop.statuses().values()) == {"measured"}
        assert len(workshop.statuses()) == 4
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_arguments_reach_the_harness_unharmed(workshop, tmp_path):
    workshop.commit()
    odd = tmp_path / 'it\'s "odd" $(touch pwned) `x`\n;&* ü'
    done = workshop.run("--local_reporter", str(odd), "--markdown", f"{odd}.md")
    assert done.returncode == 0, done.stderr
    assert list(odd.rglob("NET_DELAY.txt"))
    assert Path(f"{odd}.md").is_file()
    assert not list(Path.cwd().glob("pwned"))
    assert not list(tmp_path.rglob("pwned"))


@pytest.mark.parametrize("way", ["option", "variable"])
def test_the_token_is_nowhere(workshop, tmp_path, way):
    leak = tmp_path / "leak"
    workshop.commit(
        build_first=f"(env; cat /proc/*/cmdline | tr '\\0' ' ') >> {leak} 2>/dev/null || true",
        program_also=f"(env; cat /proc/*/cmdline | tr '\\0' ' ') >> {leak} 2>/dev/null || true",
    )
    log = tmp_path / "log"
    arguments = ["--log_file", str(log), "--log_level", "debug", "--remote_reporter", "127.0.0.1:9/x|y"]
    environment = {}
    if way == "option":
        arguments += ["--remote_access_token", SECRET]
    else:
        environment = {"BENCHMARK_REMOTE_ACCESS_TOKEN": SECRET}
    arguments += ["--local_reporter", str(tmp_path / "results"), "--notify", f"sh -c 'env >> {leak}'"]
    done = workshop.run(*arguments, **environment)
    assert done.returncode in (4, 6), done.stderr
    text = leak.read_text()
    assert "repo_driver.py" in text
    assert "start_program.py harness" in text
    assert SECRET not in text
    for path in (log, *(tmp_path / "results").rglob("*"), *workshop.exec_dir.rglob("*")):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path
    assert SECRET not in done.stderr


@pytest.mark.timeout(600)
def test_the_demo_with_mercurial(tmp_path):
    """From the commit before the first slow one to the merge after it: with git the whole demo runs."""
    hg = find_hg()
    if hg is None:
        pytest.skip("there is no hg here")
    whole, short = tmp_path / "whole", tmp_path / "short"
    make = [sys.executable, ROOT / "examples/regression_demo/make_repository.py", "--repo", "hg", whole]
    made = subprocess.run(make, capture_output=True, text=True, check=True, cwd=ROOT)
    command = made.stdout.split("\n\n")[1].split()
    log = [hg, "log", "--rev", "_firstancestors(.)", "--template", "{node} {desc}\n"]
    history = subprocess.run(log, capture_output=True, text=True, check=True, cwd=whole).stdout.splitlines()
    slow = next(at for at, line in enumerate(history) if line.endswith(SLOW_PRODUCT))
    merge = next(at for at, line in enumerate(history) if line.endswith(MERGE))
    subprocess.run([hg, "clone", "--quiet", "--rev", history[merge].split()[0], whole, short], check=True)
    (short / ".hg/hgrc").unlink()  # the loop would follow the whole repository
    first = ("--repo_dir", short, "--commit", history[slow - 1].split()[0])
    done = subprocess.run(
        [sys.executable, *command[1:], *first, "--local_reporter", str(tmp_path / "results")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    assert done.returncode == 5, done.stderr
    assert f" made host slower: {SLOW_PRODUCT} (" in done.stderr, done.stderr
    assert re.search(rf" known +0 left  {MERGE}$", done.stderr, flags=re.MULTILINE), done.stderr
