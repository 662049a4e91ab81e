"""The interface between the continuous loop and a repository. Derive from it and add one line to
``repos.py``.
"""

from __future__ import annotations

import logging
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Self

from benchmarking.errors import CheckoutError, RemoteError
from benchmarking.programs import process
from benchmarking.programs.command import Command, Outcome
from benchmarking.programs.process import Cancellation

logger = logging.getLogger(__name__)

NETWORK_LIMIT_S = 3600.0
"""The time limit for network operations: a remote that does not answer must not block the loop for ever."""
CHAIN_PAGE = 500
"""The number of commits that are read at once when a branch is followed into its past."""


@dataclass(frozen=True)
class Revision:
    """A commit. Its time is the committer's: a rebase creates a commit with the current time, regardless of
    when it was written.
    """

    commit: str
    """The full hash."""
    commit_time: int
    """Unix seconds."""
    author: str
    """Name and mail address."""
    subject: str
    """The first line of the message."""

    @property
    def short(self) -> str:
        return self.commit[:12]


@dataclass(frozen=True)
class RepoOptions:
    directory: Path
    """The user's repository. Its checkout is never touched."""
    work_directory: Path
    """Ours."""
    cancellation: Cancellation
    remote: str | None = None
    """The name or URL of a remote; None: the default remote of this kind of repository, if there is one."""
    environment: Mapping[str, str] = field(default_factory=dict)
    names_are_local: bool = False
    """Whether names mean what they mean in the user's repository itself, not what a remote last said."""


class RepoBase(ABC):
    """A branch consists of its first parents: commits that a merge brought in were never states of the branch
    itself.
    """

    kind: ClassVar[str]
    default_branch: ClassVar[str]
    environment: ClassVar[Mapping[str, str]] = {}
    """The environment of the programs that are started here."""
    hidden_environment: ClassVar[Sequence[str]] = ()
    """Variables that these programs may not see."""

    def __init__(self, options: RepoOptions) -> None:
        """
        Raises:
            UsageError: ``options.directory`` is no repository of this kind, or has no such remote.
        """
        self._options = options

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Ends the processes that serve this object."""

    # --- reading --------------------------------------------------------------------------------------------

    def usual_branch(self) -> str:
        """The branch to follow if the user names none."""
        return self.default_branch

    @abstractmethod
    def fetch(self, branch: str) -> None:
        """Fetches the remote's state of ``branch``; does nothing if there is no remote.

        Raises:
            RemoteError: the remote cannot be reached, or has no such branch.
            RunCancelledError
        """

    @abstractmethod
    def resolve(self, name: str) -> Revision:
        """A branch (the remote's, as last fetched), a tag, or a hash that may be short.

        Raises:
            UnknownCommitError
        """

    @abstractmethod
    def is_ancestor(self, older: str, newer: str) -> bool:
        """Whether ``newer`` contains ``older``; a commit contains itself."""

    @abstractmethod
    def position(self, commit: str) -> int:
        """The number of commits that it contains, itself included: more than for any of those."""

    @abstractmethod
    def commits_after(self, after: str | None, until: str, *, merged_commits: bool = False) -> list[Revision]:
        """The branch up to ``until`` without the commits that ``after`` already contains, oldest first.

        ``merged_commits``: also the single commits that merges brought in, before their merge.
        """

    @abstractmethod
    def chain_page(self, start: str, count: int) -> tuple[list[Revision], str | None]:
        """``start`` and its first parents, from one to ``count`` commits, and the parent with which to
        continue.
        """

    def chain(self, start: str) -> Iterator[Revision]:
        """``start``, its first parent, the first parent of that, ..., read only as far as needed."""
        following: str | None = start
        while following is not None:
            page, following = self.chain_page(following, CHAIN_PAGE)
            yield from page

    # --- checking out ---------------------------------------------------------------------------------------

    def check_out(self, commit: str, directory: Path, *, clean: bool = False) -> None:
        """Makes ``directory`` (private) exactly the state of ``commit``, including submodules.

        Files that the repository ignores (such as a build directory) stay, so that builds can be incremental,
        unless ``clean``. The remains of a killed checkout are repaired, if necessary by starting again.

        Raises:
            CheckoutError
            RemoteError: a submodule cannot be fetched.
            RunCancelledError
        """
        try:
            self._update(commit, directory, clean)
        except CheckoutError as error:
            if not directory.exists():
                raise
            logger.info("%s is created again: %s", directory, error)
            shutil.rmtree(directory)
            self._update(commit, directory, clean)

    @abstractmethod
    def _update(self, commit: str, directory: Path, clean: bool) -> None:
        """One attempt of ``check_out``."""

    # --- for derived classes --------------------------------------------------------------------------------

    def _run(self, argv: Sequence[str], directory: Path) -> Outcome:
        """Runs a command that may take long: it has a time limit and is ended by the cancellation."""
        environment = {**self.environment, **self._options.environment}
        command = Command(tuple(argv), environment, NETWORK_LIMIT_S)
        return process.run(
            command,
            self._options.cancellation,
            directory=directory,
            hidden_environment=self.hidden_environment,
        )


def require_success(outcome: Outcome, what: str, error: type[RemoteError] | type[CheckoutError]) -> None:
    """Raises ``error`` with the end of the program's output."""
    if outcome.exit_code == 0:
        return
    if outcome.timed_out:
        raise error(f"{what}: not finished after {NETWORK_LIMIT_S:g} s")
    said = " ".join(line.strip() for line in outcome.output.splitlines()[-4:] if line.strip())
    raise error(f"{what}: {without_password(said) or f'exit status {outcome.exit_code}'}")


def without_password(text: str) -> str:
    """URLs without the part before their @."""
    return re.sub(r"(?<=://)[^/@\s]+@", "", text)
