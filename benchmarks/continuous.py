"""The cost of the continuous loop: its share of the time, a long history, memory over many commits.

python benchmarks/continuous.py share
python benchmarks/continuous.py history [--commits 10000] [--files 100]
python benchmarks/continuous.py memory [--commits 1000]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarking.cli.repo_driver import OWN_DIRECTORY  # noqa: E402
from benchmarking.continuous.activities import Activities  # noqa: E402
from benchmarking.continuous.builder import BuildOptions, Built, LocalBuilder  # noqa: E402
from benchmarking.continuous.loop import Loop, LoopOptions, Mode  # noqa: E402
from benchmarking.continuous.measurement import Harness  # noqa: E402
from benchmarking.continuous.notification import Notifier  # noqa: E402
from benchmarking.continuous.pipeline import BuildQueue, Pipeline, Task  # noqa: E402
from benchmarking.continuous.state import FILE_NAME, Position, Run, RunStatus, State  # noqa: E402
from benchmarking.programs.process import Cancellation  # noqa: E402
from benchmarking.records.tree import History  # noqa: E402
from benchmarking.repos.repo_base import RepoBase, RepoOptions, Revision  # noqa: E402
from benchmarking.repos.repos import make_repo  # noqa: E402
from benchmarking.results import documents  # noqa: E402
from benchmarking.results.model import Result  # noqa: E402
from benchmarking.specs.run_info import Commit  # noqa: E402
from examples.regression_demo.make_repository import make_repository  # noqa: E402

DEMO = ROOT / "examples/regression_demo"
FIRST_COMMIT_TIME = 1609459200
COMMIT_EVERY_S = 3600
PROGRAM = """#!/bin/sh
cat > "$2" <<'END'
#!/bin/sh
echo 'Caffe2Observer Delay Start'
echo 'Caffe2Observer NET_DELAY - 100 (us)'
echo 'Caffe2Observer Delay End'
END
chmod +x "$2"
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("share", "history", "memory"))
    parser.add_argument("--commits", type=int)
    parser.add_argument("--files", type=int, default=100, help="result files of one commit")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        if arguments.what == "share":
            measure_share(directory)
        elif arguments.what == "history":
            measure_history(directory, arguments.commits or 10_000, arguments.files)
        else:
            measure_memory(directory, arguments.commits or 1000)


# --- the share of the time ----------------------------------------------------------------------------------


def measure_share(directory: Path) -> None:
    commits = make_repository(directory / "repository")
    started = time.monotonic()
    options: tuple[str, ...] = ("--commit", commits[0], "--regression", "--same_host", "--once")
    options += ("--ab_mode", "process", "--ab_pairs", "7", "--canary", "off")
    files = ("--frameworks_dir", DEMO / "frameworks", "--benchmark_file", DEMO / "benchmark.json")
    done = subprocess.run(driver(directory, *options, *files), stderr=subprocess.PIPE, text=True, check=False)
    wall_s = time.monotonic() - started
    if done.returncode != 5:
        sys.exit(done.stderr)
    query = "SELECT COUNT(*), SUM(build_s), SUM(run_s) FROM runs"
    (count, build_s, run_s) = database(directory).execute(query).fetchone()
    own_s = wall_s - build_s - run_s
    print(f"{count} commits in {wall_s:.1f} s: {count / wall_s * 3600:.0f} commits per hour")
    print(f"build {build_s:.1f} s, harness.py {run_s:.1f} s")
    share = f"{own_s / wall_s:.1%} of the time, {own_s / count * 1e3:.0f} ms per commit"
    print(f"the driver's own: {own_s:.2f} s, {share}")
    print("(with the start of the program and the check of the benchmark file)")


def driver(directory: Path, *extra: object) -> list[str]:
    argv = [sys.executable, ROOT / "repo_driver.py", "--repo_dir", directory / "repository"]
    return [str(one) for one in (*argv, "--exec_dir", directory / "exec", *extra)]


def database(directory: Path) -> sqlite3.Connection:
    path = directory / "exec/caffe2" / OWN_DIRECTORY / FILE_NAME
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)


# --- a long history -----------------------------------------------------------------------------------------


def measure_history(directory: Path, count: int, files: int) -> None:
    print(f"{'commits':>8} {'files':>9} {'next commit':>12} {'history':>9}")
    figures = [time_history(directory / str(one), one, files) for one in (max(30, count // 100), count)]
    (next_small, history_small), (next_large, history_large) = figures
    print(f"ratio: {next_large / next_small:.2f}, {history_large / history_small:.2f}")


def time_history(directory: Path, count: int, files: int) -> tuple[float, float]:
    make_long_repository(directory, count)
    with Cancellation() as cancellation:
        options = RepoOptions(directory / "repository", directory / "work", cancellation)
        with make_repo("git", options) as repo, State(directory / "state", "benchmark") as state:
            revisions = repo.commits_after(None, repo.resolve("master").commit)
            state.finish([measured(one, revisions[0]) for one in revisions[:-1]])
            state.set_position("master", Position(revisions[-2].commit, is_done=True))
            history, like = make_results(directory, revisions, files)
            loop = make_loop(directory, repo, state, cancellation)
            started = time.monotonic()
            loop._begin()
            (task,) = loop._look()
            next_s = time.monotonic() - started
            assert task == Task(revisions[-1], "host")
            started = time.monotonic()
            control = Built(revisions[0], Path("program"), 0.0)
            commits = loop.pipeline._history(task, control)
            runs = history.runs(
                like, [Commit(commit=one.commit, commit_time=one.commit_time) for one in commits]
            )
            history_s = time.monotonic() - started
            assert len(runs) == len(commits) == 20
            assert all(len(one) == files for one in runs)
    print(f"{count:>8} {count * files:>9} {next_s:>10.3f} s {history_s:>7.3f} s")
    return next_s, history_s


def make_long_repository(directory: Path, count: int) -> None:
    repository = directory / "repository"
    repository.mkdir(parents=True)
    subprocess.run(["git", "init", "--quiet", "--initial-branch=master"], cwd=repository, check=True)
    lines = []
    for number in range(count):
        seconds = FIRST_COMMIT_TIME + number * COMMIT_EVERY_S
        subject = f"commit {number}"
        lines += ["commit refs/heads/master", f"committer Ann <ann@example.org> {seconds} +0000"]
        lines += [
            f"data {len(subject)}",
            subject,
            "M 100644 inline number",
            f"data {len(str(number))}",
            str(number),
        ]
    text = "\n".join([*lines, ""])
    subprocess.run(["git", "fast-import", "--quiet"], cwd=repository, input=text, text=True, check=True)


def measured(revision: Revision, control: Revision) -> Run:
    return Run("host", revision, RunStatus.MEASURED, "1 test", control.commit, 1.0, 1.0, revision.commit_time)


def make_results(directory: Path, revisions: list[Revision], files: int) -> tuple[History, Result]:
    """One real run of the harness, linked as the result of every other commit."""
    first = revisions[0]
    info = {"treatment": {"commit": first.commit, "commit_time": first.commit_time}}
    results = directory / "results"
    benchmark = write_benchmark(directory)
    script = directory / "build.sh"
    script.write_text(PROGRAM)
    subprocess.run(["sh", script, directory, directory / "program"], check=True)
    argv = [sys.executable, str(ROOT / "harness.py"), "--benchmark_file", str(benchmark)]
    argv += ["--local_reporter", str(results)]
    argv += [
        "--program",
        str(directory / "program"),
        "--info",
        json.dumps(info),
        "--model_cache",
        str(directory / "cache"),
    ]
    subprocess.run(argv, check=True, capture_output=True)
    (meta_file,) = results.rglob("meta.txt")
    run = meta_file.parent
    net_delay = json.loads((run / "NET_DELAY.txt").read_text())
    for number in range(files - 1):
        (run / f"operator_{number}.txt").write_text(json.dumps({**net_delay, "type": f"operator_{number}"}))
    names = [path.name for path in run.iterdir()]
    top = run.parents[4]
    for revision in revisions[1:-1]:
        moment = time.gmtime(revision.commit_time)
        place = top / str(moment.tm_year) / str(moment.tm_mon) / str(moment.tm_mday) / revision.commit / "0"
        place.mkdir(parents=True)
        for name in names:
            os.link(run / name, place / name)
    return History(results), documents.read_meta(meta_file.read_bytes())


def write_benchmark(directory: Path) -> Path:
    files = {}
    for key in ("init", "predict"):
        (directory / key).write_text(key)
        md5 = hashlib.md5(key.encode()).hexdigest()
        files[key] = {"filename": key, "location": key, "md5": md5}
    inputs = {"data": {"shapes": [[1]], "type": "float"}}
    test = {"identifier": "delay", "metric": "delay", "iter": 1, "warmup": 0, "inputs": inputs}
    path = directory / "benchmark.json"
    path.write_text(
        json.dumps({"model": {"name": "tiny", "format": "caffe2", "files": files}, "tests": [test]})
    )
    return path


def make_loop(directory: Path, repo: RepoBase, state: State, cancellation: Cancellation) -> Loop:
    options, activities = BuildOptions("caffe2", directory, directory), Activities(directory / "now.json")
    builder = LocalBuilder(repo, options, directory / "source", activities, cancellation)
    harness = Harness((), "caffe2", directory / "logs", activities, cancellation)
    pipeline = Pipeline(repo, builder, BuildQueue(builder), harness, state, detects_regressions=True)
    return Loop(
        LoopOptions(Mode.ONCE, ("host",), "master"),
        repo,
        pipeline,
        state,
        Notifier((), cancellation),
        cancellation,
    )


# --- memory -------------------------------------------------------------------------------------------------


def measure_memory(directory: Path, count: int) -> None:
    make_long_repository(directory, count)
    script = directory / "frameworks/caffe2/build.sh"
    script.parent.mkdir(parents=True)
    script.write_text(PROGRAM)
    first = subprocess.run(
        ["git", "rev-list", "--max-parents=0", "master"],
        cwd=directory / "repository",
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    options = ("--commit", first, "--once", "--log_level", "error", "--model_cache", directory / "cache")
    files = ("--frameworks_dir", directory / "frameworks", "--benchmark_file", write_benchmark(directory))
    process = subprocess.Popen(driver(directory, *options, *files))
    shown = 0
    while process.poll() is None:
        time.sleep(0.2)
        done = finished(directory)
        if done >= shown + count // 10:
            shown = done
            memory = psutil.Process(process.pid)
            print(
                f"{done:>6} commits: {memory.memory_info().rss / 2**20:.1f} MiB, {memory.num_fds()} files",
                flush=True,
            )
    print(f"exit status {process.returncode}, {finished(directory)} commits")


def finished(directory: Path) -> int:
    try:
        return int(database(directory).execute("SELECT COUNT(*) FROM runs").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


if __name__ == "__main__":
    main()
