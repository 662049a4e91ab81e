"""``mlbench compare BASE HEAD`` of saved runs: commits, branches, runs, devices, backends or frameworks."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarking.cli.argument_types import path, quoted
from benchmarking.cli.compare_request import HARNESS_OPTIONS, MODEL_OPTIONS, READING_OPTIONS, Request
from benchmarking.cli.options import HarnessOptions, refuse_shared_files
from benchmarking.cli.running import cancelled_by_signals
from benchmarking.cli.wiring import default_results
from benchmarking.errors import ExitStatus, ReporterError, UnknownCommitError, UsageError
from benchmarking.terminal import streams

if TYPE_CHECKING:
    import argparse

    from benchmarking.records.index import Index
    from benchmarking.records.saved_comparison import SavedComparison, Side
    from benchmarking.records.series import SeriesKey

OPTIONS = ("results", "by")
"""Only this kind of comparison has them."""
USED = ("log_level", "fail_on", "screen_reporter", "junit", "markdown", "export", "json")
"""Of ``HARNESS_OPTIONS``."""
ATTRIBUTES = ("device", "backend", "framework")
SHORTEST_PREFIX = 4
"""Of the hash of a commit, or of the identifier of a run."""
CHAIN = 20
"""A series that none of this number of newest measured commits of a branch has is left out."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "saved runs",
        "BASE and HEAD are commits, branches or runs whose results were saved; if they are also the names of "
        "programs, --results says that saved runs are meant.",
    )
    group.add_argument(
        "--results",
        type=path,
        metavar="DIRECTORY",
        help="where --local_reporter saved them (default: its default directory)",
    )
    group.add_argument(
        "--by", choices=ATTRIBUTES, help="BASE and HEAD are two devices, backends or frameworks instead"
    )


def is_meant(request: Request) -> bool:
    """Two names that are no commands, or that are those of a repository.

    Raises:
        UsageError: only one of them is a command.
    """
    if any(name in request.options for name in OPTIONS):
        return True
    if len(request.names) != 2:
        return False
    if request.repository is not None:
        return True
    are_commands = [_is_command(name) for name in request.names]
    if any(are_commands) and not all(are_commands):
        named = [f"{side} {quoted(name)}" for side, name in zip(("BASE", "HEAD"), request.names, strict=True)]
        command, other = named if are_commands[0] else reversed(named)
        raise UsageError(
            f"{command} is a command, {other} is none: give two commands, or two saved runs with --results"
        )
    return not any(are_commands)


def _is_command(text: str) -> bool:
    """Blanks, quotes and the beginning of a path are never in the name of a commit, a branch or a run. Other
    text is a command if there is such a program, or a file that is probably meant as one.
    """
    try:
        is_one_word = shlex.split(text) == [text]
    except ValueError:
        is_one_word = False  # a quote that is not closed, which the comparison of commands reports
    return (
        not is_one_word
        or text.startswith(("/", "./", "../"))
        or shutil.which(text) is not None
        or Path(text).is_file()
    )


def compare(request: Request) -> ExitStatus:
    from benchmarking.records import index

    if len(request.names) != 2:
        raise UsageError("give BASE and HEAD, and no files: saved runs are compared without running anything")
    request.refuse((*READING_OPTIONS, *MODEL_OPTIONS), "is for programs, and BASE and HEAD are saved runs")
    options = request.options
    for name in HARNESS_OPTIONS:
        if name not in USED and options.get(name) != getattr(HarnessOptions, name):
            raise UsageError(f"--{name} is for what runs: BASE and HEAD are saved runs, which are only read")
    root: Path = options.get("results") or default_results()
    if not root.is_dir():
        raise UsageError(f"there are no saved results in {root}; choose another directory with --results")
    files = [(f"--{name}", options.get(name)) for name in ("markdown", "junit")]
    refuse_shared_files([*files, *(("--export", one.file) for one in options.get("export", ()))])
    base, head = request.names
    with index.opened(root) as opened:
        if attribute := options.get("by"):
            found = _by(opened, attribute, base, head)
        else:
            found = _versions(opened, root, request.repository, base, head)
    if not found.rows:
        raise UsageError(
            f"{root}: {quoted(base)} and {quoted(head)} have no series in common; only BASE has "
            f"{found.only_base}, only HEAD has {found.only_head}"
        )
    status = _status(found, options["fail_on"])
    _report(found, status, request)
    return status


def _versions(index: Index, root: Path, repository: Path | None, base: str, head: str) -> SavedComparison:
    from benchmarking.records.saved_comparison import compare_versions

    sides = [(name, _side(index, root, repository, name)) for name in (base, head)]
    return compare_versions(index, sides[0], sides[1])


def _side(index: Index, root: Path, repository: Path | None, name: str) -> Side:
    """
    Raises:
        UsageError: no saved run has this name, or several have it.
    """
    from benchmarking.records.saved_comparison import newest

    if commit := _only(name, index.commits(), "commits"):
        return newest(index.of_commit(commit))
    if uid := _only(name, index.run_uids(), "runs"):
        return newest(index.of_run(uid))
    if repository is not None:
        return _of_branch(index, repository, name)
    if name in index.branches():
        return newest(index.of_branch(name))
    raise UsageError(
        f"{quoted(name)} is neither a program nor a saved commit, run or branch in {root}; the branches of a "
        "repository need --repository, and devices, backends and frameworks need --by"
    )


def _only(name: str, known: set[str], what: str) -> str | None:
    """
    Raises:
        UsageError: several begin so.
    """
    if name in known:
        return name
    found = sorted(one for one in known if one.startswith(name)) if len(name) >= SHORTEST_PREFIX else []
    if len(found) > 1:
        raise UsageError(
            f"{quoted(name)} is the beginning of {len(found)} {what}: {found[0]}, {found[1]} ..."
        )
    return found[0] if found else None


def _of_branch(index: Index, repository: Path, name: str) -> Side:
    """For each series the newest measured commit on the way from the branch's tip into its past.

    Raises:
        UsageError: there is no such branch, or none of its commits was measured.
    """
    from benchmarking.programs.process import Cancellation
    from benchmarking.records.saved_comparison import newest
    from benchmarking.repos.repo_base import RepoOptions
    from benchmarking.repos.repos import make_repo

    known = index.commits()
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-compare-") as ours,
        Cancellation() as cancellation,
        cancelled_by_signals(cancellation),
        make_repo(None, RepoOptions(repository, Path(ours), cancellation, names_are_local=True)) as repo,
    ):
        chain = (one.commit for one in repo.chain(repo.resolve(name).commit))
        measured = [*islice((commit for commit in chain if commit in known), CHAIN)]
    if not measured:
        raise UnknownCommitError(f"no saved result is of a commit of {quoted(name)} in {repository}")
    ranks = {commit: -place for place, commit in enumerate(measured)}
    runs = [run for commit in measured for run in index.of_commit(commit)]
    return newest(runs, lambda one: (ranks[one.commit_name], one.commit_time))


def _by(index: Index, attribute: str, base: str, head: str) -> SavedComparison:
    from benchmarking.records.saved_comparison import compare_series

    values = {number: _values(key, attribute) for number, (key, _) in index.series().items()}
    sides = [(name, [number for number, one in values.items() if name in one]) for name in (base, head)]
    for name, numbers in sides:
        if not numbers:
            known = sorted({one for found in values.values() for one in found if one})
            raise UsageError(
                f"there are no saved results of the {attribute} {quoted(name)}, but of {', '.join(known)}"
            )
    return compare_series(index, sides[0], sides[1], attribute)


def _values(key: SeriesKey, attribute: str) -> tuple[str, ...]:
    test = key.test
    named = {
        "device": (key.platform, test.device),
        "backend": (test.backend or "",),
        "framework": (test.framework,),
    }
    return named[attribute]


def _status(found: SavedComparison, fail_on: str) -> ExitStatus:
    from benchmarking.records.comparison import Finding

    if fail_on != "never" and found.has_regression:
        return ExitStatus.REGRESSION_CONFIRMED
    if fail_on == "inconclusive" and found.count(Finding.UNKNOWN):
        return ExitStatus.INCONCLUSIVE
    return ExitStatus.OK


def _report(found: SavedComparison, status: ExitStatus, request: Request) -> None:
    from benchmarking.files import atomic_file
    from benchmarking.reporters import exports, saved_report
    from benchmarking.terminal.console import width_for

    options = request.options
    files = {"markdown": saved_report.markdown, "junit": saved_report.junit}
    for name, content in files.items():
        if file := options.get(name):
            try:
                with atomic_file.writing(file) as stream:
                    stream.write(content(found))
            except OSError as error:
                raise ReporterError(f"--{name}: cannot write {file}: {error.strerror or error}") from error
    exports.write(options.get("export", ()), exports.of_comparison(found))
    if options.get("json"):
        streams.show(saved_report.document(found, status))
    else:
        streams.show(saved_report.show(found, width_for(streams.standard_output())), is_styled=True)
