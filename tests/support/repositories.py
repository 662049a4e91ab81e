"""Real repositories of both kinds, isolated from the configuration of the user that runs the tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

ANN = "Ann <ann@example.org>"
MONDAY = 1772442000
"""2026-03-02, 09:00 UTC."""
ISOLATED = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_COMMITTER_NAME": "Committer",
    "GIT_COMMITTER_EMAIL": "committer@example.org",
    "HGRCPATH": "",
    "HGPLAIN": "1",
    "HGENCODING": "UTF-8",
}


def find_hg() -> str | None:
    return shutil.which("hg") or shutil.which("hg", path=str(Path(sys.executable).parent))


class GitRemote:
    kind = "git"
    main_branch = "master"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True)
        self.run("git", "init", "--quiet", "--initial-branch=master")

    def run(self, *argv: str, **environment: str) -> str:
        everything = {**os.environ, **ISOLATED, **environment}
        done = subprocess.run(argv, cwd=self.directory, env=everything, capture_output=True, text=True)
        assert done.returncode == 0, f"{argv}: {done.stderr}"
        return done.stdout.strip()

    def write(self, files: dict[str, str | None]) -> None:
        """None removes one."""
        for name, text in files.items():
            path = self.directory / name
            if text is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o755 if text.startswith("#!") else 0o644)

    def commit(
        self,
        files: dict[str, str | None],
        *,
        subject: str = "A change",
        time: int = MONDAY,
        author: str = ANN,
        author_time: int | None = None,
        zone: str = "+0000",
    ) -> str:
        """Returns the full hash. ``time`` is the committer's; Mercurial has no other."""
        self.write(files)
        self.run("git", "add", "--all")
        name, mail = author.removesuffix(">").split(" <")
        people = {
            "GIT_AUTHOR_NAME": name,
            "GIT_AUTHOR_EMAIL": mail,
            "GIT_AUTHOR_DATE": f"{author_time or time} {zone}",
            "GIT_COMMITTER_DATE": f"{time} {zone}",
        }
        argv = ("git", "commit", "--quiet", "--allow-empty", "--allow-empty-message", "--no-gpg-sign")
        self.run(*argv, "-m", subject, **people)
        return self.run("git", "rev-parse", "HEAD")

    def commit_at(self, time: str) -> str:
        """The newest commit once more on top of it, with any text in the place of its time."""
        old = self.run("git", "cat-file", "commit", "HEAD")
        head = [line for line in old.split("\n\n")[0].splitlines() if not line.startswith("parent ")]
        head[1:1] = [f"parent {self.run('git', 'rev-parse', 'HEAD')}"]
        head = [
            f"{line[: line.rindex('>') + 1]} {time}" if line.startswith(("committer", "author")) else line
            for line in head
        ]
        path = self.directory / ".git" / "odd"
        path.write_text("\n".join([*head, "", "odd time", ""]))
        commit = self.run("git", "hash-object", "-t", "commit", "-w", "--literally", str(path))
        self.run("git", "reset", "--quiet", "--hard", commit)
        return commit

    def branch(self, name: str) -> None:
        self.run("git", "checkout", "--quiet", "-b", name)

    def switch(self, name: str) -> None:
        self.run("git", "checkout", "--quiet", name)

    def merge(self, name: str, *, subject: str = "Merge", time: int = MONDAY) -> str:
        self.run("git", "merge", "--quiet", "--no-ff", "--no-commit", name, GIT_AUTHOR_NAME="x")
        return self.commit({}, subject=subject, time=time)

    def tag(self, name: str) -> None:
        self.run("git", "tag", "-a", "-m", "tagged", name)

    def drop(self, count: int) -> None:
        """The newest commits of the branch, as a force push does."""
        self.run("git", "reset", "--quiet", "--hard", f"HEAD~{count}")

    def clone(self, directory: Path) -> Path:
        """What a user has: its usual remote is this one."""
        self.run("git", "clone", "--quiet", str(self.directory), str(directory))
        return directory


@cache
def _hg_server() -> Any:
    """One for all repositories, because hg takes a quarter of a second to start."""
    import hglib

    hglib.HGPATH = find_hg()
    with mock.patch.dict(os.environ, ISOLATED):
        return hglib.open(None, encoding="UTF-8", configs=["extensions.strip="])


class HgRemote(GitRemote):
    kind = "hg"
    main_branch = "default"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True)
        self._hg("init")

    def _hg(self, *arguments: str) -> str:
        words = ("--cwd", str(self.directory), *arguments)
        return _hg_server().rawcommand([os.fsencode(one) for one in words]).decode().strip()

    def commit(
        self,
        files: dict[str, str | None],
        *,
        subject: str = "A change",
        time: int = MONDAY,
        author: str = ANN,
        author_time: int | None = None,
        zone: str = "+0000",
    ) -> str:
        self.write(files)
        if not files:  # Mercurial has no empty commits
            self.write({f"empty-{time}-{len(subject)}": f"{subject}{time}"})
        date = f"{time} {-(int(zone[:3]) * 3600 + int(zone[0] + zone[3:]) * 60)}"
        self._hg("commit", "--addremove", "--quiet", "--user", author, "--date", date, "-m", subject or " ")
        return self._hg("identify", "--id", "--debug")

    def branch(self, name: str) -> None:
        self._hg("branch", "--quiet", name)

    def switch(self, name: str) -> None:
        self._hg("update", "--quiet", "--clean", name)

    def merge(self, name: str, *, subject: str = "Merge", time: int = MONDAY) -> str:
        self._hg("merge", "--quiet", "--tool=:fail", name)
        return self.commit({f"merged-{time}": name}, subject=subject, time=time)

    def tag(self, name: str) -> None:
        self._hg("tag", "--user", ANN, "--date", f"{MONDAY} 0", name)

    def drop(self, count: int) -> None:
        self._hg("strip", "--quiet", "--no-backup", f"last(., 1)~{count - 1}")

    def clone(self, directory: Path) -> Path:
        self._hg("clone", "--quiet", str(self.directory), str(directory))
        return directory


REMOTES = {"git": GitRemote, "hg": HgRemote}
