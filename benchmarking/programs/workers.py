"""Benchmark programs that run single iterations on demand, as a driver uses them.

``docs/worker_protocol.md`` says what is spoken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from enum import Enum
from functools import cached_property
from typing import Self

from benchmarking.errors import (
    DeviceError,
    DeviceLostError,
    ProgramError,
    ProgramExitError,
    ProgramOutputError,
    ProgramTimeoutError,
)
from benchmarking.programs import worker_protocol
from benchmarking.programs.live_program import LiveProgram
from benchmarking.programs.worker_protocol import (
    IterationSample,
    OperatorTimes,
    Request,
    WorkerEnded,
    WorkerError,
    WorkerForks,
    WorkerReady,
)

StartWorker = Callable[[bool, int], AbstractContextManager[LiveProgram] | None]
"""Starts the program as a worker, or (True) as one that forks workers; None where it can be neither. The
number is the ``layout_seed`` of ``FrameworkBase.compose_worker``."""


class NoWorkersError(ProgramError):
    """The program, or the way to it, does not do single iterations; whole processes can be measured."""


class Worker:
    """A fresh process of one arm, set up and warm."""

    def __init__(self, program: LiveProgram, ready: WorkerReady, limit_s: float) -> None:
        self._program = program
        self._limit_s = limit_s
        self.ready = ready
        self._operator_runs = 0
        """Since the times of operators were last asked for."""

    @cached_property
    def pid(self) -> int | None:
        """As it says, where that is true: its own number, or that of a process that it has started."""
        pid = self.ready.pid
        return pid if pid is not None and self._program.owns(pid) else None

    @property
    def local_pid(self) -> int | None:
        """Of the process that computes, or has started the one that does; None: it is on another machine."""
        return None if self._program.pid is None else self.pid or self._program.pid

    def run(self, *, operators: bool = False) -> IterationSample:
        """Raises:
        CaseError, DeviceError, RunCancelledError: it has died, hangs or answers something else.
        """
        self._operator_runs += operators
        self._program.write_line(Request.RUN_OPERATORS if operators else Request.RUN)
        return worker_protocol.read_as(self._program.read_line(self._limit_s), IterationSample)

    def with_operators(self, samples: Sequence[IterationSample]) -> list[IterationSample]:
        """The last that ``run(operators=True)`` returned, with their operators where those come later.

        Raises:
            CaseError, DeviceError, RunCancelledError: as ``run``.
        """
        if not self.ready.operators_later or not samples:
            return list(samples)
        self._program.write_line(Request.OPERATORS)
        line = self._program.read_line(self._limit_s)
        times_ns = worker_protocol.read_as(line, OperatorTimes).operators
        ran, self._operator_runs = self._operator_runs, 0
        if any(len(values) != ran for values in times_ns.values()):
            raise ProgramOutputError(f"the program reports operators, but not for each of {ran} iterations")
        return [
            sample.model_copy(update={"operators": {name: values[at] for name, values in times_ns.items()}})
            for at, sample in enumerate(samples, start=ran - len(samples))
        ]


class _State(Enum):
    """Of the program that forks workers."""

    CLOSED = "it does not run"
    STARTING = "it was started, and what it says first was not read yet"
    IDLE = "it waits for the request of a worker"
    FORKING = "the next worker sets itself up"
    AT_WORK = "a worker runs"


class _Kind(Enum):
    """Of an arm's program, as its first answer shows."""

    UNKNOWN = "not asked yet"
    FORKS = "it forks workers"
    SINGLE = "it is a worker itself, and is started again for each"


class WorkerSource:
    """One arm's program as fresh workers: forked from one that stays, or each started again.

    ``begin``, ``get_ready``, then as often as needed ``fresh``, which ``prepare`` may be called ahead of;
    ``begin`` again at any time, also after a failure. Programs that fork pass through the states in their
    order, from ``AT_WORK`` back to ``IDLE``. Another order of calls is a bug of the caller: RuntimeError.
    """

    def __init__(self, start: StartWorker, limit_s: float) -> None:
        """``limit_s``: for each answer."""
        self._start = start
        self._limit_s = limit_s
        self._layout_seed = 0
        self._kind = _Kind.UNKNOWN
        self._state = _State.CLOSED
        self._program: LiveProgram | None = None
        """That forks workers; None where it is ``CLOSED``."""
        self._stack = ExitStack()
        """Ends that program."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the program that forks workers; ``begin`` may start it again."""
        self._program, self._state = None, _State.CLOSED
        self._stack.close()

    def begin(self, layout_seed: int) -> None:
        """Starts the program again, where it forks workers; ``get_ready`` waits for it.

        Raises:
            NoWorkersError: it cannot be started as one that does single iterations.
            CaseError, DeviceError, RunCancelledError: it cannot be started.
        """
        self.close()
        self._layout_seed = layout_seed
        if self._kind is not _Kind.SINGLE:
            self._program = self._stack.enter_context(self._started(forks=True))
            self._state = _State.STARTING

    def get_ready(self) -> None:
        """Raises:
        NoWorkersError: the program does not speak the protocol.
        CaseError, DeviceError, RunCancelledError: it does, and it fails.
        """
        if self._kind is _Kind.SINGLE:
            return
        if self._forks(self._program_in(_State.STARTING)):
            self._kind, self._state = _Kind.FORKS, _State.IDLE
            return
        self.close()
        if self._kind is _Kind.UNKNOWN:
            with self._started() as probe:
                self._first_answer(probe)
        self._kind = _Kind.SINGLE

    def prepare(self) -> None:
        """The next fresh worker sets itself up from now on, where it is forked.

        Raises:
            DeviceLostError: the device is gone.
        """
        if self._kind is _Kind.FORKS and self._state is not _State.FORKING:
            self._program_in(_State.IDLE).write_line(Request.FORK)
            self._state = _State.FORKING

    @contextmanager
    def fresh(self) -> Iterator[Worker]:
        """Raises:
        CaseError, DeviceError, RunCancelledError: it cannot be set up.
        """
        if self._kind is _Kind.SINGLE:
            with self._started() as program:
                yield self._worker(program)
            return
        self.prepare()
        program = self._program_in(_State.FORKING)
        self._state = _State.AT_WORK
        yield self._worker(program)
        program.write_line(Request.END)
        worker_protocol.read_as(program.read_line(self._limit_s), WorkerEnded)
        self._state = _State.IDLE

    def _program_in(self, expected: _State) -> LiveProgram:
        if self._program is None or self._state is not expected:
            raise RuntimeError(
                f"the program that forks workers is not in the state {expected.name} but {self._state.name}: "
                f"{self._state.value}"
            )
        return self._program

    def _worker(self, program: LiveProgram) -> Worker:
        ready = worker_protocol.read_as(program.read_line(self._limit_s), WorkerReady)
        return Worker(program, ready, self._limit_s)

    def _started(self, *, forks: bool = False) -> AbstractContextManager[LiveProgram]:
        try:
            started = self._start(forks, self._layout_seed)
        except DeviceLostError:
            raise
        except DeviceError as error:
            raise NoWorkersError(str(error)) from error
        if started is None:
            raise NoWorkersError("programs of this framework do not speak the worker protocol")
        return started

    def _forks(self, program: LiveProgram) -> bool:
        try:
            return isinstance(self._first_answer(program), WorkerForks)
        except NoWorkersError as error:
            if self._kind is _Kind.UNKNOWN and isinstance(error.__cause__, ProgramExitError):
                return False  # a program that knows no such option
            raise

    def _first_answer(self, program: LiveProgram) -> WorkerForks | WorkerReady | WorkerError:
        try:
            answer = worker_protocol.read(program.read_line(self._limit_s))
        except (ProgramExitError, ProgramOutputError, ProgramTimeoutError) as error:
            raise NoWorkersError(f"it does not speak the worker protocol: {error}", error.evidence) from error
        if isinstance(answer, WorkerForks | WorkerReady | WorkerError):
            return answer
        raise NoWorkersError(f"it does not speak the worker protocol: it begins with {type(answer).__name__}")
