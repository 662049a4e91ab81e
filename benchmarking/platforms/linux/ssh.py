"""OpenSSH with the user's configuration, keys, agent, known hosts and jump hosts."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shlex import quote
from typing import IO

from benchmarking.errors import DeviceError, DeviceLostError, ProgramStartError
from benchmarking.files.held_directory import SHORT_PATHS, HeldDirectory
from benchmarking.platforms.remote.connection import Connection, ShellOutput, check_length
from benchmarking.programs import process
from benchmarking.programs.command import Command, Outcome
from benchmarking.programs.live_program import LiveProgram
from benchmarking.programs.process import Cancellation, Streams
from benchmarking.results.plain_text import last_line

CONNECT_LIMIT_S = 10
TRANSFER_LIMIT_S = 3600.0
"""A lost connection is noticed within ten seconds; this only limits unforeseen cases."""

OPTIONS = {
    "IgnoreUnknown": "RemoteCommand,SessionType,StdinNull,ForkAfterAuthentication",
    "BatchMode": "yes",
    "ConnectTimeout": str(CONNECT_LIMIT_S),
    "ServerAliveInterval": "3",
    "ServerAliveCountMax": "3",
    "ControlPersist": "60",
    "RequestTTY": "no",
    "ForwardX11": "no",
    "ClearAllForwardings": "yes",
    "Tunnel": "no",
    "PermitLocalCommand": "no",
    "RemoteCommand": "none",
    "LogLevel": "ERROR",
}
"""Override settings for interactive sessions; StrictHostKeyChecking stays as the user has set it. Options
that older clients do not know are ignored.
"""
SESSION_OPTIONS = {
    "ControlMaster": "no",
    "SessionType": "default",
    "StdinNull": "no",
    "ForkAfterAuthentication": "no",
}

_REFUSALS = {
    "Host key verification failed": "its host key is unknown; connect once by hand and check it",
    "REMOTE HOST IDENTIFICATION HAS CHANGED": "its host key has changed; is it the same machine?",
    "Permission denied": "no key of yours is accepted for this user; try ssh-copy-id, or another user",
    "Too many authentication failures": "name the key to use in the ssh configuration",
    "Could not resolve hostname": "is the name right? It is also looked up in the ssh configuration",
    "Bad configuration option": "fix the ssh configuration",
    "Bad owner or permissions": "only you may have permission to write it: chmod 600",
    "UNKNOWN port 65535": "the connection through its jump host or proxy failed; for details, run: ssh -v",
}


class SshConnection(Connection):
    """One authenticated connection in the background (a control master), which carries every command."""

    def __init__(self, destination: str, *, hidden_environment: Collection[str] = ()) -> None:
        """``destination``: ``host``, ``user@host`` or ``user@host:port``.

        Raises:
            DeviceError: it is none of these.
        """
        self._destination = destination
        self._target = _target(destination)
        self._hidden_environment = tuple(hidden_environment)
        self._directory: HeldDirectory | None = None

    @property
    def address(self) -> str:
        return self._destination

    def shell(self, script: str, *, timeout_s: float, cancellation: Cancellation | None) -> ShellOutput:
        with open_end() as stdin:
            outcome = self._ssh(script, timeout_s, cancellation, Streams(stdin=stdin))
        if outcome.timed_out:
            self.close()
            raise DeviceLostError(f"{self.address}: no answer within {timeout_s:.0f} s")
        if outcome.exit_code == 255:
            self.close()
        return ShellOutput(outcome.stdout, outcome.stderr, outcome.omitted_bytes)

    def start(self, script: str, *, cancellation: Cancellation | None) -> LiveProgram:
        directory = self._connected(cancellation)
        command = Command(_argv(self._session_words(script), directory))
        return process.LiveProcess(command, cancellation, self._hidden_environment)

    def push(self, source: Path, target: str, *, cancellation: Cancellation | None) -> None:
        with source.open("rb") as stream:
            self._transfer(
                f"cat > {quote(target)}", f"cannot write {target}", cancellation, Streams(stdin=stream)
            )

    def pull(self, source: str, target: Path, *, cancellation: Cancellation | None) -> None:
        with tempfile.TemporaryFile() as stream:
            token = self._transfer(
                f"cat {quote(source)}", f"cannot read {source}", cancellation, Streams(stdout=stream)
            )
            stream.seek(0)
            head = stream.read(2**16)
            start = head.find(f"{token}\n".encode())
            if start < 0:
                raise DeviceLostError(f"{self.address}: cannot read {source}: no data arrived")
            stream.seek(start + len(token) + 1)
            with target.open("wb") as file:
                shutil.copyfileobj(stream, file, 2**20)

    def close(self) -> None:
        if self._directory is not None:
            directory, self._directory = self._directory, None
            with suppress(ProgramStartError):
                words = ["-O", "exit", *self._destination_arguments()]
                self._call(words, 5, None, Streams(), directory.path)
            directory.remove()

    def _ssh(
        self, script: str, timeout_s: float, cancellation: Cancellation | None, streams: Streams
    ) -> Outcome:
        directory = self._connected(cancellation)
        return self._call(self._session_words(script), timeout_s, cancellation, streams, directory)

    def _session_words(self, script: str) -> list[str]:
        options = [word for name, value in SESSION_OPTIONS.items() for word in ("-o", f"{name}={value}")]
        command = for_any_shell(script)
        check_length(self.address, command.encode())
        return [*options, *self._destination_arguments(), command]

    def _connected(self, cancellation: Cancellation | None) -> Path:
        """Connects.

        Raises:
            DeviceError: this machine is not let in.
            DeviceLostError: the host cannot be reached.
        """
        if self._directory is None:
            try:
                directory = HeldDirectory("bench-ssh-", SHORT_PATHS)
            except OSError as error:
                raise DeviceError(
                    f"{self.address}: cannot create a socket in /tmp: {error.strerror}"
                ) from error
            try:
                with tempfile.TemporaryFile() as log:  # the master keeps it open: a pipe would not end
                    outcome = self._call(
                        ["-M", "-N", "-f", *self._destination_arguments()],
                        2 * CONNECT_LIMIT_S,
                        cancellation,
                        Streams(stdout=log, stderr=log),
                        directory.path,
                        goes_to_background=True,
                    )
                    log.seek(0)
                    said = log.read(2**20).decode(errors="replace").strip()
                if outcome.exit_code != 0:
                    raise self._cannot_connect(said or "no answer")
            except BaseException:
                directory.remove()
                raise
            self._directory = directory
        return self._directory.path

    def _cannot_connect(self, said: str) -> DeviceError:
        lines = said.splitlines()
        for sign, advice in _REFUSALS.items():
            line = next((line for line in reversed(lines) if sign in line), None)
            if line is not None:
                return DeviceError(f"{self.address}: {last_line(line).rstrip('.')}: {advice}", said)
        return DeviceLostError(f"{self.address}: {last_line(said)}", said)

    def _transfer(self, script: str, what: str, cancellation: Cancellation | None, streams: Streams) -> str:
        """Returns a token that precedes the output, because a login script may print something first."""
        token = secrets.token_hex(8)
        outcome = self._ssh(
            f"echo {token}; echo {token} >&2; {script}", TRANSFER_LIMIT_S, cancellation, streams
        )
        if outcome.exit_code != 0:
            said = outcome.stderr.rpartition(f"{token}\n")[2].strip()
            message = f"{self.address}: {what}: {last_line(said)}"
            if outcome.timed_out or outcome.exit_code == 255:
                self.close()
                raise DeviceLostError(message, said)
            raise DeviceError(message, said)
        return token

    def _destination_arguments(self) -> list[str]:
        host, port = self._target
        return [*(["-p", port] if port else []), "--", host]

    def _call(
        self,
        words: list[str],
        timeout_s: float,
        cancellation: Cancellation | None,
        streams: Streams,
        directory: Path,
        *,
        goes_to_background: bool = False,
    ) -> Outcome:
        try:
            with Cancellation() as never:
                return process.run(
                    Command(_argv(words, directory), timeout_s=timeout_s),
                    cancellation or never,
                    hidden_environment=self._hidden_environment,
                    streams=streams,
                    goes_to_background=goes_to_background,
                )
        except ProgramStartError as error:
            raise DeviceError(f"{self.address}: {error}; is OpenSSH's client installed?") from error


def for_any_shell(script: str) -> str:
    """A command that passes the script to a POSIX shell, for any login shell.

    Csh cannot read a quoted newline and expands ``!`` between all quotes; fish treats backslashes there as
    its own. Characters that they would change, and all that are not ASCII, are passed as octal numbers.
    """
    encoded = "".join(
        chr(byte) if 0x20 <= byte < 0x7F and byte not in b"'!\\" else f"\\0{byte:03o}"
        for byte in script.encode()
    )
    return f"""exec sh -c 'eval "$(printf %b "$1")"' sh '{encoded}'"""


def _argv(words: list[str], directory: Path) -> tuple[str, ...]:
    options = {**OPTIONS, "ControlPath": f"{directory}/s"}
    return ("ssh", *(word for name, value in options.items() for word in ("-o", f"{name}={value}")), *words)


def _target(destination: str) -> tuple[str, str | None]:
    host, colon, port = destination.rpartition(":")
    if not colon or "]" in port or (":" in host and not host.endswith("]")):
        host, port = destination, ""
    if not host.strip("@") or host.startswith("-") or (port and not port.isdecimal()):
        raise DeviceError(f"{destination!r} is not a host; use host, user@host or user@host:port")
    return host.replace("[", "").replace("]", ""), port or None


@contextmanager
def open_end() -> Iterator[IO[bytes]]:
    """A standard input that ends when the context is left, or when this process is gone for any reason."""
    read_end, write_end = os.pipe()
    try:
        with os.fdopen(read_end, "rb") as stream:
            yield stream
    finally:
        os.close(write_end)
