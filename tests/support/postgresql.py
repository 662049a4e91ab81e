"""A real PostgreSQL of its own, on a socket in a temporary directory and on loopback."""

import contextlib
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

import psutil

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
    if shutil.which("setpriv") is None:
        return "there is no setpriv (Debian's package util-linux), which ends it with the tests"
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

    def __init__(self, namespace: str | None = None) -> None:
        """
        Args:
            namespace: the network that it serves; everybody reaches it by its socket.
        """
        self._namespace = namespace
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
        if self._namespace:
            with (self._data / "pg_hba.conf").open("a") as stream:
                stream.write("host all all samenet trust\n")
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
            command = [
                *(self._programs / "postgres", "-D", self._data, "-k", self.directory),
                *("-h", "*" if self._namespace else "127.0.0.1", "-p", str(self.port), *options),
            ]
            # It ends with the test's process, also if that is killed.
            wrapper = ["setpriv", "--pdeathsig=INT"]
            if self._user:
                wrapper += ["--clear-groups", f"--reuid={self._user}", f"--regid={self._user}"]
            if self._namespace:
                wrapper = ["ip", "netns", "exec", self._namespace, *wrapper]
            self._process = subprocess.Popen(
                [*wrapper, *command], cwd=self.directory, stdout=log, stderr=log, start_new_session=True
            )
        limit = time.monotonic() + 60
        while subprocess.run([self._programs / "pg_isready", "-q", *self._address]).returncode:
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

    def pause(self) -> None:
        """Neither answers nor lets go of a connection, until ``resume``."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: int) -> None:
        postmaster = psutil.Process(self._process.pid)
        for one in [postmaster, *postmaster.children()]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.send_signal(number)

    def database(self, template: str = "template1", directory: Path | None = None) -> str:
        """The URL of a new database, whose files are in the directory, if one is given."""
        name = f"{'copy' if template != 'template1' else 'test'}_{next(self._numbers)}"
        place = []
        if directory is not None:
            self._sql(f"CREATE TABLESPACE {name} LOCATION '{directory}'")
            place = ["-D", name]
        self._run("createdb", *self._address, "-T", template, *place, name)
        if directory is not None:
            self._clean_up(False)  # it would change files that each new connection then writes again
            self._sql("CHECKPOINT")  # what it consists of has its place in the directory now
        if self._namespace:
            return f"postgresql://{self.user}@/{name}?host={self.directory}&port={self.port}"
        return f"postgresql://{self.user}@127.0.0.1:{self.port}/{name}"

    def drop(self, url: str) -> None:
        """Of a database in a directory of its own."""
        name = url.rpartition("/")[2]
        self._sql(f"DROP DATABASE {name} WITH (FORCE)")
        self._sql(f"DROP TABLESPACE {name}")
        self._clean_up(True)

    def _clean_up(self, by_itself: bool) -> None:
        self._sql(f"ALTER SYSTEM SET autovacuum = {by_itself}")
        self._sql("SELECT pg_reload_conf()")

    @property
    def _address(self) -> tuple[str, ...]:
        return ("-h", str(self.directory), "-p", str(self.port))

    def _sql(self, text: str) -> None:
        self._run("psql", *self._address, "-d", "template1", "-c", text)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._programs / program, *arguments],
            user=self._user,
            cwd=self.directory,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
