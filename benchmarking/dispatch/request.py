"""What a job of the queue asks for. It comes from another host: read once, into frozen types."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from benchmarking.errors import UsageError
from benchmarking.specs.run_info import TestName

PROTOCOL = 1
"""The version of requests and of the tables. An agent and a submitter of different versions refuse each
other.
"""
BENCHMARK = "benchmarks/suite.json"
"""Among the files of a job: the suite that it runs."""
MEASURE, RESERVE, BUILD = "measure", "reserve", "build"
"""Kinds of jobs; the last one is also what stands for the platform of a host that builds."""
LARGEST_FILE_BYTES = 2**40
MOST_FILES = 10_000
LONGEST_RESERVATION_S = 30 * 24 * 3600

_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
"""No part begins with a dot: no path leaves the directory of its job."""


def _relative(text: str) -> str:
    if len(text) > 400 or not _PATH.fullmatch(text):
        raise ValueError("it is not a path inside the directory of the job")
    return text


RelativePath = Annotated[str, AfterValidator(_relative)]
OptionName = Annotated[str, Field(pattern="^[a-z][a-z_]{1,40}$")]
OptionText = Annotated[str, Field(max_length=10_000)]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class JobModel(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class PackedFile(JobModel):
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    size_bytes: Annotated[int, Field(ge=0, le=LARGEST_FILE_BYTES)]
    executable: bool = False


class Job(JobModel):
    """What every job names."""

    protocol: int
    submission: Name
    person: Name


class FilesJob(Job):
    """A job with everything that it needs."""

    platform: Name
    files: Annotated[dict[RelativePath, PackedFile], Field(max_length=MOST_FILES)]
    """By their paths in the directory of the job."""


class MeasureJob(FilesJob):
    """A run of the harness on one device."""

    device: Name
    """The device's hash."""
    options: dict[OptionName, OptionText]
    """Options of the harness; those without a value are empty."""
    program: RelativePath | None = None
    shared_libs: list[RelativePath] = Field(default_factory=list)
    info: dict[str, JsonValue]
    """As ``--info``; the paths of programs are those in the directory of the job."""
    tests: list[TestName]
    """Every test of the benchmark files."""
    history: RelativePath | None = None
    """An archive with the saved results of the ``regression_commits``."""
    run_limit_s: Annotated[float, Field(gt=0)] | None = None
    """For the run of the harness, without the time in the queue."""


class BuildJob(FilesJob):
    """A build of a commit, on any host that builds for the platform."""

    source: RelativePath
    """An archive of the commit's files."""
    scripts: RelativePath
    """An archive of the framework's build scripts, and ..."""
    script: RelativePath
    """... the path in it of that of the platform."""
    limit_s: Annotated[float, Field(gt=0)] | None = None
    """For the build, without the time in the queue."""


class ReserveJob(Job):
    """Keeps everybody else's jobs from a device for some time."""

    duration_s: Annotated[float, Field(gt=0, le=LONGEST_RESERVATION_S)]


def read_job(kind: type[JobModel], value: Any) -> Any:
    """
    Raises:
        UsageError: it is not such a job, or of another version. One clear line.
    """
    found = value.get("protocol") if isinstance(value, dict) else None
    if found != PROTOCOL:
        raise UsageError(
            f"the job has the version {str(found)[:20]}, and this agent reads {PROTOCOL}: update the older "
            "of the two"
        )
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))[:200]
        raise UsageError(f"the job cannot be read: {where}: {first['msg']}") from error
