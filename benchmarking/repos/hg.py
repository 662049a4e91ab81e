"""Mercurial: a private clone, read with python-hglib, and shares of it to build in.

Nothing is ever written to the user's repository, except what Mercurial itself records when it reads.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import hglib
from hglib.error import CapabilityError, CommandError, ResponseError, ServerError

from benchmarking.errors import CheckoutError, RemoteError, RepositoryError, UnknownCommitError, UsageError
from benchmarking.files import atomic_file
from benchmarking.repos.repo_base import RepoBase, RepoOptions, Revision, require_success, without_password
from benchmarking.results import unix_time

USUAL_REMOTE = "default"
GIT_REMOTE = "origin"
"""The usual name in the other kind of repository; here it means "the default"."""

_EXTENSIONS = ("extensions.share=", "extensions.purge=")
_TEMPLATE = b"{node}\\0{date|hgdate}\\0{author}\\0{desc|firstline}\\0{p1node}\\0"
_FIELDS = 5
LOCK_LIMIT_S = 30
SOURCE_FILE = "ml-benchmark-source"
"""A file in the private clone, written last: the repository of which it is a clone."""
_NO_COMMIT = "0" * 40
_HIDDEN = ("HG_NODE", "HG_PENDING", "HG_REPO")
_ENVIRONMENT = {"HGPLAIN": "1", "HGENCODING": "UTF-8"}


class Hg(RepoBase):
    """The only date of a commit that Mercurial keeps; a rebase sets it if it is told to."""

    kind: ClassVar[str] = "hg"
    default_branch: ClassVar[str] = "default"
    environment: ClassVar[Mapping[str, str]] = _ENVIRONMENT
    hidden_environment: ClassVar[Sequence[str]] = _HIDDEN

    def __init__(self, options: RepoOptions) -> None:
        super().__init__(options)
        self._hg = _executable()
        if not (options.directory / ".hg").is_dir():
            raise UsageError(f"--repo_dir: {options.directory} is not a Mercurial repository")
        self._remote = self._find_remote(options.remote)
        self._configuration = self._find_configuration()
        self._own = options.work_directory.absolute() / "repository"
        self._open_own()

    def _open_own(self) -> None:
        try:
            if not self._is_own_whole():
                self._clone()
            hglib.HGPATH = self._hg
            self._client = hglib.open(str(self._own), encoding="UTF-8", configs=list(_EXTENSIONS))
        except (CheckoutError, ServerError, CommandError, OSError) as error:
            raise UsageError(
                f"--repo_dir: {self._options.directory} cannot be read: {_error_text(error)}"
            ) from error

    def _is_own_whole(self) -> bool:
        """Whether it was cloned completely from this repository."""
        with suppress(OSError, ValueError):
            return (self._own / ".hg" / SOURCE_FILE).read_text(encoding="utf-8") == str(self._users)
        return False

    def _clone(self) -> None:
        shutil.rmtree(self._own, ignore_errors=True)
        self._own.parent.mkdir(parents=True, exist_ok=True)
        clone = (self._hg, *self._configuration, "clone", "--quiet", "--noupdate")
        outcome = self._run((*clone, "--", str(self._users), str(self._own)), self._own.parent)
        require_success(outcome, f"hg clone to {self._own}", CheckoutError)
        with (self._own / ".hg/hgrc").open("a", encoding="utf-8") as stream:
            stream.write(f"\n%include {self._users / '.hg/hgrc'}\n")
        atomic_file.write_text(self._own / ".hg" / SOURCE_FILE, str(self._users))

    @property
    def _users(self) -> Path:
        return self._options.directory.absolute()

    def close(self) -> None:
        self._client.close()

    def _find_remote(self, asked: str | None) -> str | None:
        """The URL of the remote: a share has no remotes of its own."""
        known = dict(line.split(" = ", 1) for line in self._output(("paths",)).splitlines() if " = " in line)
        if asked is None or (asked == GIT_REMOTE and asked not in known):
            return known.get(USUAL_REMOTE)
        if asked in known:
            return known[asked]
        if "/" in asked or ":" in asked:
            return asked
        raise UsageError(
            f"--remote_repository: {self._options.directory} has no remote {asked!r}; "
            f"it has {', '.join(known) or 'none'}"
        )

    def _find_configuration(self) -> list[str]:
        """The configuration for checkouts: without the user's hooks, and without waiting for ever
        for a lock.
        """
        outcome = self._run(
            (self._hg, "config", "hooks"), self._options.directory
        )  # 1: there is no configuration
        names = (line.split("=", 1)[0] for line in outcome.stdout.splitlines() if line.startswith("hooks."))
        return ["--config", f"ui.timeout={LOCK_LIMIT_S}", *(f"--config={name}=" for name in names)]

    def _output(self, arguments: Sequence[str]) -> str:
        outcome = self._run((self._hg, *arguments), self._options.directory)
        if outcome.exit_code != 0:
            raise UsageError(
                f"--repo_dir: {self._options.directory} cannot be read: {outcome.stderr.strip()}"
            )
        return outcome.stdout

    # --- reading --------------------------------------------------------------------------------------------

    def fetch(self, branch: str) -> None:
        """Keeps the remote's branch in a bookmark: old heads may still exist."""
        source = self._remote or str(self._users)
        what = f"cannot fetch {branch} of {without_password(source)}"
        hg = (self._hg, *self._configuration)
        identify = (*hg, "identify", "--debug", "--id", f"--rev={branch}", "--", source)
        asked = self._run(identify, self._options.directory)
        if asked.exit_code != 0 and self._remote is None:
            return
        require_success(asked, what, RemoteError)
        commit = asked.stdout.split()[0]
        self._pull(source, commit, what)
        self._command(b"bookmark", b"--force", b"--rev", commit.encode(), self._bookmark(branch).encode())

    def _pull(self, source: str, commit: str, what: str) -> None:
        pull = (self._hg, *self._configuration, "pull", "--quiet", f"--rev={commit}", "--", source)
        outcome = self._run(pull, self._own)
        if outcome.exit_code != 0 and "unrelated" in outcome.output:
            # The user's repository is not the one from which the private clone was made.
            self._client.close()
            self._clone()
            self._open_own()
            outcome = self._run(pull, self._own)
        require_success(outcome, what, RemoteError)

    @staticmethod
    def _bookmark(branch: str) -> str:
        return f"ml-benchmark/{branch}"

    def resolve(self, name: str) -> Revision:
        # A negative number would be a commit counted from the newest.
        found = None if name.startswith("-") else self._find(name)
        if found is None:
            raise UnknownCommitError(f"{self._options.directory} has no commit, branch or tag {name!r}")
        return found

    def _find(self, name: str) -> Revision | None:
        fetched = self._named(self._bookmark(name))
        if fetched is not None:
            return fetched
        users = self._users_commit(name)
        if users is None:
            return self._named(name)
        if self._named(users) is None:
            self._pull(str(self._users), users, f"cannot read {name} of {self._users}")
        return self._named(users)

    def _users_commit(self, name: str) -> str | None:
        """The commit in the current state of the user's repository: its branches, bookmarks and tags."""
        log = (self._hg, *self._configuration, "log", f"--rev={_present(name)}", "--template={node}")
        outcome = self._run(log, self._users)
        return outcome.stdout if outcome.exit_code == 0 and outcome.stdout else None

    def _named(self, name: str) -> Revision | None:
        try:
            found = self._log(_present(name))
        except RepositoryError:
            return None  # an ambiguous hash
        return found[0][0] if found else None

    def is_ancestor(self, older: str, newer: str) -> bool:
        return bool(self._log(f"{older} and ::{newer}"))

    def position(self, commit: str) -> int:
        template = b"{revset('::%s', node)|count}"
        return int(self._command(b"log", b"--rev", commit.encode(), b"--template", template))

    def commits_after(self, after: str | None, until: str, *, merged_commits: bool = False) -> list[Revision]:
        rows = self._log(f"::{until}" if after is None else f"only({until}, {after})")
        if merged_commits:
            return [revision for revision, _ in rows]
        return _first_parents(rows, until)[0][::-1]

    def chain_page(self, start: str, count: int) -> tuple[list[Revision], str | None]:
        page, following = _first_parents(self._log(f"limit(reverse(::{start}), {count})"), start)
        return page, None if following == _NO_COMMIT else following

    def _log(self, revisions: str) -> list[tuple[Revision, str]]:
        """Commits with their first parents."""
        output = self._command(b"log", b"--rev", revisions.encode(), b"--template", _TEMPLATE)
        fields = output.decode("utf-8", errors="replace").split("\0")
        rows = (fields[first : first + _FIELDS] for first in range(0, len(fields) - 1, _FIELDS))
        return [
            # "1500000000 -7200": the number is UTC; the offset only shows how the date was written.
            (Revision(commit, unix_time.bounded(int(float(date.split()[0]))), author, subject), parent)
            for commit, date, author, subject, parent in rows
        ]

    def _command(self, *arguments: bytes) -> bytes:
        try:
            return bytes(self._client.rawcommand(list(arguments)))
        except CommandError as error:
            raise RepositoryError(f"{self._options.directory}: {_error_text(error)}") from error
        except (ServerError, ResponseError, CapabilityError, OSError) as error:
            # The command server was killed: the next command gets a new one.
            self._open_own()
            raise RepositoryError(f"{self._options.directory}: {_error_text(error)}") from error

    # --- checking out ---------------------------------------------------------------------------------------

    def _update(self, commit: str, directory: Path, clean: bool) -> None:
        self._require_share(directory)
        hg = (self._hg, *self._configuration)
        update = self._run((*hg, "update", "--quiet", "--clean", f"--rev={commit}"), directory)
        require_success(update, f"hg update in {directory}", CheckoutError)
        purge = (*hg, "--config", "extensions.purge=", "purge", *(["--all"] if clean else []))
        require_success(self._run(purge, directory), f"hg purge in {directory}", CheckoutError)

    def _require_share(self, directory: Path) -> None:
        source = directory / ".hg" / "sharedpath"
        store = (self._own / ".hg").resolve()
        if directory.exists() and not (source.is_file() and _shared_store(source) == _shared_store_of(store)):
            shutil.rmtree(directory)
        if directory.exists():
            return
        directory.parent.mkdir(parents=True, exist_ok=True)
        share = (self._hg, "--config", "extensions.share=", "share", "--quiet", "--noupdate")
        outcome = self._run((*share, str(self._own), str(directory)), directory.parent)
        require_success(outcome, f"hg share in {directory}", CheckoutError)


def _shared_store(path: Path) -> Path:
    return (path.parent / path.read_text(encoding="utf-8").rstrip("\n")).resolve()


def _shared_store_of(store: Path) -> Path:
    """A share of a share is a share of the original."""
    return _shared_store(store / "sharedpath") if (store / "sharedpath").is_file() else store


def _present(name: str) -> str:
    """Looks a name up literally, not as an expression of revisions."""
    quoted = "".join(f"\\x{byte:02x}" for byte in name.encode())
    return f"present('{quoted}') and all()"


def _first_parents(rows: Sequence[tuple[Revision, str]], start: str) -> tuple[list[Revision], str]:
    """The chain from ``start`` within ``rows``, and the parent at which it leaves them."""
    known = {revision.commit: (revision, parent) for revision, parent in rows}
    chain = []
    following = start
    while following in known:
        revision, following = known[following]
        chain.append(revision)
    return chain, following


def _executable() -> str:
    """From the PATH, or from the directory of this Python, where pip installs it."""
    found = shutil.which("hg") or shutil.which("hg", path=str(Path(sys.executable).parent))
    if found is None:
        raise UsageError("--repo hg: hg is not on the PATH; install Mercurial")
    return found


def _error_text(error: Exception) -> str:
    text = error.err.decode("utf-8", errors="replace") if isinstance(error, CommandError) else str(error)
    return without_password(" ".join(line.strip() for line in text.splitlines() if line.strip()))
