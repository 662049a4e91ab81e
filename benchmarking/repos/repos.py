"""The table of source control systems and their classes."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarking.errors import UsageError

if TYPE_CHECKING:
    from benchmarking.repos.repo_base import RepoBase, RepoOptions

REPOS = {"git": ("benchmarking.repos.git", "Git"), "hg": ("benchmarking.repos.hg", "Hg")}
"""Imported only when it is needed, because each needs its program."""


def repo_names() -> tuple[str, ...]:
    return tuple(REPOS)


def make_repo(kind: str | None, options: RepoOptions) -> RepoBase:
    """``kind`` None: the kind of ``options.directory``.

    Raises:
        UsageError: it is no such repository, or the program for it is missing.
    """
    module, name = REPOS[kind or _kind(options.directory)]
    try:
        repo: RepoBase = getattr(import_module(module), name)(options)
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError):
            raise
        raise UsageError(f"--repo {kind or 'git'}: {str(error).splitlines()[0]}") from error
    return repo


def _kind(directory: Path) -> str:
    return "hg" if (directory / ".hg").is_dir() else "git"
