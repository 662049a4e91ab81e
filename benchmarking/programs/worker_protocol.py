"""What is said between us and a benchmark program that runs single iterations on demand.

We send lines, it answers each with one JSON object in a line; ``docs/worker_protocol.md`` is the whole of it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from benchmarking.bounds import LONGEST_WARNING, MOST_WARNINGS
from benchmarking.errors import ProgramError, ProgramOutputError
from benchmarking.results.plain_text import plain

PROTOCOL = 1
_SHOWN_CHARACTERS = 1000


class Request(StrEnum):
    """The lines that we send, without the newline."""

    RUN = "run"
    RUN_OPERATORS = "run operators"
    OPERATORS = "operators"
    """Only for a program that has said that it tells them later."""
    QUIT = "quit"
    """Has no answer: the program ends, as at the end of its input."""
    FORK = "fork"
    """Only for a program that has said that it forks; answered by the forked worker."""
    END = "end"
    """Only for a forked worker; the program that forked it answers, once it is gone."""


class _Answer(BaseModel):
    """What a later protocol adds is passed over."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)


Count = Annotated[int, Field(ge=0, lt=2**64)]
ProcessNumber = Annotated[int, Field(ge=0, lt=2**31)]
Nanoseconds = Annotated[float, Field(ge=0, le=1e18)]
"""Up to 31 years."""
ProgramFact = str | bool | Annotated[int, Field(gt=-(2**64), lt=2**64)] | float | None


class WorkerKernel(_Answer):
    """What computed an operator in a run before the first one that is timed."""

    kernel: str
    own: bool
    """Of the backend that was asked for."""


class WorkerCost(_Answer):
    """As ``results.Cost``."""

    parameters: Count
    flops: Count
    bytes: Count


class WorkerReady(_Answer):
    """It is set up and warm. What is None, the program or its system does not know."""

    protocol: Literal[1]
    ready: Literal[True]
    pid: ProcessNumber | None = None
    rss_bytes: Count | None = None
    """The memory that it takes now; forked workers share some of it."""
    peak_rss_bytes: Count | None = None
    """The most that it has taken."""
    load_ns: Nanoseconds | None = None
    """What it took to load the model, the runtime being imported and the files being read."""
    first_ns: Nanoseconds | None = None
    """What the first iteration of the warm-up took."""
    wall_resolution_ns: Nanoseconds | None = None
    """The smallest step that the clock was seen to take."""
    cpu_resolution_ns: Nanoseconds | None = None
    operators: list[str] = Field(default_factory=list)
    """In the order of the net; empty: not told."""
    operators_later: bool = False
    """Their times are the answer to ``Request.OPERATORS``, not to ``Request.RUN_OPERATORS``."""
    facts: dict[str, ProgramFact] = Field(default_factory=dict)
    kernels: dict[str, WorkerKernel] = Field(default_factory=dict)
    """By operator; empty: not told."""
    costs: dict[str, WorkerCost] = Field(default_factory=dict)
    """By operator, and ``NET_DELAY`` of the net."""
    warnings: list[str] = Field(default_factory=list)
    """What whoever reads the numbers has to know, in sentences."""

    @property
    def shown_warnings(self) -> tuple[str, ...]:
        """The first of them, each on one line and harmless to a terminal."""
        return tuple(plain(text[:LONGEST_WARNING]) for text in self.warnings[:MOST_WARNINGS])

    @property
    def start_facts(self) -> dict[str, ProgramFact]:
        """What it says of its start."""
        values = {"load_ns": self.load_ns, "first_ns": self.first_ns, "peak_rss_bytes": self.peak_rss_bytes}
        return {name: value for name, value in values.items() if value is not None}


class WorkerForks(_Answer):
    """It has read everything and run nothing, and forks a worker for each ``Request.FORK``."""

    protocol: Literal[1]
    forks: Literal[True]
    pid: ProcessNumber | None = None


class IterationSample(_Answer):
    """One iteration. What is None, the program or its system does not count."""

    wall_ns: Annotated[float, Field(ge=1e-3, le=1e18)]
    cpu_ns: Nanoseconds | None = None
    """Of all threads of the process."""
    involuntary_switches: Count | None = None
    """How often a thread of the process lost its core to another."""
    run_delay_ns: Nanoseconds | None = None
    """How long threads of the process waited for a core, all together."""
    device_ns: Nanoseconds | None = None
    """Only of ``Request.RUN``: by the clock of the device that computed."""
    operators: dict[str, Nanoseconds] | None = None
    """Only of ``Request.RUN_OPERATORS``; the clocks above may then cover more than the operators."""


class OperatorTimes(_Answer):
    """What each operator took, in every iteration of ``Request.RUN_OPERATORS`` since this was last asked."""

    operators: dict[str, list[Nanoseconds]]


class WorkerEnded(_Answer):
    """The forked worker is gone, its memory free again."""

    ended: Literal[True]


class WorkerError(_Answer):
    """What was asked for was not done. The program goes on, unless it was about to start."""

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
"""By the first of these keys that an answer has: an error wins over whatever comes with it."""
_JSON_OBJECT: TypeAdapter[dict[str, object]] = TypeAdapter(dict[str, object])

Kind = TypeVar("Kind", bound=_Answer)


def read(line: str | bytes) -> Answer:
    """One answer.

    Raises:
        ProgramOutputError: it is none of the protocol's; the line is the evidence.
    """
    try:
        value = _JSON_OBJECT.validate_json(line)
    except ValidationError as error:
        raise _garbage("no JSON object", line) from error
    for key, kind in _KINDS.items():
        if key in value:
            try:
                return kind.model_validate_json(line)
            except ValidationError as error:
                raise _garbage(_faults(error), line) from error
    raise _garbage(f"without any of {', '.join(_KINDS)}", line)


def read_as(line: str | bytes, kind: type[Kind]) -> Kind:
    """The answer that is expected: of type ``kind``.

    Raises:
        ProgramError: the program answers with an error.
        ProgramOutputError: another answer, or none of the protocol's; the line is the evidence.
    """
    answer = read(line)
    if isinstance(answer, kind):
        return answer
    if isinstance(answer, WorkerError):
        raise ProgramError(f"the program says: {_line(answer.error)}", _shown(line))
    raise _garbage(f"{type(answer).__name__} in place of {kind.__name__}", line)


def _faults(error: ValidationError) -> str:
    faults = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_url=False)]
    return "; ".join(faults[:3])


def _garbage(what: str, line: str | bytes) -> ProgramOutputError:
    message = f"the program's answer is not of the worker protocol: {_line(what)}"
    return ProgramOutputError(message, _shown(line))


def _line(text: str) -> str:
    """A single one, harmless and short."""
    return plain(text[:_SHOWN_CHARACTERS])


def _shown(line: str | bytes) -> str:
    text = line.decode("utf-8", "replace") if isinstance(line, bytes) else line
    return f"--- its answer ---\n{text.rstrip()[:_SHOWN_CHARACTERS] or '(an empty line)'}"
