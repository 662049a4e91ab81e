"""The treatment, the control and the history that --info describes (docs/contracts.md, section 2)."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from benchmarking.bounds import parse_json, read_file
from benchmarking.errors import UsageError
from benchmarking.results.model import RunType
from benchmarking.results.unix_time import UnixSeconds

LARGEST_INFO_BYTES = 10_000_000
SHOWN_CHARACTERS = 60
"""Of the name of a file that cannot be read."""


class InfoModel(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Commit(InfoModel):
    """A commit of the past whose results the history may hold."""

    commit: Annotated[str, Field(min_length=1)]
    commit_time: UnixSeconds
    """Unix seconds of the committer time."""


class Version(InfoModel):
    """What is to be run: a commit, or a program or an environment of no known commit."""

    commit: Annotated[str | None, Field(min_length=1)] = None
    """None: ``program_commit`` of the program stands for it."""
    commit_time: UnixSeconds | None = None
    """None: now."""
    position: Annotated[int, Field(ge=0)] | None = None
    """Of the commit in its repository: higher than those of all commits that it holds. It orders commits of
    one second, and those whose times are wrong."""
    program: str | None = None
    """The path of its benchmark program; the command line's or the framework's own where it is not given."""
    python: Annotated[str | None, Field(min_length=1)] = None
    """The path of the Python that runs the program."""

    @model_validator(mode="after")
    def _is_complete(self) -> Version:
        if (self.commit is None) != (self.commit_time is None):
            raise ValueError(
                "commit and commit_time go together: give both, or a program or python and neither"
            )
        if self.commit is None and self.program is None and self.python is None:
            raise ValueError("give commit and commit_time, or the path of a program or of a python")
        return self


class TestName(InfoModel):
    """A test of the benchmark file."""

    __test__: ClassVar[bool] = False
    """Not a test of pytest's."""

    net: str
    metric: str
    identifier: str


class RunInfo(InfoModel):
    treatment: Version
    control: Version | None = None
    regression_commits: list[Commit] = Field(default_factory=list)
    """Newest first."""
    run_type: RunType | None = None
    regressed_types: list[str] = Field(default_factory=list)
    tests: list[TestName] = Field(default_factory=list)
    """Only these are run; none: all."""
    meta: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    shared_libs: list[str] = Field(default_factory=list)


def read_run_info(text: str) -> RunInfo:
    """From the JSON text of --info, or from the file that ``@file`` names.

    Raises:
        UsageError: not JSON, or not what docs/contracts.md describes in section 2; names every fault.
    """
    source = "--info"
    if text.startswith("@"):
        source = text[1:]
        try:
            text = read_file(Path(source).expanduser(), LARGEST_INFO_BYTES).decode("utf-8")
        except (OSError, ValueError, RuntimeError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise UsageError(f"--info: cannot read {source[:SHOWN_CHARACTERS]!r}: {reason}") from error
    try:
        value = parse_json(text)
    except ValueError as error:
        raise UsageError(
            f"{source}: not JSON: {error}; write JSON text, or @FILE for a file that holds it"
        ) from error
    try:
        return RunInfo.model_validate(value)
    except ValidationError as error:
        faults = [
            f"{source}: {_json_path(fault['loc'])}: {_message(fault['msg'])}" for fault in error.errors()
        ]
        raise UsageError("\n".join(faults)) from error


def _message(text: str) -> str:
    return text.removeprefix("Value error, ")


def program_commit(program: Path, environment: str = "") -> str:
    """Stands for the commit of a program of which none is known: its name, and a hash of its content; the
    environment that runs it in front, where one is named.

    Raises:
        OSError: it cannot be read.
    """
    with program.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    names = [name for name in (environment, program.name) if name]
    return "-".join([*(re.sub("[^A-Za-z0-9_.-]+", "-", name)[:60] for name in names), digest[:12]])


def _json_path(location: tuple[int | str, ...]) -> str:
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
