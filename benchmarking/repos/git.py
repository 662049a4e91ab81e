"""Git: reads with GitPython, builds in worktrees of our own."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import git
from git.exc import GitCommandError, InvalidGitRepositoryError, NoSuchPathError

from benchmarking import unix_time
from benchmarking.errors import CheckoutError, RemoteError, RepositoryError, UnknownCommitError, UsageError
from benchmarking.repos.repo_base import RepoBase, RepoOptions, Revision, require_success, without_password

USUAL_REMOTE = "origin"
OWN_REFERENCES = "refs/ml-benchmark"
"""Where fetched branches are kept: the user's remote-tracking branches stay as they are."""
_FORMAT = "--format=%H%x00%ct%x00%an <%ae>%x00%s"
_FIELDS = 4
MAXIMUM_DIGITS = 30
"""Of a time; what is longer is out of bounds anyway."""

_HIDDEN = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
)
"""Set where we are started by a git hook; they would lead every command to that repository."""
_ENVIRONMENT = {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
_NO_HOOKS = ("-c", "core.hooksPath=/dev/null")
"""The user's hooks are for the user's checkouts."""


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
            raise UsageError(f"--repo_dir: {directory} is no git repository") from error
        except (GitCommandError, OSError, ValueError) as error:
            raise UsageError(f"--repo_dir: {directory} cannot be read: {_told(error)}") from error
        self._repo.git.update_environment(**_ENVIRONMENT, GIT_DIR=str(self._repo.git_dir))
        self._remote = self._find_remote(options.remote)

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
        """``master``; where there is none, what the remote calls its own, or what is checked out."""
        remote = f"refs/remotes/{self._remote}/"
        known = {reference.path for reference in self._repo.refs}
        if {f"{remote}{self.default_branch}", f"refs/heads/{self.default_branch}"} & known:
            return self.default_branch
        for head, prefix in ((f"{remote}HEAD", remote), ("HEAD", "refs/heads/")):
            try:
                target = self._git("symbolic-ref", "--quiet", head).strip()
            except RepositoryError:
                continue
            return target.removeprefix(prefix)
        return self.default_branch

    def fetch(self, branch: str) -> None:
        if self._remote is None:
            return
        argv = ("git", *_NO_HOOKS, "fetch", "--quiet", "--no-write-fetch-head", "--recurse-submodules=no")
        # An empty map: the user's remote-tracking branches are not moved along.
        refspec = f"+refs/heads/{branch}:{self._own_reference(branch)}"
        outcome = self._run((*argv, "--refmap=", "--", self._remote, refspec), self._options.directory)
        require_success(outcome, f"cannot fetch {branch} of {without_password(self._remote)}", RemoteError)

    def _own_reference(self, branch: str) -> str:
        remote = hashlib.sha256((self._remote or "").encode()).hexdigest()[:12]
        return f"{OWN_REFERENCES}/{remote}/{branch}"

    def resolve(self, name: str) -> Revision:
        candidates = [name]
        if self._remote is not None:
            candidates = [self._own_reference(name), f"refs/remotes/{self._remote}/{name}", name]
        for candidate in candidates:
            try:
                commit = self._git(
                    "rev-parse", "--verify", "--quiet", "--end-of-options", f"{candidate}^{{commit}}"
                )
            except RepositoryError:
                continue
            return self._log(commit.strip(), "--max-count=1")[0]
        raise UnknownCommitError(f"{self._options.directory} has no commit, branch or tag {name!r}")

    def is_ancestor(self, older: str, newer: str) -> bool:
        try:
            self._repo.git.merge_base("--is-ancestor", older, newer)
        except GitCommandError as error:
            if error.status == 1:
                return False
            raise RepositoryError(f"cannot compare {older} with {newer}: {_told(error)}") from error
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

    def _git(self, *arguments: str) -> str:
        try:
            output = self._repo.git.execute(
                ["git", "-c", "i18n.logOutputEncoding=UTF-8", *arguments],
                stdout_as_string=False,
                strip_newline_in_stdout=False,
            )
        except GitCommandError as error:
            raise RepositoryError(f"{self._options.directory}: {_told(error)}") from error
        return bytes(output).decode("utf-8", errors="replace")

    # --- checking out ---------------------------------------------------------------------------------------

    def _update(self, commit: str, directory: Path, clean: bool) -> None:
        if directory.exists() and not self._is_our_worktree(directory):
            shutil.rmtree(directory)
        if not directory.exists():
            directory.parent.mkdir(parents=True, exist_ok=True)
            # What was removed by hand is still registered, and would be in the way.
            self._check(("worktree", "prune"), self._options.directory)
            add = (
                "worktree",
                "add",
                "--quiet",
                "--force",
                "--detach",
                "--no-checkout",
                str(directory),
                commit,
            )
            self._check(add, self._options.directory)
        self._check(("checkout", "--quiet", "--force", "--detach", commit), directory)
        self._clean(directory, clean)
        if (directory / ".gitmodules").is_file():
            self._update_submodules(directory, clean)

    def _is_our_worktree(self, directory: Path) -> bool:
        outcome = self._run(("git", "rev-parse", "--path-format=absolute", "--git-common-dir"), directory)
        common = outcome.stdout.removesuffix("\n")
        top_is_here = (directory / ".git").is_file()
        return outcome.exit_code == 0 and top_is_here and Path(common).samefile(self._repo.common_dir)

    def _update_submodules(self, directory: Path, clean: bool) -> None:
        self._check(("submodule", "--quiet", "sync", "--recursive"), directory)
        update = ("git", *_NO_HOOKS, "submodule", "--quiet", "update", "--init", "--recursive", "--force")
        require_success(self._run(update, directory), "cannot update the submodules", RemoteError)
        sweep = "git clean -ffdqx" if clean else "git clean -ffdq"
        self._check(("submodule", "--quiet", "foreach", "--recursive", sweep), directory)

    def _clean(self, directory: Path, ignored_too: bool) -> None:
        self._check(("clean", "-ffdqx" if ignored_too else "-ffdq"), directory)

    def _check(self, arguments: Sequence[str], directory: Path) -> None:
        outcome = self._run(("git", *_NO_HOOKS, *arguments), directory)
        require_success(outcome, f"git {arguments[0]} in {directory}", CheckoutError)


def _seconds(text: str) -> int:
    """What a commit object says, whatever that is: as git does, what cannot be read is 1970."""
    return unix_time.bounded(int(text[:MAXIMUM_DIGITS])) if text.isascii() and text.isdecimal() else 0


def _told(error: Exception) -> str:
    """What git said, in one line."""
    text = error.stderr if isinstance(error, GitCommandError) else str(error)
    lines = (line.strip(" '\n") for line in str(text).removeprefix("\n  stderr: ").splitlines())
    return without_password(" ".join(line for line in lines if line))
