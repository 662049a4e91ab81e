"""What ``caffe2_benchmark --list_backends`` prints."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationError

from benchmarking.command import Outcome
from benchmarking.errors import ProgramOutputError
from benchmarking.frameworks.framework_base import BackendStatus


class _Told(BaseModel):
    """What later programs add is passed over."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class _Backend(_Told):
    name: str
    available: bool
    engine: str = ""
    reason: str = ""


class _List(_Told):
    backends: list[_Backend]


def read(outcome: Outcome) -> tuple[BackendStatus, ...]:
    """Raises:
    ProgramOutputError: it is something else.
    """
    try:
        told = _List.model_validate_json(outcome.stdout)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = "".join(f"{part}: " for part in fault["loc"])
        raise ProgramOutputError(
            f"what it prints with --list_backends cannot be read: {where}{fault['msg']}",
            outcome.tail(),
        ) from error
    return tuple(BackendStatus(one.name, one.available, one.reason, one.engine) for one in told.backends)
