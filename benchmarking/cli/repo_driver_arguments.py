"""The command line of ``repo_driver.py``: its own options, and those that it hands to ``harness.py``."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence

from benchmarking import __version__
from benchmarking.cli import harness_arguments
from benchmarking.cli.argument_types import (
    Parser,
    comma_separated,
    path,
    path_or_name,
    positive_float,
    positive_int,
)
from benchmarking.errors import REPO_DRIVER_EXIT_STATUS_MEANING
from benchmarking.frameworks.frameworks import framework_names
from benchmarking.options import TOKEN_OPTION, HarnessOptions, RepoDriverOptions
from benchmarking.repos.repos import repo_names

OWN_HARNESS_OPTIONS = ("--info", "--program", "--run_type", "--regressed_types", "--platform", "--validate")
"""Of the harness; the loop sets them itself."""


def parse(argv: Sequence[str]) -> tuple[RepoDriverOptions, HarnessOptions | None]:
    """And what ``harness.py`` will make of the rest; None only for ``--status`` without a benchmark file.

    Ends the process with status 2 and a message where the arguments are wrong.
    """
    parser = _parser()
    parser.refuse_unknown_options(argv, harness_arguments.make_parser())
    known, extra = parser.parse_known_args(argv)
    options = RepoDriverOptions(**vars(known), harness_arguments=tuple(extra))
    if options.status and not extra:
        return options, None
    if options.repo_dir is None and not options.status:
        parser.error("the following arguments are required: --repo_dir")
    if options.once and options.interval is not None:
        parser.error("--once ends when nothing is pending and --interval goes on for ever: choose one")
    for argument in (one.split("=", 1)[0] for one in extra):
        if argument in OWN_HARNESS_OPTIONS:
            parser.error(f"{argument} is set by the loop itself, for every run of harness.py")
    return options, harness_arguments.parse(extra, parser.prog)


def split_token(argv: Sequence[str]) -> tuple[tuple[str, ...], str | None]:
    """The arguments without the access token, and the token."""
    kept: list[str] = []
    token = None
    rest = iter(argv)
    for argument in rest:
        if argument == TOKEN_OPTION:
            token = next(rest, None)
        elif argument.startswith(f"{TOKEN_OPTION}="):
            token = argument.partition("=")[2]
        else:
            kept.append(argument)
    return tuple(kept), token


def _parser() -> Parser:
    statuses = [f"  {status:>3}  {meaning}" for status, meaning in REPO_DRIVER_EXIT_STATUS_MEANING.items()]
    parser = Parser(
        "repo_driver.py",
        description="Benchmark the commits of a repository, one after the other: build each, measure it, and "
        "find performance regressions. All options of harness.py can be given as well; they are passed on.",
        epilog="\n".join(["exit status:", *statuses]),
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    _add_repository(parser.add_argument_group("the repository"))
    _add_commits(parser.add_argument_group("which commits"))
    _add_builds(parser.add_argument_group("building"))
    _add_running(
        parser.add_argument_group(
            "running", "Without --once and --interval, one commit is measured: --commit, or the newest."
        )
    )
    _add_telling(parser.add_argument_group("what it tells"))
    return parser


def _add_repository(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--repo_dir",
        type=path,
        metavar="DIRECTORY",
        help="required: the framework's repository; its checkout and branches are not touched",
    )
    group.add_argument(
        "--repo", choices=repo_names(), help="its source control (default: what the directory is)"
    )
    group.add_argument(
        "--remote_repository",
        type=path_or_name,
        metavar="NAME|URL",
        help="the remote to fetch from (default: origin; of Mercurial, default)",
    )
    group.add_argument(
        "--branch",
        help="the remote's branch to follow (default: master; where there is none, the one that is checked "
        "out; of Mercurial, default)",
    )


def _add_commits(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--commit",
        help="the commit to measure: a branch, a tag or a hash (also short); with --once or --interval "
        "it is the one to begin with (default: the newest of --branch)",
    )
    group.add_argument(
        "--commit_file",
        type=path,
        metavar="FILE",
        help="keeps the last commit that is finished on every platform; where it has one, the run goes on "
        "behind it, and --commit has no use",
    )
    group.add_argument(
        "--base_commit",
        metavar="COMMIT",
        help="the control to compare with, where it is later than the first commit of the week (UTC) "
        "(default: that first commit)",
    )
    group.add_argument(
        "--regression",
        action="store_true",
        help="compare every commit with the control, and look for regressions; confirmed ones are traced "
        "to their commit",
    )
    group.add_argument(
        "--step",
        type=positive_int,
        default=RepoDriverOptions.step,
        metavar="N",
        help="measure every N-th commit, and with --once the newest; a regression is traced through those "
        "between (default: %(default)s)",
    )
    group.add_argument(
        "--max_pending",
        type=positive_int,
        metavar="N",
        help="when more than N commits wait, measure the newest first and skip the oldest (default: all)",
    )
    group.add_argument(
        "--merged_commits",
        action="store_true",
        help="measure also the single commits that a merge brought in (default: only the merge)",
    )
    group.add_argument(
        "--retry_failed", action="store_true", help="first do again what failed or could not be built before"
    )


def _add_builds(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--exec_dir",
        type=path,
        required=True,
        metavar="DIRECTORY",
        help="required: keeps the executables, which are used again, and what the loop remembers",
    )
    group.add_argument(
        "--framework",
        choices=framework_names(),
        default=RepoDriverOptions.framework,
        help="the framework to benchmark (default: %(default)s)",
    )
    group.add_argument(
        "--frameworks_dir",
        type=path,
        metavar="DIRECTORY",
        help="the build scripts: <framework>/<platform>/build.sh below it, or the nearest above "
        "(default: specifications/frameworks of this installation)",
    )
    group.add_argument(
        "--platforms",
        type=comma_separated,
        default=RepoDriverOptions.platforms,
        metavar="PLATFORM,...",
        help="the platforms to build for and to run on (default: host)",
    )
    group.add_argument(
        "--build_timeout",
        type=positive_float,
        default=RepoDriverOptions.build_timeout,
        metavar="SECONDS",
        help="how long one build may take before it is killed and counts as failed (default: %(default)g)",
    )
    group.add_argument(
        "--same_host",
        action="store_true",
        help="builds and measurements share this machine: never build while something is measured",
    )


def _add_running(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--once", action="store_true", help="measure all commits that are pending, then end")
    group.add_argument(
        "--interval",
        type=_not_negative_float,
        metavar="SECONDS",
        help="go on for ever; the shortest time between the starts of two commits",
    )
    group.add_argument(
        "--status_file",
        type=path,
        metavar="FILE",
        help="the loop ends, after the run that it is in, when the content of this file is 0",
    )
    group.add_argument(
        "--run_timeout",
        type=positive_float,
        default=RepoDriverOptions.run_timeout,
        metavar="SECONDS",
        help="how long harness.py may take for one commit before it is killed (default: %(default)g)",
    )


def _add_telling(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--status",
        action="store_true",
        help="only show what is done, pending, failed and regressed, also while a loop runs",
    )
    group.add_argument(
        "--notify",
        type=_command,
        default=(),
        metavar="COMMAND",
        help="is run with JSON on its standard input when a regression is confirmed, and when a build, a "
        "test or the infrastructure begins to fail or works again; no shell reads it",
    )
    group.add_argument(
        "--log_file",
        type=path,
        metavar="FILE",
        help="what is told is also written here, up to 5 files of 10 MB",
    )
    group.add_argument(
        "--log_level",
        choices=("debug", "info", "warning", "error"),
        default=RepoDriverOptions.log_level,
        help="how much to tell on stderr (default: %(default)s)",
    )


def _command(text: str) -> tuple[str, ...]:
    try:
        argv = shlex.split(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a command: {error}") from error
    if not argv:
        raise argparse.ArgumentTypeError("it is empty; name a command")
    return (path_or_name(argv[0]), *argv[1:])


def _not_negative_float(text: str) -> float:
    return 0.0 if float(text) == 0 else positive_float(text)


_not_negative_float.__name__ = "number"
