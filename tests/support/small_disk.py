"""A file system of a few megabytes, on which something finds no room. Only root can mount one."""

import pwd
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.postgresql import PostgreSQL


@contextmanager
def small_disk(directory: Path, size_bytes: int, user: str = "root") -> Iterator[None]:
    directory.mkdir(exist_ok=True)
    owner = pwd.getpwnam(user)
    options = f"size={size_bytes},uid={owner.pw_uid},gid={owner.pw_gid},mode=700"
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", directory], capture_output=True)
    if done.returncode:
        pytest.skip("a file system can only be mounted by root")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)


@contextmanager
def database_on(server: PostgreSQL, disk: Path, template: str = "template1") -> Iterator[str]:
    """The URL of a database whose files are on the disk."""
    url = server.database(template, disk)
    try:
        yield url
    finally:
        # Otherwise the server cannot write what it still has, and serves no other test.
        subprocess.run(["mount", "-o", f"remount,size={2**30}", disk], check=True)
        server.drop(url)
