"""The conversation with a benchmark program that runs single iterations on demand.

The harness sends lines, and the program answers each with one JSON object in a line; see
``docs/worker_protocol.md``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from benchmarking.bounds import LONGEST_WARNING, MOST_WARNINGS
from benchmarking.errors import ProgramError, ProgramOutputError
from benchmarking.results.plain_text import plain

_SHOWN_CHARACTERS = 1000


class Request(StrEnum):
    """The lines that the harness sends, without the newline."""

    RUN = "run"
    RUN_OPERATORS = "run operators"
    OPERATORS = "operators"
    """Only for a program that has announced that it reports operators later."""
    QUIT = "quit"
    """Has no answer: the program ends, as at the end of its input."""
    FORK = "fork"
    """Only for a program that has announced that it forks; the forked worker answers."""
    END = "end"
    """Only for a forked worker; the program that forked it answers when the worker is gone."""


class _Answer(BaseModel):
    """Unknown keys, from later versions of the protocol, are ignored."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)


Count = Annotated[int, Field(ge=0, lt=2**64)]
ProcessNumber = Annotated[int, Field(ge=0, lt=2**31)]
Nanoseconds = Annotated[float, Field(ge=0, le=1e18)]
"""Up to 31 years."""
ProgramFact = str | bool | Annotated[int, Field(gt=-(2**64), lt=2**64)] | float | None


class WorkerKernel(_Answer):
    """The kernel that computed an operator in a run before the first timed iteration."""

    kernel: str
    own: bool
    """Whether the kernel belongs to the requested backend."""


class WorkerCost(_Answer):
    """As ``results.Cost``."""

    parameters: Count
    flops: Count
    bytes: Count


class WorkerReady(_Answer):
    """The program is set up and warm. A value that is None is unknown to the program or its system."""

    protocol: Literal[1]
    ready: Literal[True]
    pid: ProcessNumber | None = None
    rss_bytes: Count | None = None
    """The memory in use now; forked workers share some of it."""
    peak_rss_bytes: Count | None = None
    """The most memory that was in use."""
    load_ns: Nanoseconds | None = None
    """The time to load the model, after the runtime was imported and the files were read."""
    first_ns: Nanoseconds | None = None
    """The time of the first warm-up iteration."""
    wall_resolution_ns: Nanoseconds | None = None
    """The smallest observed step of the clock."""
    cpu_resolution_ns: Nanoseconds | None = None
    operators: list[str] = Field(default_factory=list)
    """The names in the order of the net; empty: not reported."""
    operators_later: bool = False
    """Times of operators are in the answer to ``Request.OPERATORS``, not to ``Request.RUN_OPERATORS``."""
    facts: dict[str, ProgramFact] = Field(default_factory=dict)
    kernels: dict[str, WorkerKernel] = Field(default_factory=dict)
    """Maps the operator to its kernel; empty: not reported."""
    costs: dict[str, WorkerCost] = Field(default_factory=dict)
    """Maps the operator, or ``NET_DELAY`` for the net, to its cost."""
    warnings: list[str] = Field(default_factory=list)
    """Sentences that readers of the numbers have to know."""

    @property
    def shown_warnings(self) -> tuple[str, ...]:
        """The first warnings, each on one line and without control characters."""
        return tuple(plain(text[:LONGEST_WARNING]) for text in self.warnings[:MOST_WARNINGS])

    @property
    def start_facts(self) -> dict[str, ProgramFact]:
        """The facts about the program's start."""
        values = {"load_ns": self.load_ns, "first_ns": self.first_ns, "peak_rss_bytes": self.peak_rss_bytes}
        return {name: value for name, value in values.items() if value is not None}


class WorkerForks(_Answer):
    """The program has read everything and run nothing, and forks a worker for each ``Request.FORK``."""

    protocol: Literal[1]
    forks: Literal[True]
    pid: ProcessNumber | None = None


class IterationSample(_Answer):
    """One iteration. A value that is None is not counted by the program or its system."""

    wall_ns: Annotated[float, Field(ge=1e-3, le=1e18)]
    cpu_ns: Nanoseconds | None = None
    """The CPU time of all threads of the process."""
    involuntary_switches: Count | None = None
    """The number of times that a thread of the process lost its core to another thread."""
    run_delay_ns: Nanoseconds | None = None
    """The total time that threads of the process waited for a core."""
    device_ns: Nanoseconds | None = None
    """Only for ``Request.RUN``: the time by the clock of the device that computed."""
    operators: dict[str, Nanoseconds] | None = None
    """Only for ``Request.RUN_OPERATORS``; the clocks above may then cover more than the operators."""


class OperatorTimes(_Answer):
    """The times of each operator, in all iterations of ``Request.RUN_OPERATORS`` since the last
    such request.
    """

    operators: dict[str, list[Nanoseconds]]


class WorkerEnded(_Answer):
    """The forked worker is gone, and its memory is free again."""

    ended: Literal[True]


class WorkerError(_Answer):
    """The request failed. The program continues, unless it was starting."""

    error: str


Answer = WorkerReady | WorkerForks | IterationSample | OperatorTimes | WorkerEnded | WorkerError
_KINDS: dict[str, type[Answer]] = {
    "error": WorkerError,
    "ready": WorkerReady,
    "forks": WorkerForks,
    "ended": WorkerEnded,
    "wall_ns": IterationSample,
    "operators": OperatorTimes,
}
"""The kind of an answer is that of the first of these keys in it: an error takes precedence over everything
else.
"""
_JSON_OBJECT: TypeAdapter[dict[str, object]] = TypeAdapter(dict[str, object])

Kind = TypeVar("Kind", bound=_Answer)


def read(line: str | bytes) -> Answer:
    """Reads one answer.

    Raises:
        ProgramOutputError: it is none of the protocol's; the line is the evidence.
    """
    try:
        value = _JSON_OBJECT.validate_json(line)
    except ValidationError as error:
        raise _garbage("not a JSON object", line) from error
    for key, kind in _KINDS.items():
        if key in value:
            try:
                return kind.model_validate_json(line)
            except ValidationError as error:
                raise _garbage(_faults(error), line) from error
    raise _garbage(f"without any of {', '.join(_KINDS)}", line)


def read_as(line: str | bytes, kind: type[Kind]) -> Kind:
    """Reads the expected answer, of type ``kind``.

    Raises:
        ProgramError: the program answers with an error.
        ProgramOutputError: another answer, or none of the protocol's; the line is the evidence.
    """
    answer = read(line)
    if isinstance(answer, kind):
        return answer
    if isinstance(answer, WorkerError):
        raise ProgramError(f"the program reports: {_line(answer.error)}", _shown(line))
    raise _garbage(f"{type(answer).__name__} instead of {kind.__name__}", line)


def _faults(error: ValidationError) -> str:
    faults = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
    return "; ".join(faults[:3])


def _garbage(what: str, line: str | bytes) -> ProgramOutputError:
    message = f"the program's answer does not follow the worker protocol: {_line(what)}"
    return ProgramOutputError(message, _shown(line))


def _line(text: str) -> str:
    """A single line, without control characters and short."""
    return plain(text[:_SHOWN_CHARACTERS])


def _shown(line: str | bytes) -> str:
    text = line.decode("utf-8", "replace") if isinstance(line, bytes) else line
    return f"--- its answer ---\n{text.rstrip()[:_SHOWN_CHARACTERS] or '(an empty line)'}"
