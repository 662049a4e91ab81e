"""Packs a program into one file that Python runs: its own package, and the kit."""

from __future__ import annotations

import zipfile
from pathlib import Path, PurePosixPath
from typing import BinaryIO

_ROOT = Path(__file__).resolve().parents[3]
_KIT = "benchmarking.frameworks.kit"
_PATTERNS = ("*.py", "*.comp")
"""The kinds of files that are packed: code, including shaders."""


def content(package: str) -> dict[str, bytes]:
    """Maps the path in the archive to the content. ``package``: the dotted name of a package with a
    ``__main__``.
    """
    files = {"__main__.py": b"import %s.__main__\n" % package.encode()}
    for name in (_KIT, package):
        directory = _ROOT.joinpath(*name.split("."))
        for path in (path for pattern in _PATTERNS for path in directory.rglob(pattern)):
            if "__pycache__" not in path.parts:
                files[path.relative_to(_ROOT).as_posix()] = path.read_bytes()
    for parent in {parent for path in files for parent in PurePosixPath(path).parents if parent.name}:
        files.setdefault(str(parent / "__init__.py"), b"")
    return files


def write(stream: BinaryIO, files: dict[str, bytes]) -> None:
    """Writes the same bytes for the same content. Bytes that were written to the stream before remain in
    front.
    """
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), data)
