"""The user that runs the programs: a name and directories, even if the system knows neither.

Containers run under user ids without an entry in passwd, with a home directory that is missing, is ``/`` or
is not writable.
"""

from __future__ import annotations

import getpass
import logging
import os
import stat
import tempfile
from functools import cache
from pathlib import Path
from typing import Literal

from benchmarking.errors import StorageError

APPLICATION = "ml-benchmark-platform"
"""The name of this project's directory among the user's."""

logger = logging.getLogger(__name__)


def user_name() -> str:
    """The name for messages; ``uid 12345`` if the user has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return f"uid {os.getuid()}"


def user_directory(kind: Literal["cache", "data", "state"]) -> Path:
    """This project's directory among the user's, or a private one below the directory of temporary files.

    Raises:
        StorageError: neither can be used.
    """
    usual = _usual_directory(kind)
    if usual is not None and (_can_be_written(usual) or (kind == "cache" and usual.is_dir())):
        return usual
    return _private_directory(_temporary_directory()) / kind


def _usual_directory(kind: str) -> Path | None:
    import platformdirs

    try:
        path = Path(getattr(platformdirs, f"user_{kind}_dir")(APPLICATION, appauthor=False))
    except RuntimeError:
        return None  # the user has no home
    return path if path.is_absolute() else None


def _can_be_written(directory: Path) -> bool:
    """Creates the directory, because permissions alone do not show whether this is possible."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(directory, os.W_OK | os.X_OK)


def _temporary_directory() -> str:
    try:
        return tempfile.gettempdir()
    except FileNotFoundError as error:
        raise StorageError(
            f"neither the home directory nor one for temporary files can be used: {error}"
        ) from None


@cache
def _private_directory(parent: str) -> Path:
    """The same directory for all processes of the user, so that they share locks and models, and for nobody
    else.
    """
    path = Path(parent) / f"{APPLICATION}-{os.getuid()}"
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise StorageError(
            f"neither the home directory nor {path} can be written: {error.strerror}"
        ) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise StorageError(
            f"{path}: it is not a directory that only this user can write; remove it, or set HOME"
        )
    logger.warning("the home directory cannot be written; using %s instead", path)
    return path
