"""The options of ``repo_driver.py``, each declared at its field."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from benchmarking.cli.argument_types import command, path_or_name, positive_float
from benchmarking.cli.declared import DeclaredOptions, option
from benchmarking.cli.options import LogLevel
from benchmarking.dispatch import LAB_VARIABLE
from benchmarking.frameworks.frameworks import framework_names
from benchmarking.repos.repos import repo_names

REPOSITORY = "the repository"
COMMITS = "which commits"
BUILDS = "building"
RUNNING = "running"
LAB = "on a lab"
REPORTING = "reporting"
DESCRIPTIONS = {
    LAB: "Commits are built and measured by other hosts, which serve a lab (docs/lab.md).",
    RUNNING: "Without --once and --interval, one commit is measured: --commit, or the newest commit.",
}


def _not_negative_float(text: str) -> float:
    return 0.0 if float(text) == 0 else positive_float(text)


_not_negative_float.__name__ = "number"


@dataclass(frozen=True, kw_only=True)
class RepoDriverOptions(DeclaredOptions):
    """Every option of ``repo_driver.py``, by its name."""

    repo_dir: Path | None = option(
        None,
        group=REPOSITORY,
        metavar="DIRECTORY",
        example="~/caffe2",
        help="required: the framework's repository; nothing is written to it, not even its configuration",
    )
    repo: str | None = option(
        None,
        group=REPOSITORY,
        choices=repo_names,
        example="hg",
        usual="the kind of the directory",
        help="the source control of the repository",
    )
    remote_repository: str | None = option(
        None,
        group=REPOSITORY,
        read=path_or_name,
        metavar="NAME|URL",
        example="upstream",
        usual="origin; for Mercurial, default",
        help="the remote to fetch from; without a remote, the local branch is used",
    )
    branch: str | None = option(
        None,
        group=REPOSITORY,
        example="main",
        usual="master, otherwise the branch that is checked out; for Mercurial, default",
        help="the remote's branch to follow",
    )

    commit: str | None = option(
        None,
        group=COMMITS,
        example="v1.2",
        usual="the newest of --branch",
        help="the commit to measure: a branch, a tag or a hash, which may be short; with --once or "
        "--interval the commit to begin with",
    )
    commit_file: Path | None = option(
        None,
        group=COMMITS,
        metavar="FILE",
        example="last_commit",
        help="the file that keeps the last commit that is finished on every platform; a run continues after "
        "that "
        "commit, and --commit is then ignored",
    )
    base_commit: str | None = option(
        None,
        group=COMMITS,
        metavar="COMMIT",
        example="v1.1",
        usual="the first commit of the week",
        help="the control to compare with, if it is later than the first commit of the week (UTC)",
    )
    regression: bool = option(
        False,
        group=COMMITS,
        help="compare every commit with the control and look for regressions; confirmed regressions are "
        "traced to their commits",
    )
    step: int = option(
        1,
        group=COMMITS,
        metavar="N",
        example="5",
        help="measure every N-th commit, and with --once the newest; a regression is traced through the "
        "commits between",
    )
    max_pending: int | None = option(
        None,
        group=COMMITS,
        metavar="N",
        example="10",
        usual="all are measured",
        help="when more than N commits wait, measure the newest first and skip the oldest",
    )
    merged_commits: bool = option(
        False,
        group=COMMITS,
        help="also measure the single commits that a merge brought in, not only the merge",
    )
    retry_failed: bool = option(
        False, group=COMMITS, help="first repeat the commits that failed or could not be built before"
    )

    exec_dir: Path = option(
        group=BUILDS,
        metavar="DIRECTORY",
        example="/var/benchmark",
        help="required: the directory for the executables, which are reused, and the state of the loop",
    )
    framework: str = option(
        "caffe2", group=BUILDS, choices=framework_names, example="caffe2", help="the framework to benchmark"
    )
    frameworks_dir: Path | None = option(
        None,
        group=BUILDS,
        metavar="DIRECTORY",
        example="my/frameworks",
        usual="specifications/frameworks of this installation",
        help="the directory of the build scripts: <framework>/<platform>/build.sh below it, or the nearest "
        "build.sh above",
        page="building_caffe2.md",
    )
    platforms: tuple[str, ...] = option(
        ("host",),
        group=BUILDS,
        metavar="PLATFORM,...",
        example="host,gpu/cuda12",
        help="the platforms to build for and to run on",
    )
    build_timeout: float = option(
        6 * 3600.0,
        group=BUILDS,
        metavar="SECONDS",
        example="3600",
        help="the time limit of one build, after which it is killed and counts as failed",
    )
    same_host: bool = option(
        False,
        group=BUILDS,
        help="builds and measurements share this machine: never build during a measurement",
    )

    once: bool = option(False, group=RUNNING, help="measure all pending commits, then exit")
    interval: float | None = option(
        None,
        group=RUNNING,
        read=_not_negative_float,
        metavar="SECONDS",
        example="60",
        help="run until it is stopped; the shortest time between the starts of two commits",
    )
    status_file: Path | None = option(
        None,
        group=RUNNING,
        metavar="FILE",
        example="keep_running",
        help="end the loop, after the commit that is being measured, when the content of this file is 0",
    )
    run_timeout: float = option(
        24 * 3600.0,
        group=RUNNING,
        metavar="SECONDS",
        example="7200",
        help="the time limit of harness.py for one commit, after which it is killed; on a lab, the time in "
        "the queue is not counted",
    )

    lab: str | None = option(
        None,
        group=LAB,
        bare="",
        metavar="URL",
        example="postgresql://ann@lab.example/benchmarks",
        usual=f"only on this host; without a value, {LAB_VARIABLE} in the environment",
        help="build on hosts of this lab, and measure on its devices",
        page="lab.md#every-commit",
    )
    build_here: bool = option(
        False, group=LAB, help="build on this host, not on one of the lab, and send the programs"
    )
    on: str = option(
        "",
        group=LAB,
        metavar="CONDITION,...",
        example="label=kitchen,memory>=8GB",
        usual="all devices of the platform",
        help="only on these devices of the lab: conditions as of mlbench lab submit",
    )

    status: bool = option(
        False,
        group=REPORTING,
        help="only show what is done, pending, failed and regressed, and what a running loop is doing; needs "
        "only --exec_dir",
    )
    notify: tuple[str, ...] = option(
        (),
        group=REPORTING,
        read=command,
        write=shlex.join,
        metavar="COMMAND",
        example="mail-json team@example.org",
        help="run this command, without a shell and with JSON on its standard input, when a regression is "
        "confirmed, and when a build, a test or the infrastructure begins to fail or works again",
    )
    log_file: Path | None = option(
        None,
        group=REPORTING,
        metavar="FILE",
        example="loop.log",
        help="also write the log to this file, up to 5 files of 10 MB",
    )
    log_level: LogLevel = option("info", group=REPORTING, example="debug", help="how much to log on stderr")

    harness_arguments: tuple[str, ...] = ()
    """Passed on unchanged."""

    def to_argv(self) -> tuple[str, ...]:
        return (*super().to_argv(), *self.harness_arguments)
