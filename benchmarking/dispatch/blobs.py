"""Files of jobs, by their SHA-256, in parts of one megabyte: sent once, and checked at both ends."""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarking.dispatch.request import PackedFile
from benchmarking.errors import DeviceError, RunCancelledError

if TYPE_CHECKING:
    import psycopg

    from benchmarking.programs.process import Cancellation

PART_BYTES = 2**20
INCOMING_PREFIX = ".incoming-"
"""Of a file that is being fetched; a process that is killed leaves it."""


class PackedFileError(DeviceError):
    """A file of a job is not there, or is not what its hash says."""


def described(path: Path) -> PackedFile:
    """
    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        size = stream.tell()
    return PackedFile(sha256=digest, size_bytes=size, executable=os.access(path, os.X_OK))


def send(connection: psycopg.Connection[Any], path: Path, file: PackedFile, person: str) -> bool:
    """Stores a file, unless it is there. What an interrupted transfer left is continued. Returns whether
    anything was sent.

    Raises:
        PackedFileError: the file changed meanwhile.
        OSError: it cannot be read.
    """
    # What is there already needs no room: PostgreSQL asks for the quota before it looks for a conflict.
    row = connection.execute(
        "UPDATE blob SET used = now() WHERE sha256 = %s RETURNING complete", [file.sha256]
    ).fetchone()
    row = (
        row
        or connection.execute(
            "INSERT INTO blob (sha256, person, size_bytes) VALUES (%s, %s, %s)"
            " ON CONFLICT (sha256) DO UPDATE SET used = now() RETURNING complete",
            [file.sha256, person, file.size_bytes],
        ).fetchone()
    )
    if row == (True,):
        return False
    present = {
        number
        for (number,) in connection.execute("SELECT number FROM blob_part WHERE sha256 = %s", [file.sha256])
    }
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as stream:
        for number, content in enumerate(iter(lambda: stream.read(PART_BYTES), b"")):
            digest.update(content)
            size += len(content)
            if number not in present:
                connection.execute(
                    "INSERT INTO blob_part VALUES (%s, %s, %b) ON CONFLICT DO NOTHING",
                    [file.sha256, number, content],
                )
    if (digest.hexdigest(), size) != (file.sha256, file.size_bytes):
        raise PackedFileError(f"{path} changed while it was sent: submit again")
    connection.execute("UPDATE blob SET complete = true WHERE sha256 = %s", [file.sha256])
    return True


def fetch(
    connection: psycopg.Connection[Any],
    file: PackedFile,
    directory: Path,
    cancellation: Cancellation | None = None,
) -> Path:
    """The file in a cache directory of this host, where it is fetched only once.

    Raises:
        PackedFileError: it is not there, or not what its name says.
        RunCancelledError: cancelled on the way.
        OSError: it cannot be written.
    """
    path = directory / file.sha256[:2] / file.sha256
    with suppress(FileNotFoundError):  # removed a moment ago, because nobody used it for long
        if path.stat().st_size == file.size_bytes:
            os.utime(path)
            return path
    path.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=INCOMING_PREFIX, delete=False) as stream:
        try:
            with connection.transaction(), connection.cursor(name="parts", binary=True) as cursor:
                cursor.itersize = 4
                cursor.execute(
                    "SELECT content FROM blob_part JOIN blob USING (sha256)"
                    " WHERE sha256 = %s AND complete ORDER BY number",
                    [file.sha256],
                )
                for (content,) in cursor:
                    digest.update(content)
                    size += len(content)
                    if cancellation is not None and cancellation.is_set:
                        raise RunCancelledError("cancelled while files were fetched")
                    if size <= file.size_bytes:
                        stream.write(content)
            if (digest.hexdigest(), size) != (file.sha256, file.size_bytes):
                _refuse(connection, file, size, is_whole=digest.hexdigest() == file.sha256)
            stream.flush()
            os.fsync(stream.fileno())
            Path(stream.name).chmod(0o400)
            Path(stream.name).rename(path)
        except BaseException:
            Path(stream.name).unlink(missing_ok=True)
            raise
    return path


def _refuse(connection: psycopg.Connection[Any], file: PackedFile, size: int, *, is_whole: bool) -> None:
    """``is_whole``: only the job is wrong, and the file belongs to others too."""
    if is_whole:
        raise PackedFileError(f"the file {file.sha256[:12]} has another size than the job says: submit again")
    if size == 0:
        raise PackedFileError(f"the lab does not have the file {file.sha256[:12]} any more: submit again")
    import psycopg

    try:
        connection.execute("DELETE FROM blob WHERE sha256 = %s", [file.sha256])
    except psycopg.errors.InsufficientPrivilege as error:
        raise PackedFileError(
            f"the file {file.sha256} is damaged in the lab, and this account may not remove it: ask the "
            "owner of the lab's tables to remove its row of lab.blob"
        ) from error
    raise PackedFileError(
        f"the file {file.sha256[:12]} is damaged in the lab, and was removed there: submit again"
    )


def remove_unused(connection: psycopg.Connection[Any], days: int) -> int:
    """Removes the files that nobody used for so long and that no waiting or running job names. Returns their
    number.
    """
    unused = connection.execute(
        "WITH needed AS (SELECT DISTINCT file.value->>'sha256' AS sha256 FROM procrastinate_jobs,"
        " jsonb_each(args->'job'->'files') AS file WHERE status IN ('todo', 'doing')"
        " AND jsonb_typeof(args->'job'->'files') = 'object')"
        " SELECT sha256 FROM blob WHERE used < now() - make_interval(days => %(days)s)"
        " AND sha256 NOT IN (SELECT sha256 FROM needed)",
        {"days": days},
    ).fetchall()
    # One by one: what is large takes its time, and no statement may take long.
    return sum(
        connection.execute(
            "DELETE FROM blob WHERE sha256 = %s AND used < now() - make_interval(days => %s)", [sha256, days]
        ).rowcount
        for (sha256,) in unused
    )
