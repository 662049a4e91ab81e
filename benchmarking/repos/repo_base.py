"""What the continuous loop needs of a repository. Derive from it and add one line to ``repos.py``."""

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
"""For what goes over the network: a remote that does not answer must not hold the loop for ever."""
CHAIN_PAGE = 500
"""Commits that are read at once when a branch is followed into its past."""


@dataclass(frozen=True)
class Revision:
    """A commit. Its time is the committer's: a rebase makes a new commit now, whenever it was written."""

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
    """A remote's name or URL; None: the usual one of this kind of repository, where there is one."""
    environment: Mapping[str, str] = field(default_factory=dict)


class RepoBase(ABC):
    """A branch is its first parents: what a merge brought in was never the branch's own state."""

    kind: ClassVar[str]
    default_branch: ClassVar[str]
    environment: ClassVar[Mapping[str, str]] = {}
    """For the programs that are started here."""
    hidden_environment: ClassVar[Sequence[str]] = ()
    """Variables that they may not see."""

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
        """The one to follow where the user names none."""
        return self.default_branch

    @abstractmethod
    def fetch(self, branch: str) -> None:
        """Gets the remote's state of ``branch``; does nothing where there is no remote.

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
        """Whether ``newer`` holds ``older``; a commit holds itself."""

    @abstractmethod
    def position(self, commit: str) -> int:
        """How many commits it holds, itself included: more than any of those."""

    @abstractmethod
    def commits_after(self, after: str | None, until: str, *, merged_commits: bool = False) -> list[Revision]:
        """The branch up to ``until`` without what ``after`` already holds, oldest first.

        ``merged_commits``: the single commits that merges brought in, too, before their merge.
        """

    @abstractmethod
    def chain_page(self, start: str, count: int) -> tuple[list[Revision], str | None]:
        """``start`` and its first parents, one to ``count`` of them, and the parent to go on with."""

    def chain(self, start: str) -> Iterator[Revision]:
        """``start``, its first parent, that one's, ..., read as far as they are asked for."""
        following: str | None = start
        while following is not None:
            page, following = self.chain_page(following, CHAIN_PAGE)
            yield from page

    # --- checking out ---------------------------------------------------------------------------------------

    def check_out(self, commit: str, directory: Path, *, clean: bool = False) -> None:
        """Makes ``directory`` (ours) exactly what ``commit`` holds, submodules included.

        What the repository ignores (a build directory, say) stays, so that builds can be incremental, unless
        ``clean``. What a killed checkout has left is mended, at worst by beginning anew.

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
            logger.info("%s is made anew: %s", directory, error)
            shutil.rmtree(directory)
            self._update(commit, directory, clean)

    @abstractmethod
    def _update(self, commit: str, directory: Path, clean: bool) -> None:
        """``check_out`` of one try."""

    # --- for derived classes --------------------------------------------------------------------------------

    def _run(self, argv: Sequence[str], directory: Path) -> Outcome:
        """What may take long: bounded in time, and ended by the cancellation."""
        environment = {**self.environment, **self._options.environment}
        command = Command(tuple(argv), environment, NETWORK_LIMIT_S)
        return process.run(
            command,
            self._options.cancellation,
            directory=directory,
            hidden_environment=self.hidden_environment,
        )


def require_success(outcome: Outcome, what: str, error: type[RemoteError] | type[CheckoutError]) -> None:
    """Raises ``error`` with the end of what the program said."""
    if outcome.exit_code == 0:
        return
    if outcome.timed_out:
        raise error(f"{what}: no end after {NETWORK_LIMIT_S:g} s")
    said = " ".join(line.strip() for line in outcome.output.splitlines()[-4:] if line.strip())
    raise error(f"{what}: {without_password(said) or f'exit status {outcome.exit_code}'}")


def without_password(text: str) -> str:
    """URLs without what stands before their @."""
    return re.sub(r"(?<=://)[^/@\s]+@", "", text)
