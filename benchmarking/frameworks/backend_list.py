"""The output of ``caffe2_benchmark --list_backends``."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from benchmarking.errors import ProgramOutputError
from benchmarking.frameworks.framework_base import BackendStatus
from benchmarking.programs.command import Outcome
from benchmarking.results.plain_text import plain

LONGEST_REASON = 1000


def _printable(name: str) -> str:
    if not name.isprintable():
        raise ValueError("it contains a control character")
    return name


class _Reported(BaseModel):
    """Keys that later programs add are ignored."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


Name = Annotated[str, Field(max_length=100), AfterValidator(_printable)]


class _Backend(_Reported):
    name: Annotated[Name, Field(min_length=1)]
    available: bool
    engine: Name = ""
    reason: str = ""


class _List(_Reported):
    backends: Annotated[list[_Backend], Field(max_length=1000)]


def read(outcome: Outcome) -> tuple[BackendStatus, ...]:
    """Reads the list of backends that a program printed.

    Raises:
        ProgramOutputError: it is something else.
    """
    try:
        reported = _List.model_validate_json(outcome.stdout)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = "".join(f"{part}: " for part in fault["loc"])
        raise ProgramOutputError(
            f"the output of --list_backends cannot be read: {where}{fault['msg']}",
            outcome.tail(),
        ) from error
    return tuple(
        BackendStatus(one.name, one.available, plain(one.reason[:LONGEST_REASON]), one.engine)
        for one in reported.backends
    )
