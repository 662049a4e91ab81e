"""Benchmark programs that run single iterations on demand, as a driver uses them.

``docs/worker_protocol.md`` says what is spoken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Self

from benchmarking import worker_protocol
from benchmarking.errors import (
    DeviceError,
    DeviceLostError,
    ProgramError,
    ProgramExitError,
    ProgramOutputError,
    ProgramTimeoutError,
)
from benchmarking.live_program import LiveProgram
from benchmarking.worker_protocol import (
    IterationSample,
    Request,
    WorkerEnded,
    WorkerError,
    WorkerForks,
    WorkerReady,
)

StartWorker = Callable[[bool], AbstractContextManager[LiveProgram] | None]
"""Starts the program as a worker, or (True) as one that forks workers; None where it can be neither."""


class NoWorkersError(ProgramError):
    """The program, or the way to it, does not do single iterations; whole processes can be measured."""


class Worker:
    """A fresh process of one arm, set up and warm."""

    def __init__(self, program: LiveProgram, ready: WorkerReady, limit_s: float) -> None:
        self._program = program
        self._limit_s = limit_s
        self.ready = ready

    def run(self, *, operators: bool = False) -> IterationSample:
        """Raises:
        CaseError, DeviceError, RunCancelledError: it has died, hangs or answers something else.
        """
        self._program.write_line(Request.RUN_OPERATORS if operators else Request.RUN)
        return worker_protocol.read_as(self._program.read_line(self._limit_s), IterationSample)


class WorkerSource:
    """One arm's program as fresh workers: forked from one that stays, or each started anew."""

    def __init__(self, start: StartWorker, limit_s: float) -> None:
        """``limit_s``: for each answer."""
        self._start = start
        self._limit_s = limit_s
        self._stack = ExitStack()
        self._forking: LiveProgram | None = None

    def __enter__(self) -> Self:
        """Raises:
        NoWorkersError: the program does not speak the protocol.
        CaseError, DeviceError, RunCancelledError: it does, and it fails.
        """
        try:
            self._forking = self._fork_server()
            if self._forking is None:
                with self._started() as probe:
                    self._first_answer(probe)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextmanager
    def fresh(self) -> Iterator[Worker]:
        """Raises:
        CaseError, DeviceError, RunCancelledError: it cannot be set up.
        """
        if self._forking is None:
            with self._started() as program:
                yield self._worker(program)
            return
        self._forking.write_line(Request.FORK)
        yield self._worker(self._forking)
        self._forking.write_line(Request.END)
        worker_protocol.read_as(self._forking.read_line(self._limit_s), WorkerEnded)

    def _worker(self, program: LiveProgram) -> Worker:
        ready = worker_protocol.read_as(program.read_line(self._limit_s), WorkerReady)
        return Worker(program, ready, self._limit_s)

    def _started(self, *, forks: bool = False) -> AbstractContextManager[LiveProgram]:
        try:
            started = self._start(forks)
        except DeviceLostError:
            raise
        except DeviceError as error:
            raise NoWorkersError(str(error)) from error
        if started is None:
            raise NoWorkersError("programs of this framework do not speak the worker protocol")
        return started

    def _fork_server(self) -> LiveProgram | None:
        with ExitStack() as stack:
            program = stack.enter_context(self._started(forks=True))
            try:
                answer = self._first_answer(program)
            except NoWorkersError as error:
                if isinstance(error.__cause__, ProgramExitError):
                    return None  # a program that knows no such option
                raise
            if isinstance(answer, WorkerForks):
                self._stack = stack.pop_all()
                return program
        return None

    def _first_answer(self, program: LiveProgram) -> WorkerForks | WorkerReady | WorkerError:
        try:
            answer = worker_protocol.read(program.read_line(self._limit_s))
        except (ProgramExitError, ProgramOutputError, ProgramTimeoutError) as error:
            raise NoWorkersError(f"it does not speak the worker protocol: {error}", error.evidence) from error
        if isinstance(answer, WorkerForks | WorkerReady | WorkerError):
            return answer
        raise NoWorkersError(f"it does not speak the worker protocol: it begins with {type(answer).__name__}")
