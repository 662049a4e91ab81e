"""The treatment, the control and the history that --info describes (docs/contracts.md, section 2)."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field, InstanceOf, ValidationError, model_validator

from benchmarking.bounds import parse_json, read_file
from benchmarking.errors import UsageError
from benchmarking.results.model import RunType
from benchmarking.results.plain_text import json_words
from benchmarking.results.unix_time import UnixSeconds

INTERACTIVE_COMMIT = "interactive"
"""Takes the place of the commit of a run without --info."""
LONGEST_TEXT = 1000
"""Characters of what is said about a commit."""
LARGEST_INFO_BYTES = 10_000_000
SHOWN_CHARACTERS = 60
"""The number of characters of a file name that messages show."""

FileName = InstanceOf[str]
"""Unlike other text, it may hold bytes that are not UTF-8."""


class InfoModel(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Commit(InfoModel):
    """An earlier commit, whose results may be in the history."""

    commit: Annotated[str, Field(min_length=1)]
    commit_time: UnixSeconds
    """Unix seconds of the committer's time."""


class Version(InfoModel):
    """The program to run: of a commit, or a program or an environment without a known commit."""

    commit: Annotated[str | None, Field(min_length=1)] = None
    """None: ``program_commit`` of the program takes its place."""
    commit_time: UnixSeconds | None = None
    """None: the current time."""
    position: Annotated[int, Field(ge=0)] | None = None
    """The position of the commit in its repository: higher than those of all commits that it contains. It
    orders commits of the same second, and commits with wrong times.
    """
    branch: Annotated[str, Field(max_length=LONGEST_TEXT)] = ""
    author: Annotated[str, Field(max_length=LONGEST_TEXT)] = ""
    subject: Annotated[str, Field(max_length=LONGEST_TEXT)] = ""
    """The first line of its message."""
    program: FileName | None = None
    """The path of its benchmark program; by default that of the command line, or otherwise the framework's
    own program.
    """
    python: Annotated[FileName, Field(min_length=1)] | None = None
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
    """Only these tests are run; empty: all."""
    meta: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    shared_libs: list[str] = Field(default_factory=list)


def read_run_info(text: str) -> RunInfo:
    """Reads --info, from JSON text or from the file in ``@file``.

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
        value = parse_json(text, encoding_errors="surrogateescape")
    except ValueError as error:
        raise UsageError(
            f"{source}: not JSON: {error}; use JSON text, or @FILE for a file with JSON text"
        ) from error
    try:
        return RunInfo.model_validate(value)
    except ValidationError as error:
        faults = [
            f"{source}: {_json_path(fault['loc'])}: {_message(fault['msg'])}" for fault in error.errors()
        ]
        raise UsageError("\n".join(faults)) from error


def _message(text: str) -> str:
    return json_words(text.removeprefix("Value error, "))


def program_commit(program: Path, environment: str = "") -> str:
    """Takes the place of the commit of a program whose commit is unknown: its name and a hash of its content,
    preceded by the environment that runs it, if one is named.

    Raises:
        OSError: it cannot be read.
    """
    with program.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    names = [name for name in (environment, program.name) if name]
    return "-".join([*(re.sub("[^A-Za-z0-9_.-]+", "-", name)[:60] for name in names), digest[:12]])


def is_program_commit(commit: str) -> bool:
    """Whether it only takes the place of a commit: ``interactive``, or what ``program_commit`` made."""
    return commit == INTERACTIVE_COMMIT or re.fullmatch(r"[A-Za-z0-9_.-]+-[0-9a-f]{12}", commit) is not None


def _json_path(location: tuple[int | str, ...]) -> str:
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
