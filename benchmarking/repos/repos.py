"""Which source control is which class."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarking.errors import UsageError

if TYPE_CHECKING:
    from benchmarking.repos.repo_base import RepoBase, RepoOptions

REPOS = {"git": ("benchmarking.repos.git", "Git"), "hg": ("benchmarking.repos.hg", "Hg")}
"""Loaded when it is needed: either needs its program."""


def repo_names() -> tuple[str, ...]:
    return tuple(REPOS)


def make_repo(kind: str | None, options: RepoOptions) -> RepoBase:
    """``kind`` None: what ``options.directory`` is.

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
