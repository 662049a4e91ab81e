"""``repo_driver.py``: wires the continuous loop together and turns its outcome into an exit status."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from logging.handlers import RotatingFileHandler
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from benchmarking import start
from benchmarking.cli import repo_driver_arguments
from benchmarking.cli.options import MASK, TOKEN_VARIABLE, HarnessOptions
from benchmarking.cli.repo_driver_options import RepoDriverOptions
from benchmarking.cli.running import cancelled_by_signals, guarded
from benchmarking.cli.shipped import shipped
from benchmarking.dispatch import LAB_VARIABLE
from benchmarking.errors import BenchmarkError, ExitStatus, RunCancelledError, StorageError, UsageError
from benchmarking.terminal import streams

if TYPE_CHECKING:
    from benchmarking.continuous.activities import Activities
    from benchmarking.continuous.builder import Builder
    from benchmarking.continuous.loop import LoopOptions
    from benchmarking.continuous.measurement import Harness, HarnessRequest
    from benchmarking.driver.settings import FailOn
    from benchmarking.programs.process import Cancellation
    from benchmarking.repos.repo_base import RepoBase

OWN_DIRECTORY = ".repo_driver"
"""Below ``<exec_dir>/<framework>``: the state of the loop, its checkouts and its logs."""
LOG_FILE_BYTES = 10_000_000
OLD_LOG_FILES = 4
SHOWN_IN_STATUS = 15

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None, program: str = repo_driver_arguments.PROGRAM) -> int:
    given = sys.argv[1:] if argv is None else list(argv)
    arguments, token = repo_driver_arguments.split_token(given)
    if token is not None and sys.orig_argv[-len(given) :] == given:
        _start_again(sys.orig_argv[: -len(given)], arguments, token)
    # Removed from the environment: of all programs that are started here, only harness.py receives them.
    environment_token, environment_lab = (os.environ.pop(one, None) for one in (TOKEN_VARIABLE, LAB_VARIABLE))
    options, harness_options = repo_driver_arguments.parse(arguments, program)
    lab = None if options.lab is None else options.lab or environment_lab
    secrets = _Secrets(token or environment_token, lab)
    return guarded(program, lambda: _main(options, harness_options, secrets))


@dataclass(frozen=True)
class _Secrets:
    """What only the programs that measure and report may know."""

    token: str | None = field(repr=False)
    """For the remote reporter."""
    lab: str | None = field(repr=False)
    """The URL of the lab's database."""

    @property
    def environment(self) -> dict[str, str]:
        found = {TOKEN_VARIABLE: self.token, LAB_VARIABLE: self.lab}
        return {name: value for name, value in found.items() if value}


def _start_again(command: Sequence[str], arguments: Sequence[str], token: str) -> None:
    """Restarts with the token in the environment, because every user can read the arguments of a process."""
    os.environ[TOKEN_VARIABLE] = token
    os.execv(sys.executable, [*command, *arguments])  # noqa: S606 - no shell is wanted


def _main(
    options: RepoDriverOptions, harness_options: HarnessOptions | None, secrets: _Secrets
) -> ExitStatus:
    if options.status or harness_options is None:
        return _show_status(options, harness_options)
    with _logging(options, secrets.token):
        try:
            return _run(options, harness_options, secrets)
        except RunCancelledError:
            return ExitStatus.INTERRUPTED
        except BenchmarkError as error:
            logger.error(error)
            return error.exit_status
        except ModuleNotFoundError:
            raise
        except Exception:
            logger.critical("a bug of this program:", exc_info=True)
            return ExitStatus.INTERNAL_ERROR


# --- the loop -----------------------------------------------------------------------------------------------


def _run(options: RepoDriverOptions, harness_options: HarnessOptions, secrets: _Secrets) -> ExitStatus:
    from benchmarking.continuous import activities, leftovers
    from benchmarking.programs.process import Cancellation
    from benchmarking.repos.repo_base import RepoOptions
    from benchmarking.repos.repos import make_repo

    _check_paths(options, harness_options)
    directory = _own_directory(options)
    with ExitStack() as stack:
        cancellation = stack.enter_context(Cancellation())
        stack.enter_context(cancelled_by_signals(cancellation))
        stack.enter_context(_lock(directory))
        leftovers.end_leftovers(directory)
        # Inherited by all programs that are started from here on, so that the next run finds those that this
        # run leaves behind.
        os.environ[leftovers.VARIABLE] = str(directory)
        repo = stack.enter_context(
            make_repo(
                options.repo,
                RepoOptions(
                    directory=_repo_directory(options),
                    work_directory=directory / "repository",
                    cancellation=cancellation,
                    remote=options.remote_repository,
                ),
            )
        )
        doing = stack.enter_context(activities.Activities(directory / activities.FILE_NAME))
        builder = _builder(options, repo, doing, cancellation, secrets)
        harness = _harness(options, harness_options, doing, cancellation, secrets)
        _check(options, builder, harness)
        return _run_loop(options, harness_options, repo, builder, harness, cancellation, secrets.token)


def _builder(
    options: RepoDriverOptions,
    repo: RepoBase,
    activities: Activities,
    cancellation: Cancellation,
    secrets: _Secrets,
) -> Builder:
    """
    Raises:
        UsageError: it should build on a lab, and there is none.
    """
    from benchmarking.continuous.builder import BuildOptions, LocalBuilder

    build_options = BuildOptions(
        framework=options.framework,
        frameworks_directory=_frameworks_directory(options),
        executable_directory=options.exec_dir.resolve(),
        timeout_s=options.build_timeout,
    )
    directory = _own_directory(options)
    how = repo, build_options, directory / "source", activities, cancellation
    if options.lab is None or options.build_here:
        return LocalBuilder(*how)
    from benchmarking.cli.lab import lab_database
    from benchmarking.continuous.lab import LabBuilder, Submissions

    lab = lab_database(options.lab or None, secrets.environment).interrupted_by(cancellation)
    return LabBuilder(*how, lab=lab, submissions=Submissions(directory / "lab"))


def _harness(
    options: RepoDriverOptions,
    harness_options: HarnessOptions,
    activities: Activities,
    cancellation: Cancellation,
    secrets: _Secrets,
) -> Harness:
    """
    Raises:
        UsageError: it should measure on a lab, and there is none.
    """
    from benchmarking.continuous.measurement import Harness

    directory = _own_directory(options)
    harness = Harness(
        arguments=_harness_arguments(options, harness_options),
        framework=options.framework,
        log_directory=directory / "logs",
        activities=activities,
        cancellation=cancellation,
        timeout_s=options.run_timeout,
        environment=secrets.environment,
    )
    if options.lab is None:
        return harness
    from benchmarking.cli.lab import lab_database
    from benchmarking.continuous.lab import LabHarness, Submissions

    lab_database(options.lab or None, secrets.environment)
    return LabHarness.instead_of(harness, Submissions(directory / "lab"), options.on, options.run_timeout)


def _run_loop(
    options: RepoDriverOptions,
    harness_options: HarnessOptions,
    repo: RepoBase,
    builder: Builder,
    harness: Harness,
    cancellation: Cancellation,
    token: str | None,
) -> ExitStatus:
    from benchmarking.continuous.known_regressions import known_regressions
    from benchmarking.continuous.loop import Loop
    from benchmarking.continuous.notification import Notifier
    from benchmarking.continuous.pipeline import BuildQueue, Pipeline
    from benchmarking.continuous.state import FILE_NAME, State

    benchmark = str(harness_options.benchmark_file.resolve())
    branch = options.branch or repo.usual_branch()
    with State(_own_directory(options) / FILE_NAME, benchmark) as state, BuildQueue(builder) as builds:
        try:
            pipeline = Pipeline(
                repo=repo,
                builder=builder,
                builds=builds,
                harness=replace(harness, branch=branch),
                state=state,
                base=repo.resolve(options.base_commit) if options.base_commit else None,
                detects_regressions=options.regression,
                show_screen=harness_options.screen_reporter,
                show_document=harness_options.json,
            )
            loop = Loop(
                options=_loop_options(options, branch, harness_options.fail_on),
                repo=repo,
                pipeline=pipeline,
                state=state,
                notifier=Notifier(options.notify, cancellation),
                cancellation=cancellation,
                known=known_regressions(harness_options.remote_reporter, token, cancellation),
            )
            return loop.run()
        finally:
            cancellation.set()  # a build that nobody waits for any more must not delay the end


def _loop_options(options: RepoDriverOptions, branch: str, fail_on: FailOn) -> LoopOptions:
    from benchmarking.continuous.loop import LoopOptions, Mode

    mode = Mode.ONCE if options.once else Mode.SINGLE if options.interval is None else Mode.CONTINUOUS
    return LoopOptions(
        mode=mode,
        platforms=tuple(dict.fromkeys(options.platforms)),
        branch=branch,
        start=options.commit,
        interval_s=options.interval or 0.0,
        commit_file=options.commit_file,
        status_file=options.status_file,
        step=options.step,
        max_pending=options.max_pending,
        merged_commits=options.merged_commits,
        retries_failed=options.retry_failed,
        fail_on=fail_on,
        builds_ahead=not options.same_host,
    )


def _check(options: RepoDriverOptions, builder: Builder, harness: Harness) -> None:
    """Checks everything that can be known before the first build.

    Raises:
        UsageError
    """
    from benchmarking.platforms.platforms import find_platform

    if options.notify and shutil.which(options.notify[0]) is None:
        raise UsageError(f"--notify: there is no command {options.notify[0]!r} that can be run")
    if not options.platforms:
        raise UsageError("--platforms: give at least one")
    for platform in options.platforms:
        if not set(PurePosixPath(platform).parts).isdisjoint({"..", "/"}):
            raise UsageError(f"--platforms: {platform!r} is not a platform")
        find_platform(platform, "--platforms")
        request = _sample_request(options, platform, builder.check(platform))
        report = harness.validate(request)
        if report.exit_status != ExitStatus.OK or not report.output.strip():
            raise UsageError(report.problem())


def _sample_request(options: RepoDriverOptions, platform: str, program: Path) -> HarnessRequest:
    """A sample of the requests to the harness, with a commit and a program that stand for later ones."""
    from benchmarking.continuous.builder import Built
    from benchmarking.continuous.measurement import HarnessRequest
    from benchmarking.repos.repo_base import Revision

    commit = Revision("0" * 40, 0, "", "")
    built = Built(commit, program, 0.0)
    compares = options.regression or options.base_commit is not None
    return HarnessRequest(
        platform=platform,
        treatment=built,
        control=built if compares else None,
        history=(commit,) if options.regression else (),
    )


def _own_directory(options: RepoDriverOptions) -> Path:
    return options.exec_dir.resolve() / options.framework / OWN_DIRECTORY


def _repo_directory(options: RepoDriverOptions) -> Path:
    if options.repo_dir is None:
        raise UsageError("--repo_dir: give the repository")
    return options.repo_dir.resolve()


def _frameworks_directory(options: RepoDriverOptions) -> Path:
    return shipped(options.frameworks_dir or Path("specifications/frameworks")).resolve()


def _check_paths(options: RepoDriverOptions, harness_options: HarnessOptions) -> None:
    """The loop's database holds text."""
    paths = (_own_directory(options), _repo_directory(options), harness_options.benchmark_file.resolve())
    for path in paths:
        try:
            str(path).encode()
        except UnicodeEncodeError as error:
            raise UsageError(f"{path}: the name is not UTF-8, which the loop needs") from error


def _harness_arguments(options: RepoDriverOptions, harness_options: HarnessOptions) -> tuple[str, ...]:
    """The history needs saved results; without any reporter there would be none."""
    if harness_options.local_reporter or (harness_options.names_a_reporter and not options.regression):
        return options.harness_arguments
    results = options.exec_dir.resolve() / "results"
    logger.info("results are saved in %s", results)
    return (*options.harness_arguments, f"--local_reporter={results}")


@contextmanager
def _lock(directory: Path) -> Iterator[None]:
    import filelock

    try:
        directory.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(directory / "lock", timeout=0):
            yield
    except filelock.Timeout as error:
        raise UsageError(f"--exec_dir: another repo_driver.py is running with {directory.parent}") from error
    except OSError as error:
        raise StorageError(f"--exec_dir: {directory}: {error.strerror or error}") from error


# --- output -------------------------------------------------------------------------------------------------


def _show_status(options: RepoDriverOptions, harness_options: HarnessOptions | None) -> ExitStatus:
    from benchmarking.continuous import activities
    from benchmarking.continuous.overview import now_lines, overview_lines
    from benchmarking.continuous.state import FILE_NAME, State, benchmarks_in

    path = _own_directory(options) / FILE_NAME
    if not path.is_file():
        raise UsageError(f"--exec_dir: nothing has been run with {options.exec_dir} yet")
    benchmarks = benchmarks_in(path)
    if harness_options is not None:
        benchmarks = [one for one in benchmarks if one == str(harness_options.benchmark_file.resolve())]
    for line in now_lines(activities.read(path.with_name(activities.FILE_NAME))):
        streams.show(f"{line}\n")
    for benchmark in benchmarks:
        with State(path, benchmark, read_only=True) as state:
            for line in overview_lines(state.overview(SHOWN_IN_STATUS)):
                streams.show(f"{line}\n")
    return ExitStatus.OK


@contextmanager
def _logging(options: RepoDriverOptions, token: str | None) -> Iterator[None]:
    root, own = logging.getLogger(), logging.getLogger("benchmarking")
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if options.log_file is not None:
        handlers.append(_log_file(options.log_file))
    for handler in handlers:
        handler.setFormatter(_Formatter(token))
        root.addHandler(handler)
    own.setLevel(options.log_level.upper())
    try:
        yield
    finally:
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()


def _log_file(path: Path) -> logging.Handler:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return _LogFile(path, maxBytes=LOG_FILE_BYTES, backupCount=OLD_LOG_FILES, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--log_file {path}: {error.strerror or error}") from error


class _LogFile(RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """A full disk does not stop a measurement; records that could not be written are also on stderr."""


class _Formatter(streams.PlainFormatter):
    """Removes the token, wherever it came from."""

    def __init__(self, token: str | None) -> None:
        super().__init__("%(asctime)s  %(message)s", datefmt="%Y-%m-%d %H:%M:%S")
        self._token = token

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return text.replace(self._token, MASK) if self._token else text


if __name__ == "__main__":
    start.repo_driver()
