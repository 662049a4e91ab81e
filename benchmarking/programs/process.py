"""The only user of ``subprocess``: runs a local command with limits on its time and on the output that is
kept.
"""

from __future__ import annotations

import errno
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from benchmarking.errors import ProgramStartError, RunCancelledError
from benchmarking.programs.capture import Capture, LogFile
from benchmarking.programs.command import Command, CpuUse, Outcome
from benchmarking.programs.live_program import LiveProgram

TERMINATION_GRACE_S = 2.0
DRAIN_LIMIT_S = 1.0
"""The time for output after the program's end, if a process that left the group still holds the pipe."""

RESUME_S = 0.1
_READ_BYTES = 2**16


class Cancellation:
    """Set once, by a signal handler or another thread; everything that waits for it wakes up at once."""

    def __init__(self) -> None:
        self._read_end, self._write_end = os.pipe()
        os.set_blocking(self._write_end, False)
        self._was_set: bool | None = None
        """Once it is closed."""

    def set(self) -> None:
        if not self.is_set:
            os.write(self._write_end, b"\0")

    @property
    def is_set(self) -> bool:
        return self._is_readable(0) if self._was_set is None else self._was_set

    @contextmanager
    def set_by_any_signal(self) -> Iterator[None]:
        """Each signal that has a handler sets it, also if the main thread is blocked. Python calls handlers
        in that thread only; a signal that arrives just before it waits for another thread is otherwise not
        handled until that one ends.
        """
        previous = signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(previous)

    def wait(self, timeout_s: float) -> bool:
        """Whether it was set within this time."""
        return self._is_readable(timeout_s)

    def _is_readable(self, timeout_s: float) -> bool:
        with selectors.DefaultSelector() as selector:
            selector.register(self, selectors.EVENT_READ)
            return bool(selector.select(timeout_s))

    def fileno(self) -> int:
        """A descriptor for a selector that becomes readable, and stays readable, once the cancellation is
        set.
        """
        return self._read_end

    def close(self) -> None:
        self._was_set = self.is_set
        os.close(self._read_end)
        os.close(self._write_end)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class Streams:
    """Open files instead of pipes; output to them is not kept."""

    stdin: IO[bytes] | None = None
    stdout: IO[bytes] | None = None
    stderr: IO[bytes] | None = None
    log: LogFile | None = None
    """For both streams of output, instead of files."""


@dataclass(frozen=True)
class Tether:
    """Ties processes to a lock, even if this process is killed."""

    descriptor: int
    """An open lock file, which they inherit: the lock is held as long as any of them lives."""
    variable: str
    mark: str
    """The value of the variable in their environment, by which they are found again."""
    others: tuple[int, ...] = ()
    """Further open lock files, which are held as long."""


def run(
    command: Command,
    cancellation: Cancellation,
    *,
    directory: Path | None = None,
    hidden_environment: Collection[str] = (),
    streams: Streams = Streams(),
    termination_grace_s: float = TERMINATION_GRACE_S,
    tether: Tether | None = None,
    goes_to_background: bool = False,
) -> Outcome:
    """Runs ``command`` in a process group of its own until it ends.

    After it ended, was cancelled or ran longer than ``command.timeout_s``, no process of the group remains;
    between SIGTERM and SIGKILL it has ``termination_grace_s``. Of each stream that does not go to a file, the
    first ``capture.HEAD_LIMIT_BYTES`` and the last ``capture.TAIL_LIMIT_BYTES`` are kept.

    ``goes_to_background``: what is left of the group when the command has ended by itself is spared: it
    leaves the group too, but only a moment later.

    Raises:
        ProgramStartError: it could not be started.
        RunCancelledError: ``cancellation`` was set.
    """
    if cancellation.is_set:
        raise RunCancelledError(f"cancelled before {command.argv[0]} was started")
    started = time.monotonic()
    process = _start(command, hidden_environment, directory, streams, tether)
    with _supervised(process, streams.log or Capture(), Capture()) as supervisor:
        end = supervisor.wait(command.timeout_s, cancellation)
        duration_s = time.monotonic() - started
        if end is not _End.EXITED:
            supervisor.terminate(termination_grace_s)
        exit_code = supervisor.finish(spares_group=goes_to_background and end is _End.EXITED)
        if end is _End.CANCELLED:
            raise RunCancelledError(f"cancelled while {command.argv[0]} was running")
        return Outcome(
            command=command,
            exit_code=exit_code if end is _End.EXITED else None,
            stdout=supervisor.stdout.text(),
            stderr=supervisor.stderr.text(),
            duration_s=duration_s,
            omitted_bytes=supervisor.stdout.omitted_bytes + supervisor.stderr.omitted_bytes,
            cpu=supervisor.cpu,
        )


class LiveProcess(LiveProgram):
    """A local process that is driven line by line. As much of its standard error is kept as by ``run``."""

    def __init__(
        self,
        command: Command,
        cancellation: Cancellation | None,
        hidden_environment: Collection[str] = (),
        tether: Tether | None = None,
    ) -> None:
        """Starts the process.

        Raises:
            ProgramStartError: it could not be started.
        """
        super().__init__()
        self._process = _start(command, hidden_environment, None, Streams(), tether, stdin=subprocess.PIPE)
        self._name = command.argv[0]
        self._cancellation = cancellation
        self._stderr = Capture()
        self._open_streams = 2
        with _killed_on_error(self._process):
            self._selector = selectors.DefaultSelector()
            for stream in (self._process.stdout, self._process.stderr, cancellation):
                if stream is not None:
                    self._selector.register(stream, selectors.EVENT_READ)

    @property
    def stderr(self) -> str:
        return self._stderr.text()

    @property
    def pid(self) -> int:
        return self._process.pid

    def owns(self, pid: int) -> bool:
        return pid == self.pid or self.pid in _ancestors(pid)

    @property
    def exit_code(self) -> int | None:
        """Available after the exit."""
        return self._process.returncode

    def send(self, data: bytes) -> None:
        with suppress(BrokenPipeError):
            os.write(self._process.stdin.fileno(), data)  # type: ignore[union-attr]

    def receive(self, timeout_s: float) -> bytes:
        deadline = time.monotonic() + timeout_s
        while self._open_streams:
            events = self._selector.select(max(0.0, deadline - time.monotonic()))
            if not events:
                raise TimeoutError
            for key, _ in events:
                if key.fileobj is self._cancellation:
                    raise RunCancelledError(f"cancelled while {self._name} was running")
                data = os.read(key.fd, _READ_BYTES)
                if not data:
                    self._selector.unregister(key.fileobj)
                    self._open_streams -= 1
                if key.fileobj is not self._process.stdout:
                    self._stderr.add(data)
                    continue
                if not data:
                    with suppress(TimeoutError):
                        self.receive(DRAIN_LIMIT_S)  # its last words
                return data
            if self._open_streams and time.monotonic() >= deadline:
                raise TimeoutError  # it only writes to stderr, without a pause
        return b""

    def _how_it_ended(self) -> str:
        """Does not reap the process: its number has to stay the number of its group. Its output ends a moment
        before it does.
        """
        with closing(_EndWatch(self.pid)) as watch, selectors.DefaultSelector() as selector:
            selector.register(watch, selectors.EVENT_READ)
            selector.select(DRAIN_LIMIT_S)
        end = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        if end is None:
            return ""
        return f" {'with exit status' if end.si_code == os.CLD_EXITED else 'by signal'} {end.si_status}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        with _supervised(self._process, Capture(), self._stderr) as supervisor:
            self._process.stdin.close()  # type: ignore[union-attr]
            if supervisor.wait(TERMINATION_GRACE_S, None) is not _End.EXITED:
                supervisor.terminate(TERMINATION_GRACE_S)
            supervisor.finish()


def _ancestors(pid: int) -> Collection[int]:
    """The ancestors of a process; empty if it is not on this machine or is not visible."""
    import psutil

    with suppress(psutil.Error, OSError, OverflowError):
        return {one.pid for one in psutil.Process(pid).parents()}
    return ()


def _start(
    command: Command,
    hidden_environment: Collection[str],
    directory: Path | None,
    streams: Streams,
    tether: Tether | None = None,
    stdin: int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if name not in hidden_environment}
    mark = {} if tether is None else {tether.variable: tether.mark}
    try:
        return subprocess.Popen(
            command.argv,
            env={**environment, **command.environment, **mark},
            pass_fds=() if tether is None else (tether.descriptor, *tether.others),
            cwd=directory,
            bufsize=0,
            stdin=streams.stdin or stdin,
            stdout=streams.stdout or subprocess.PIPE,
            stderr=subprocess.STDOUT if streams.log else streams.stderr or subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise ProgramStartError(f"cannot start {command.argv[0]!r}: {_start_problem(error)}") from error


def _start_problem(error: OSError | ValueError) -> str:
    number = getattr(error, "errno", None)
    if number == errno.ENOENT:
        return "there is no such file, or its interpreter is missing"
    if number == errno.EACCES:
        return "it is not executable; try chmod +x"
    if number == errno.ENOEXEC:
        return "it is not an executable for this machine, or a script whose first line names no interpreter"
    return str(error)


class _End(Enum):
    EXITED = "exited"
    TIMED_OUT = "timed out"
    CANCELLED = "cancelled"


@contextmanager
def _killed_on_error(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """What nobody can watch any more (no descriptor is left, say) is not left running."""
    try:
        yield
    except BaseException:
        _signal_group(process, signal.SIGKILL)
        raise


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    # PermissionError: only zombies of the group remain (macOS).
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


@contextmanager
def _supervised(process: subprocess.Popen[bytes], stdout: Capture, stderr: Capture) -> Iterator[_Supervisor]:
    with process:
        with _killed_on_error(process):
            supervisor = _Supervisor(process, stdout, stderr)
        with supervisor:
            yield supervisor


class _Supervisor:
    """Reads a process's output and waits for its end at the same time."""

    def __init__(self, process: subprocess.Popen[bytes], stdout: Capture, stderr: Capture) -> None:
        self._process = process
        self._selector = selectors.DefaultSelector()
        self.stdout = stdout
        self.stderr = stderr
        self.cpu: CpuUse | None = None
        """What it used; known after ``finish``."""
        self._open_streams = 0
        for stream, capture in ((process.stdout, stdout), (process.stderr, stderr)):
            self._register(stream, capture)
        self._end_watch = _EndWatch(process.pid)
        self._selector.register(self._end_watch, selectors.EVENT_READ, _End.EXITED)

    def _register(self, stream: IO[bytes] | None, capture: Capture) -> None:
        if stream is not None:
            self._selector.register(stream, selectors.EVENT_READ, capture)
            self._open_streams += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.returncode is None:
            _signal_group(self._process, signal.SIGKILL)
        self._selector.close()
        self._end_watch.close()

    def wait(self, timeout_s: float | None, cancellation: Cancellation | None) -> _End:
        """Waits until the process ends, the time is over, or the cancellation is set. The process is not
        reaped.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        if cancellation is not None:
            self._selector.register(cancellation, selectors.EVENT_READ, _End.CANCELLED)
        try:
            while True:
                remaining_s = None if deadline is None else deadline - time.monotonic()
                if remaining_s is not None and remaining_s <= 0:
                    return _End.TIMED_OUT
                ends = self._handle_events(remaining_s)
                if ends:
                    return _End.EXITED if _End.EXITED in ends else ends[0]
        finally:
            if cancellation is not None:
                self._selector.unregister(cancellation)

    def terminate(self, grace_s: float) -> None:
        """Sends SIGTERM to the group and gives it time to react, also if somebody stopped it."""
        if _is_stopped(self._process.pid):
            _signal_group(self._process, signal.SIGCONT)
            # Any thread of a stopped process may take its next signal, and Python waits for the main thread.
            time.sleep(RESUME_S)
        _signal_group(self._process, signal.SIGTERM)
        self.wait(grace_s, None)

    def finish(self, *, spares_group: bool = False) -> int:
        """Kills the remaining processes of the group, reads the remaining output and returns the
        exit code.
        """
        # The process is not reaped yet, so its number still identifies this group.
        if not spares_group:
            _signal_group(self._process, signal.SIGKILL)
        exit_code = self._reap()
        self._selector.unregister(self._end_watch)
        deadline = time.monotonic() + DRAIN_LIMIT_S
        while self._open_streams and (remaining_s := deadline - time.monotonic()) > 0:
            self._handle_events(remaining_s)
        return exit_code

    def _reap(self) -> int:
        process = self._process
        parts = _cpu_parts(process.pid)  # while the system still has them
        _, status, used = os.wait4(process.pid, 0)
        self.cpu = CpuUse(used.ru_utime + used.ru_stime, *parts)
        process.returncode = os.waitstatus_to_exitcode(status)
        return process.returncode

    def _handle_events(self, timeout_s: float | None) -> list[_End]:
        ends = []
        for key, _ in self._selector.select(timeout_s):
            if not isinstance(key.data, Capture):
                ends.append(key.data)
                continue
            data = os.read(key.fd, _READ_BYTES)
            key.data.add(data)
            if not data:
                self._selector.unregister(key.fileobj)
                self._open_streams -= 1
        return ends


def _is_stopped(pid: int) -> bool:
    import psutil

    try:
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.Error:
        return False


def _cpu_parts(pid: int) -> tuple[float, float, float] | tuple[()]:
    """Of a process that has ended and was not reaped: the CPU time of its children, that of its first thread,
    and how long that waited for a core, in seconds; empty if the system does not tell (not Linux).
    """
    try:
        ran_ns, waited_ns, _ = map(int, Path(f"/proc/{pid}/schedstat").read_bytes().split())
        # After its name in brackets, which may contain anything: cutime and cstime of proc(5).
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        children_s = (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return ()
    return (children_s, ran_ns / 1e9, waited_ns / 1e9) if ran_ns else ()  # zero where the kernel keeps none


class _EndWatch:
    """A file descriptor that becomes readable when a child ends, without reaping it."""

    def __init__(self, pid: int) -> None:
        try:
            self._descriptor = os.pidfd_open(pid)
        except (AttributeError, OSError):  # not Linux; or its kernel is older than 5.3, or a sandbox
            self._descriptor, write_end = os.pipe()
            threading.Thread(target=self._tell_end, args=(pid, write_end), daemon=True).start()

    @staticmethod
    def _tell_end(pid: int, write_end: int) -> None:
        with suppress(ChildProcessError):
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        os.close(write_end)

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        os.close(self._descriptor)
