"""Resolves the location of a file in a specification (docs/contracts.md, section 3)."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

URL_SCHEMES = ("http://", "https://")
ROOT_PREFIX = "//"
MODEL_DIR_PREFIX = "{MODEL_DIR}/"
"""The form in the later form of specifications."""


@dataclass(frozen=True)
class Location:
    """A URL, or the absolute path of a local file."""

    value: str

    @property
    def is_url(self) -> bool:
        return self.value.lower().startswith(URL_SCHEMES)

    @property
    def path(self) -> Path:
        """Only for a local file."""
        return Path(self.value)

    def __str__(self) -> str:
        return self.value


def resolve(text: str, specification: Path, root_model_dir: Path | None) -> Location:
    """``http(s)://`` is unchanged; ``//path`` and ``{MODEL_DIR}/path`` are below ``root_model_dir``; other
    paths are relative to the specification file.

    Raises:
        ValueError: one of these without a ``root_model_dir``, or one that leaves it; not a path at all.
    """
    if Location(text).is_url:
        return Location(text)
    if "\0" in text or not text:
        raise ValueError(f"{text!r} is not a path")
    if not text.startswith((ROOT_PREFIX, MODEL_DIR_PREFIX)):
        return Location(_possible(_resolved(specification.parent / text)))
    if root_model_dir is None:
        raise ValueError(f"{text!r} is relative to --root_model_dir, which is not given")
    root = root_model_dir.resolve()
    path = _resolved(root / text.removeprefix(MODEL_DIR_PREFIX).lstrip("/"))
    if not path.is_relative_to(root):
        raise ValueError(f"{text!r} leaves --root_model_dir {str(root)!r}")
    return Location(_possible(path))


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except RuntimeError:
        raise ValueError(f"{str(path)!r} is a loop of links") from None


def _possible(path: Path) -> str:
    try:
        os.lstat(path)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise ValueError(f"'{str(path)[:60]}...' is too long for a path") from None
    return str(path)
