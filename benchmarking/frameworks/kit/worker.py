"""The worker protocol: the driver of the program requests single iterations, one line each.

Every line but ``quit`` is answered by one line, a JSON object. Nothing else goes to stdout.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from . import costs, counters
from .errors import BenchmarkProgramError, UsageError
from .flags import Settings
from .program import LoadedModel, Program
from .scatter import scatter

if TYPE_CHECKING:
    from .job import Job

PROTOCOL = 1
_ENDED, _TOLD = 0, 97
"""Exit statuses of a forked worker: after a normal end, and after an error that it has reported itself. No
library ends a process with the latter.
"""
_AWAITS_ANSWER, _HAS_ENDED = 0, 1
"""Positions in the state that parent and child share."""


def main(program: Program[Any], settings: Settings) -> int:
    """Runs the worker and returns the program's exit status."""
    held = (
        scatter()
    )  # before all other imports, which are then placed at other addresses than in the program's other runs
    try:
        return _serve(program, settings)
    finally:
        del held


def _serve(program: Program[Any], settings: Settings) -> int:
    channel = _Channel()
    try:
        # A thread pool that numpy starts during its import could not be forked.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", str(settings.threads))
        from .job import Job

        if settings.worker == "fork" and not hasattr(os, "fork"):
            raise UsageError("--worker fork: this system has no fork; use --worker true")
        job = Job(program, settings)
        if settings.worker == "fork":
            _Zygote(channel, job).serve()
        else:
            _work(channel, job)
    except BenchmarkProgramError as error:
        channel.answer({"protocol": PROTOCOL, "error": str(error)})
        raise
    except BrokenPipeError:
        pass  # nobody reads the answers: treated as the end of the input
    return 0


class _Channel:
    """Reads lines from stdin and writes answers to the original stdout; all other output goes to stderr.

    A forked worker shares it with its parent.
    """

    def __init__(self) -> None:
        sys.stdout.flush()
        self._answers = os.dup(1)
        os.dup2(2, 1)
        self._state = mmap.mmap(-1, 2)

    @property
    def awaits_answer(self) -> bool:
        """Whether a line was read but not answered yet, by this process or its child."""
        return self._state[_AWAITS_ANSWER] != 0

    @property
    def has_ended(self) -> bool:
        """Whether this process or its child was told to quit."""
        return self._state[_HAS_ENDED] != 0

    def line(self) -> str | None:
        """The next line; None: ``quit``, or the end of the input.

        Reads byte by byte, because bytes read beyond the line would be lost for the process that reads the
        next line.
        """
        content = b""
        while not content.endswith(b"\n"):
            byte = os.read(0, 1)
            if not byte:
                break
            content += byte
        line = content.decode("utf-8", "replace").strip()
        if not content.endswith(b"\n") or line == "quit":
            self._state[_HAS_ENDED] = 1
            return None
        self._state[_AWAITS_ANSWER] = 1
        return line

    def answer(self, value: Mapping[str, Any]) -> None:
        content = (json.dumps(value) + "\n").encode()
        # Not afterwards: the process that waits for the answer may run first, and end this process.
        self._state[_AWAITS_ANSWER] = 0
        while content:
            content = content[os.write(self._answers, content) :]


def _work(channel: _Channel, job: Job, last_line: str | None = None, observes: bool = True) -> None:
    """Sets up, reports this, and serves until it is told to quit or ``last_line`` arrives."""
    loaded = job.load(observes=False)
    first_ns = job.warm_up(loaded)
    memory = {
        "rss_bytes": counters.resident_bytes(),
        "peak_rss_bytes": counters.peak_resident_bytes(),
    }
    if observes:  # not earlier: the first iteration is the first
        job.observe(loaded)
    channel.answer(
        {
            "protocol": PROTOCOL,
            "ready": True,
            "pid": os.getpid(),
            **memory,
            "load_ns": job.load_ns,
            "first_ns": first_ns,
            "wall_resolution_ns": counters.resolution_ns(time.perf_counter_ns),
            "cpu_resolution_ns": counters.resolution_ns(time.process_time_ns),
            "operators": list(loaded.operator_names),
            "operators_later": loaded.operators_later,
            "kernels": {name: kernel._asdict() for name, kernel in job.kernels.items()},
            "costs": _costs(loaded) if observes and job.reports_costs else {},
            "warnings": list(job.warnings),
            # Last, because measuring the peak takes memory. Nobody waits for anything else of the first
            # worker.
            "facts": {**job.facts, **(job.peak() if observes else {})},
        }
    )
    line = channel.line()
    while line is not None and line != last_line:
        channel.answer(_answer(line, loaded))
        line = channel.line()
    job.write_outputs(loaded)


def _costs(loaded: LoadedModel) -> Mapping[str, Any]:
    operators = loaded.operators()
    if not operators:
        return {}
    by_name = {"NET_DELAY": costs.total(operators), **{one.name: costs.cost(one) for one in operators}}
    return {name: one._asdict() for name, one in by_name.items()}


def _answer(line: str, loaded: LoadedModel) -> Mapping[str, Any]:
    try:
        if line == "run":
            sample, device_ns = _timed(loaded.run)[0], loaded.device_ns()
            return sample if device_ns is None else {**sample, "device_ns": device_ns}
        if line == "run operators":
            sample, times_ns = _timed(loaded.run_operators)
            if loaded.operators_later:
                return sample
            return {**sample, "operators": dict(zip(loaded.operator_names, times_ns))}
        if line == "operators":
            return {"operators": loaded.take_operator_times()}
    except BenchmarkProgramError as error:
        return {"error": str(error)}
    return {
        "error": "unknown line %r; a worker knows run, run operators, operators, quit, and end if it was"
        " forked" % line[:100]
    }


def _timed(run: Callable[[], Any]) -> tuple[dict[str, Any], Any]:
    """The times of one iteration, and its result. Nothing else happens between the clocks."""
    before = counters.read()
    cpu_start = time.process_time_ns()
    wall_start = time.perf_counter_ns()
    result = run()
    wall_end = time.perf_counter_ns()
    cpu_end = time.process_time_ns()
    after = counters.read()
    times = {"wall_ns": wall_end - wall_start, "cpu_ns": cpu_end - cpu_start}
    return {**times, **counters.difference(before, after)}, result


class _Zygote:
    """Has imported and read everything, and forks a worker for the rest whenever a line requests it."""

    def __init__(self, channel: _Channel, job: Job) -> None:
        self._channel = channel
        self._job = job
        self._forked = 0

    def serve(self) -> None:
        self._channel.answer({"protocol": PROTOCOL, "forks": True, "pid": os.getpid()})
        unreported = ""  # how the last worker failed while nobody waited for an answer
        while not self._channel.has_ended:
            line = self._channel.line()
            if line is None:
                return
            if unreported:
                self._channel.answer({"error": unreported})
                unreported = ""
            elif line == "fork":
                unreported = _problem(self._run_worker())
                if self._channel.awaits_answer:
                    self._channel.answer({"error": unreported} if unreported else {"ended": True})
                    unreported = ""
            else:
                self._channel.answer(
                    {"error": "there is no worker for the line %r; send fork first" % line[:100]}
                )

    def _run_worker(self) -> int:
        """The exit status of the worker; negative: the signal that ended it."""
        sys.stderr.flush()
        with warnings.catch_warnings():
            # Only numpy may have threads, which handle forks; the engine has not started any yet.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            os._exit(self._work())
        self._forked += 1
        _, status = os.waitpid(child, 0)
        return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

    def _work(self) -> int:
        """Runs in the worker and returns its exit status. Nothing is raised, because the callers above belong
        to the parent.
        """
        try:
            self._held = scatter()
            # The kernels are those of the first worker; observing again would take a third of the setup time.
            _work(self._channel, self._job, "end", observes=self._forked == 0)
            return _ENDED
        except BrokenPipeError:
            return _ENDED  # nobody reads the answers
        except BenchmarkProgramError as error:
            self._channel.answer({"error": str(error)})
            return _TOLD
        except BaseException as error:
            traceback.print_exc()
            self._channel.answer({"error": "%s: %s" % (type(error).__name__, error)})
            return _TOLD
        finally:
            sys.stderr.flush()


def _problem(status: int) -> str:
    """Describes how the worker ended; empty if it ended normally or has reported the error itself."""
    if status in (_ENDED, _TOLD):
        return ""
    how = "was ended by signal %d" % -status if status < 0 else "ended with status %d" % status
    return "the forked worker " + how
