"""A PostgreSQL server on loopback, run by an unprivileged user, with a database for each test."""

import os
import shutil
import socket
import subprocess
import tempfile
from itertools import count
from pathlib import Path

import psycopg

PROGRAMS = Path("/usr/lib/postgresql/15/bin")
USER = "postgres"
OPTIONS = (
    *("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "shared_buffers=16MB"),
    *("-c", "listen_addresses=127.0.0.1", "-c", "max_connections=60"),
)


def why_not() -> str:
    return (
        "" if (PROGRAMS / "initdb").exists() else f"no PostgreSQL in {PROGRAMS}: apt-get install postgresql"
    )


class Postgres:
    def __init__(self):
        self.directory = Path(tempfile.mkdtemp(prefix="postgres-"))
        data = self.directory / "data"
        if os.getuid() == 0:
            shutil.chown(self.directory, USER)
        self._call("initdb", "-D", data, "-U", "test", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        arguments = ("-D", data, "-p", str(self.port), "-k", self.directory, *OPTIONS)
        self.arguments = arguments
        self.numbers = count()
        self.start()

    def start(self):
        log = (self.directory / "log").open("ab")
        self.process = subprocess.Popen(self._own("postgres", *self.arguments), stdout=log, stderr=log)
        for _ in range(600):
            try:
                psycopg.connect(self.address("postgres"), connect_timeout=5).close()
                return
            except psycopg.OperationalError:
                if self.process.poll() is not None:
                    break
                subprocess.run(["sleep", "0.1"], check=True)
        raise RuntimeError((self.directory / "log").read_text())

    def stop(self, mode="immediate"):
        self._call("pg_ctl", "stop", "-D", self.directory / "data", "-m", mode, "-w")
        self.process.wait(60)

    def close(self):
        self.stop()
        shutil.rmtree(self.directory)

    def address(self, database):
        return f"postgresql://test@127.0.0.1:{self.port}/{database}"

    def new_database(self):
        """The address of an empty database, in SQLAlchemy's form."""
        name = f"test{next(self.numbers)}"
        with psycopg.connect(self.address("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.address(name).replace("postgresql:", "postgresql+psycopg:")

    def _call(self, program, *arguments):
        subprocess.run(self._own(program, *arguments), check=True, stdout=subprocess.DEVNULL, cwd="/")

    def _own(self, program, *arguments):
        own = ["runuser", "-u", USER, "--"] if os.getuid() == 0 else []
        return [*own, str(PROGRAMS / program), *map(str, arguments)]
