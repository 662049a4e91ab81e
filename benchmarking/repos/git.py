"""Git: reads with GitPython; fetches into a private repository, and builds in its worktrees.

Nothing is ever written to the user's repository: its objects are the alternates of the private repository,
and its configuration (remotes, credentials, mirrors) is included in the private configuration.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import git
from git.exc import GitCommandError, InvalidGitRepositoryError, NoSuchPathError

from benchmarking.errors import CheckoutError, RemoteError, RepositoryError, UnknownCommitError, UsageError
from benchmarking.files import atomic_file
from benchmarking.programs.command import Outcome
from benchmarking.repos.git_submodules import NO_HOOKS, GitSubmodules, Level
from benchmarking.repos.repo_base import RepoBase, RepoOptions, Revision, require_success, without_password
from benchmarking.results import unix_time

logger = logging.getLogger(__name__)

USUAL_REMOTE = "origin"
OWN_REFERENCES = "refs/ml-benchmark"
"""Where fetched branches and tags are kept, by a hash: a name can also be the directory of another name."""
_FORMAT = "--format=%H%x00%ct%x00%an <%ae>%x00%s"
_FIELDS = 4
MAXIMUM_DIGITS = 30
"""Digits of a time; longer times are out of range anyway."""

_HIDDEN = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
)
"""Variables that are set when the loop is started by a git hook; they would direct every command to that
repository.
"""
_ENVIRONMENT = {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
SUBMODULE_MODE = "160000"
"""Of an entry in git's index."""
_OWN_CONFIGURATION = """[include]
\tpath = "{users}"
[core]
\tbare = true
\tsparseCheckout = false
\tfsmonitor = false
[gc]
\tautoDetach = false
"""
"""Settings of the user's configuration that do not apply here are overridden after it."""


class Git(RepoBase):
    kind: ClassVar[str] = "git"
    default_branch: ClassVar[str] = "master"
    environment: ClassVar[Mapping[str, str]] = _ENVIRONMENT
    hidden_environment: ClassVar[Sequence[str]] = _HIDDEN

    def __init__(self, options: RepoOptions) -> None:
        super().__init__(options)
        directory = options.directory
        try:
            self._repo = git.Repo(directory)
        except (InvalidGitRepositoryError, NoSuchPathError) as error:
            raise UsageError(f"--repo_dir: {directory} is not a git repository") from error
        except (GitCommandError, OSError, ValueError) as error:
            raise UsageError(f"--repo_dir: {directory} cannot be read: {_error_text(error)}") from error
        self._common = Path(self._repo.common_dir).absolute()
        self._repo.git.update_environment(**_environment(Path(self._repo.git_dir), self._common))
        self._remote = None if options.names_are_local else self._find_remote(options.remote)
        self._own = options.work_directory.absolute() / "repository.git"
        self._own_git = git.Git(self._own)
        self._own_git.update_environment(**_environment(self._own, self._own))
        self._open_own()

    def _open_own(self) -> bool:
        """Whether the repository was created again: it did not exist, is damaged, or lacks objects that the
        user's repository has dropped.
        """
        made = not self._is_own_whole()
        if made:
            shutil.rmtree(self._own, ignore_errors=True)
            self._own.mkdir(parents=True)
            objects = self._git("rev-parse", "--show-object-format", of=self._repo.git).strip()
            init = ("init", "--quiet", "--bare", f"--object-format={objects}", "--template=", str(self._own))
            self._check(init, self._options.directory)
            users = str(self._common / "config").replace("\\", "\\\\").replace('"', '\\"')
            with (self._own / "config").open("a", encoding="utf-8") as stream:
                stream.write(_OWN_CONFIGURATION.format(users=users))
            self._alternates.parent.mkdir(exist_ok=True)
            atomic_file.write_text(self._alternates, self._users_objects)
        self._follow_shallow()
        return made

    def _is_own_whole(self) -> bool:
        try:
            if self._alternates.read_text(encoding="utf-8") != self._users_objects:
                return False
            self._git("rev-list", "--quiet", "--all")
        except (OSError, ValueError, RepositoryError) as error:
            logger.debug("%s is created again: %s", self._own, error)
            return False
        return True

    @property
    def _alternates(self) -> Path:
        return self._own / "objects/info/alternates"

    @property
    def _users_objects(self) -> str:
        return f"{self._common / 'objects'}\n"

    def _follow_shallow(self) -> None:
        """A shallow clone of the user limits the private repository in the same way."""
        users, own = self._common / "shallow", self._own / "shallow"
        if users.is_file():
            atomic_file.write_text(own, users.read_text(encoding="ascii"))
        else:
            own.unlink(missing_ok=True)

    def close(self) -> None:
        self._repo.close()

    def _find_remote(self, asked: str | None) -> str | None:
        known = [one.name for one in self._repo.remotes]
        if asked is None:
            return USUAL_REMOTE if USUAL_REMOTE in known else None
        if asked in known or "/" in asked or ":" in asked:
            return asked
        if asked == USUAL_REMOTE:
            return None
        raise UsageError(
            f"--remote_repository: {self._options.directory} has no remote {asked!r}; "
            f"it has {', '.join(known) or 'none'}"
        )

    # --- reading --------------------------------------------------------------------------------------------

    def usual_branch(self) -> str:
        """``master``; otherwise the remote's default branch, or the branch that is checked out."""
        remote = f"refs/remotes/{self._remote}/"
        known = {reference.path for reference in self._repo.refs}
        if {f"{remote}{self.default_branch}", f"refs/heads/{self.default_branch}"} & known:
            return self.default_branch
        for head, prefix in ((f"{remote}HEAD", remote), ("HEAD", "refs/heads/")):
            try:
                target = self._git("symbolic-ref", "--quiet", head, of=self._repo.git).strip()
            except RepositoryError:
                continue
            return target.removeprefix(prefix)
        return self.default_branch

    def fetch(self, branch: str) -> None:
        if self._remote is None:
            return
        self._follow_shallow()
        outcome = self._fetch(f"heads/{branch}")
        if outcome.exit_code != 0 and self._open_own():
            outcome = self._fetch(f"heads/{branch}")
        require_success(outcome, f"cannot fetch {branch} of {without_password(self._remote)}", RemoteError)

    def _fetch(self, name: str) -> Outcome:
        options = ("--quiet", "--no-tags", "--no-write-fetch-head", "--recurse-submodules=no", "--refmap=")
        refspec = f"+refs/{name}:{self._own_reference(name)}"
        git_fetch = ("git", f"--git-dir={self._own}", *NO_HOOKS, "fetch", *options)
        # Run there, because the URL of a remote may be a path relative to it.
        return self._run((*git_fetch, "--", self._remote or "", refspec), self._options.directory)

    def _own_reference(self, name: str) -> str:
        """``name``: ``heads/...`` or ``tags/...`` of the remote."""
        digest = hashlib.sha256(f"{self._remote}\0{name}".encode()).hexdigest()
        return f"{OWN_REFERENCES}/{digest}"

    def resolve(self, name: str) -> Revision:
        commit = self._find(name)
        if commit is None and self._fetch_tag(name):
            commit = self._commit(self._own_reference(f"tags/{name}"))
        if commit is None:
            raise UnknownCommitError(f"{self._options.directory} has no commit, branch or tag {name!r}")
        return self._log(commit, "--max-count=1")[0]

    def _find(self, name: str) -> str | None:
        users = self._repo.git
        if self._remote is None:
            return self._commit(name, of=users)
        return (
            self._commit(self._own_reference(f"heads/{name}"))
            or self._commit(f"refs/remotes/{self._remote}/{name}", of=users)
            or self._commit(name, of=users)
            or self._commit(name)
        )

    def _commit(self, name: str, *, of: git.Git | None = None) -> str | None:
        options = ("--verify", "--quiet", "--end-of-options")
        try:
            return self._git("rev-parse", *options, f"{name}^{{commit}}", of=of).strip()
        except RepositoryError:
            return None

    def _fetch_tag(self, name: str) -> bool:
        """A tag that the user's clone does not have is searched for where the branch comes from."""
        if self._remote is None or re.fullmatch("[0-9a-f]{40,}", name):
            return False
        try:
            self._git("check-ref-format", f"refs/tags/{name}")
        except RepositoryError:
            return False
        return self._fetch(f"tags/{name}").exit_code == 0

    def is_ancestor(self, older: str, newer: str) -> bool:
        try:
            self._own_git.merge_base("--is-ancestor", older, newer)
        except GitCommandError as error:
            if error.status == 1:
                return False
            raise RepositoryError(f"cannot compare {older} with {newer}: {_error_text(error)}") from error
        return True

    def position(self, commit: str) -> int:
        return int(self._git("rev-list", "--count", commit, "--"))

    def commits_after(self, after: str | None, until: str, *, merged_commits: bool = False) -> list[Revision]:
        excluded = () if after is None else (f"^{after}",)
        order = "--topo-order" if merged_commits else "--first-parent"
        return self._log(until, *excluded, order, "--reverse")

    def chain_page(self, start: str, count: int) -> tuple[list[Revision], str | None]:
        page = self._log(start, "--first-parent", f"--max-count={count + 1}")
        return page[:count], page[count].commit if len(page) > count else None

    def _log(self, *arguments: str) -> list[Revision]:
        text = self._git("log", "-z", "--no-show-signature", _FORMAT, *arguments, "--")
        fields = text.split("\0")
        rows = (fields[first : first + _FIELDS] for first in range(0, len(fields) - 1, _FIELDS))
        return [Revision(commit, _seconds(time), author, subject) for commit, time, author, subject in rows]

    def _git(self, *arguments: str, of: git.Git | None = None) -> str:
        """``of``: the user's repository; by default the private repository, which sees everything in the
        user's.
        """
        try:
            output = (of or self._own_git).execute(
                ["git", "-c", "i18n.logOutputEncoding=UTF-8", *arguments],
                stdout_as_string=False,
                strip_newline_in_stdout=False,
            )
        except GitCommandError as error:
            raise RepositoryError(f"{self._options.directory}: {_error_text(error)}") from error
        return bytes(output).decode("utf-8", errors="replace")

    # --- checking out ---------------------------------------------------------------------------------------

    def _update(self, commit: str, directory: Path, clean: bool) -> None:
        if directory.exists() and not self._is_our_worktree(directory):
            shutil.rmtree(directory)
        own = f"--git-dir={self._own}"
        if not directory.exists():
            directory.parent.mkdir(parents=True, exist_ok=True)
            # A worktree that was removed by hand is still registered, and would be in the way.
            self._check((own, "worktree", "prune"), self._own)
            options = ("--quiet", "--force", "--detach", "--no-checkout")
            self._check((own, "worktree", "add", *options, str(directory), commit), self._own)
        self._remove_old_submodules(commit, directory)
        self._check(("checkout", "--quiet", "--force", "--detach", commit), directory)
        self._check(("clean", "-ffdqx" if clean else "-ffdq"), directory)
        if (directory / ".gitmodules").is_file():
            submodules = GitSubmodules(self._run)
            submodules.update(Level(directory, self._common, self._url()), clean)

    def _remove_old_submodules(self, commit: str, directory: Path) -> None:
        """Removes submodules that ``commit`` replaces by something else, because git would leave
        their files.
        """
        compare = ("diff-index", "--cached", "--raw", "-z", "--no-renames", "--diff-filter=AT", commit)
        outcome = self._run(("git", *compare), directory)
        fields = outcome.stdout.split("\0") if outcome.exit_code == 0 else []
        for what, path in zip(fields[::2], fields[1::2], strict=False):
            if what.split()[1:2] == [SUBMODULE_MODE]:
                shutil.rmtree(directory / path, ignore_errors=True)

    def _url(self) -> str:
        """The URL of the repository that the branch comes from; the user's own repository if
        there is none.
        """
        if self._remote is None:
            return str(self._options.directory.absolute())
        try:
            url = self._git("config", f"remote.{self._remote}.url", of=self._repo.git).strip()
        except RepositoryError:
            url = self._remote
        is_relative = ":" not in url and not url.startswith("/")
        return os.path.normpath(self._options.directory.absolute() / url) if is_relative else url

    def _is_our_worktree(self, directory: Path) -> bool:
        outcome = self._run(("git", "rev-parse", "--path-format=absolute", "--git-common-dir"), directory)
        common = Path(outcome.stdout.removesuffix("\n"))
        top_is_here = (directory / ".git").is_file()
        return outcome.exit_code == 0 and top_is_here and common.exists() and common.samefile(self._own)

    def _check(self, arguments: Sequence[str], directory: Path) -> None:
        outcome = self._run(("git", *NO_HOOKS, *arguments), directory)
        command = next(one for one in arguments if not one.startswith("-"))
        require_success(outcome, f"git {command} in {directory}", CheckoutError)


def _environment(git_directory: Path, common: Path) -> dict[str, str]:
    """For GitPython, which cannot unset variables: they are set to their default values."""
    return {**_ENVIRONMENT, "GIT_DIR": str(git_directory), "GIT_OBJECT_DIRECTORY": str(common / "objects")}


def _seconds(text: str) -> int:
    """The time in a commit object, whatever it contains: as in git, an unreadable time is 1970."""
    return unix_time.bounded(int(text[:MAXIMUM_DIGITS])) if text.isascii() and text.isdecimal() else 0


def _error_text(error: Exception) -> str:
    """The error message of git, in one line."""
    text = error.stderr if isinstance(error, GitCommandError) else str(error)
    lines = (line.strip(" '\n") for line in str(text).removeprefix("\n  stderr: ").splitlines())
    return without_password(" ".join(line for line in lines if line))
