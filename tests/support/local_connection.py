"""This machine's own /bin/sh as a device, because scripts need no other machine."""

import shutil

from benchmarking.errors import DeviceError, DeviceLostError
from benchmarking.platforms.linux.linux import LinuxPlatform
from benchmarking.platforms.linux.ssh import open_end
from benchmarking.platforms.remote.connection import Connection, ShellOutput
from benchmarking.programs import process
from benchmarking.programs.command import Command
from benchmarking.programs.process import Cancellation, Streams


class LocalConnection(Connection):
    """Ends its side as a real one does: what it started is left alone, but for its standard input."""

    def __init__(self, address="board", secrets=(), *, greeting="", merged=False):
        """``merged``: both streams come as one, as from an Android before version 7."""
        self._address = address
        self._secrets = secrets
        self._merged = merged
        self._greeting = greeting
        self.scripts = []
        self.failures = []
        """What the next uses raise; None for one that works."""
        self.restarts = 0

    @property
    def address(self):
        return self._address

    def _fail(self):
        if self.failures and (error := self.failures.pop(0)) is not None:
            raise error

    def _command(self, script, timeout_s=None):
        self.scripts.append(script)
        self._fail()
        streams = "exec 2>&1\n" if self._merged else ""
        return Command(("sh", "-c", f"{streams}{self._greeting}\n{script}"), timeout_s=timeout_s)

    def shell(self, script, *, timeout_s, cancellation):
        command = self._command(script, timeout_s)
        with open_end() as stdin, Cancellation() as never:
            outcome = process.run(
                command,
                cancellation or never,
                hidden_environment=self._secrets,
                streams=Streams(stdin=stdin),
            )
        if outcome.timed_out:
            raise DeviceLostError(f"{self.address}: no answer within {timeout_s:.0f} s")
        return ShellOutput(outcome.stdout, outcome.stderr, outcome.omitted_bytes)

    def start(self, script, *, cancellation):
        return process.LiveProcess(self._command(script), cancellation, self._secrets)

    def push(self, source, target, *, cancellation):
        self._copy(source, target)

    def pull(self, source, target, *, cancellation):
        self._copy(source, target)

    def _copy(self, source, target):
        self._fail()
        try:
            shutil.copyfile(source, target)
        except OSError as error:
            raise DeviceError(f"{self.address}: {error}") from error

    def restart(self):
        self.restarts += 1
        super().restart()

    def close(self):
        pass


class LocalLinux(LinuxPlatform):
    """The Linux platform, but for ssh."""

    @classmethod
    def _connection(cls, destination, options):
        return LocalConnection(destination, options.secrets)

    @property
    def connection(self):
        return self._shell.connection
