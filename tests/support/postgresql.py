"""A real PostgreSQL of its own, on a socket in a temporary directory and on loopback."""

import getpass
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

OPTIONS = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "32MB",
}
"""Nothing has to survive a loss of power here; a server that is killed loses nothing all the same."""


def programs() -> Path | None:
    """The directory of the newest version's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    if found:
        return found[-1].parent
    name = shutil.which("initdb")
    return Path(name).resolve().parent if name else None


def why_not() -> str | None:
    if programs() is None:
        return "PostgreSQL is not installed (Debian's package postgresql)"
    if os.getuid() == 0 and _unprivileged() is None:
        return "PostgreSQL does not run as root, and there is no user postgres"
    return None


def _unprivileged() -> str | None:
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        return None


class PostgreSQL:
    """``with PostgreSQL() as server: server.database()``"""

    def __init__(self) -> None:
        self._programs = programs()
        self._user = _unprivileged() if os.getuid() == 0 else None
        self.user = self._user or getpass.getuser()
        # Not pytest's own directories: another user cannot enter those.
        self.directory = Path(tempfile.mkdtemp(prefix="postgresql-"))
        if self._user:
            shutil.chown(self.directory, self._user)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._process: subprocess.Popen | None = None
        self._numbers = itertools.count()

    def __enter__(self) -> "PostgreSQL":
        # trust: only this machine's own tests can reach it.
        self._run("initdb", "--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C", str(self._data))
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    def start(self) -> None:
        options = [word for name, value in OPTIONS.items() for word in ("-c", f"{name}={value}")]
        with (self.directory.parent / f"{self.directory.name}.log").open("ab") as log:
            self._log = Path(log.name)
            self._process = subprocess.Popen(
                [
                    *(self._programs / "postgres", "-D", self._data, "-k", self.directory),
                    *("-h", "127.0.0.1", "-p", str(self.port), *options),
                ],
                user=self._user,
                cwd=self.directory,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        limit = time.monotonic() + 60
        while subprocess.run(
            [self._programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        ).returncode:
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < limit, "PostgreSQL does not answer"
            time.sleep(0.05)

    def stop(self, how: int = signal.SIGINT) -> None:
        """SIGINT ends every connection; SIGQUIT is the crash of which it recovers at the next start."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(60)
            self._process = None
        self._log.unlink(missing_ok=True)

    def database(self, template: str = "template1") -> str:
        """The URL of a new database."""
        name = f"{'copy' if template != 'template1' else 'test'}_{next(self._numbers)}"
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-T", template, name)
        return f"postgresql://{self.user}@127.0.0.1:{self.port}/{name}"

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._programs / program, *arguments],
            user=self._user,
            cwd=self.directory,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
