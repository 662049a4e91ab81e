"""``mlbench compare --repository DIRECTORY --base COMMIT --head COMMIT COMMAND``: two commits."""

from __future__ import annotations

import hashlib
import logging
import re
import shlex
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarking.cli.argument_types import quoted
from benchmarking.cli.compare_commands import Side, compare_sides
from benchmarking.cli.compare_request import USUAL_BUILD_S, Request
from benchmarking.cli.options import TOKEN_VARIABLE
from benchmarking.cli.running import cancelled_by_signals
from benchmarking.cli.wiring import made_directories
from benchmarking.errors import BuildError, ExitStatus, ProgramStartError, UsageError

if TYPE_CHECKING:
    from benchmarking.programs.process import Cancellation
    from benchmarking.repos.repo_base import RepoBase, Revision

BUILD_VARIABLE = "ML_BENCHMARK_BUILD"
"""In the environment of a build: the directory in which it works."""

logger = logging.getLogger(__name__)


def compare(request: Request) -> ExitStatus:
    from benchmarking.files.made_directories import locked
    from benchmarking.programs.process import Cancellation
    from benchmarking.repos.repo_base import RepoOptions
    from benchmarking.repos.repos import make_repo

    if not (request.base and request.head and len(request.names) == 1 and request.repository):
        raise UsageError(
            "two commits need --base, --head and a command in quotes: --repository . --build 'make bench' "
            "--base main --head HEAD './bench --json'"
        )
    build = _words("--build", request.build)
    repository = request.repository.resolve()
    with ExitStack() as stack:
        with Cancellation() as cancellation, cancelled_by_signals(cancellation), ExitStack() as opened:
            private = stack.enter_context(
                made_directories("repositories").using(
                    f"{_project(repository)}-{_digest(str(repository))}",
                    f"what is read of {repository}",
                    {},
                    Path.mkdir,
                    cancellation,
                )
            )
            # Several comparisons may use it.
            opened.enter_context(locked(private.with_name("lock"), cancellation))
            options = RepoOptions(repository, private, cancellation, names_are_local=True)
            try:
                repo = opened.enter_context(make_repo(None, options))
            except UsageError as error:
                raise UsageError(str(error).replace("--repo_dir", "--repository")) from error
            limit_s = USUAL_BUILD_S if request.build_timeout_s is None else request.build_timeout_s
            builder = _Builder(repo, repository, build, limit_s, cancellation)
            revisions = {
                "base": repo.resolve(request.base),
                "head": repo.resolve(request.head),
            }
            directories = {name: builder.built(stack, one) for name, one in revisions.items()}
        base, head = (
            Side.of(
                name,
                request.names[0],
                directories[name],
                commit=revision.commit,
                commit_time=revision.commit_time,
            )
            for name, revision in revisions.items()
        )
        return compare_sides(request, base, head)


@dataclass(frozen=True)
class _Builder:
    repo: RepoBase
    repository: Path
    """The user's, which is only read."""
    build: tuple[str, ...]
    """Empty: nothing is built."""
    timeout_s: float
    cancellation: Cancellation

    def built(self, stack: ExitStack, revision: Revision) -> Path:
        """The checkout of the commit, built; it is kept for the next time.

        Raises:
            BuildError: it cannot be built; ends with the end of the build's output.
            RepositoryError, StorageError, UsageError, RunCancelledError
        """
        build = shlex.join(self.build)
        what = {"repository": str(self.repository), "commit": revision.commit, "build": build}
        name = f"{_project(self.repository)}-{revision.short}-{_digest(*what.values())}"
        title = f"{revision.short} of {self.repository}, {build or 'not built'}"
        make = partial(self._make, revision)
        return stack.enter_context(
            made_directories("commits").using(name, title, what, make, self.cancellation)
        )

    def _make(self, revision: Revision, directory: Path) -> None:
        from benchmarking.programs import leftovers, process
        from benchmarking.programs.command import Command

        # A comparison that was killed leaves its build at work in this directory; we hold the lock of it.
        leftovers.end_marked(BUILD_VARIABLE, str(directory).__eq__, "a comparison that was killed")
        self.repo.check_out(revision.commit, directory)
        if not self.build:
            return
        logger.info("building %s (%s)", revision.short, revision.subject)
        started = time.monotonic()
        try:
            outcome = process.run(
                Command(self.build, {BUILD_VARIABLE: str(directory)}, self.timeout_s),
                self.cancellation,
                directory=directory,
                hidden_environment=(TOKEN_VARIABLE, *self.repo.hidden_environment),
            )
        except ProgramStartError as error:
            raise BuildError(f"{revision.short} cannot be built: {error}") from error
        if outcome.exit_code != 0:
            how = (
                f"was not finished after {self.timeout_s:g} s"
                if outcome.timed_out
                else f"ended with exit status {outcome.exit_code}"
            )
            raise BuildError(
                f"{revision.short} cannot be built: {shlex.join(self.build)} {how}\n{outcome.tail()}"
            )
        logger.info("built in %.1f s", time.monotonic() - started)


def _project(repository: Path) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", repository.name)[:60]


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:8]


def _words(option: str, text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(f"{option}: {quoted(text)} is not a command: {error}") from error
