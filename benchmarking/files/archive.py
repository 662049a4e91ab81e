"""Many small files as one: a compressed tar whose bytes depend on nothing but the files."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarking.errors import RunCancelledError
from benchmarking.programs.process import Cancellation

LEVEL = 3
"""Of gzip: quick, and not much larger."""
TIME = 946_684_800
"""Of every file: the year 2000, which every program accepts."""

MOST_ENTRIES = 1_000_000
LARGEST_CONTENT_BYTES = 2**36
"""Of what is unpacked, together."""
BLOCK_BYTES = 2**16
"""Of an archive, between two looks at whether to go on: zeros are a thousand times as long unpacked."""


def pack(archive: Path, root: Path, paths: Iterable[Path]) -> None:
    """Writes files, links and directories below ``root``; of a directory only that it is there.

    Raises:
        OSError: one cannot be read, or the archive cannot be written.
    """
    with (
        archive.open("wb") as stream,
        gzip.GzipFile(filename="", mode="wb", compresslevel=LEVEL, fileobj=stream, mtime=0) as packed,
        tarfile.open(mode="w", fileobj=packed, format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in sorted(set(paths)):
            tar.add(path, str(path.relative_to(root)), recursive=False, filter=_without_circumstances)


def _without_circumstances(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.mtime, entry.uid, entry.gid = TIME, 0, 0
    entry.uname = entry.gname = ""
    entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
    return entry


def unpack(archive: Path, directory: Path, cancellation: Cancellation) -> None:
    """Nothing in it can be put outside of the directory.

    Raises:
        RunCancelledError: ``cancellation`` was set.
        ValueError: it is not an archive, is too large, or has an entry that leads outside. The message is
            part of a sentence.
        OSError: the files cannot be written.
    """
    if not hasattr(tarfile, "data_filter"):
        raise ValueError("Python's tarfile is safe from 3.11.4 on; this is an earlier version")
    directory.mkdir(parents=True, exist_ok=True)
    try:
        with (
            archive.open("rb", buffering=0) as file,
            io.BufferedReader(_Cancellable(file, cancellation), BLOCK_BYTES) as stream,
            tarfile.open(fileobj=stream, mode="r:gz") as tar,
        ):
            tar.extractall(directory, _bounded(tar), filter="data")
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"it cannot be unpacked: {error}") from error


class _Cancellable(io.RawIOBase):
    def __init__(self, file: io.FileIO, cancellation: Cancellation) -> None:
        self._file, self._cancellation = file, cancellation

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def readinto(self, buffer: Any) -> int | None:
        if self._cancellation.is_set:
            raise RunCancelledError("cancelled while files were unpacked")
        return self._file.readinto(buffer)


def _bounded(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    content_bytes = 0
    for number, entry in enumerate(tar):
        content_bytes += entry.size
        if number >= MOST_ENTRIES or content_bytes > LARGEST_CONTENT_BYTES:
            raise ValueError(
                f"it has more than {MOST_ENTRIES:,} entries, or more than {LARGEST_CONTENT_BYTES:,} bytes"
            )
        yield entry
