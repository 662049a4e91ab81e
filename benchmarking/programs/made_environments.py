"""Python environments made from requirements, with uv where it is installed and with pip otherwise."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from benchmarking.bounds import read_file
from benchmarking.errors import BuildError, StorageError, UsageError
from benchmarking.files.made_directories import Made, MadeDirectories
from benchmarking.programs import process
from benchmarking.programs.command import Command, Outcome
from benchmarking.programs.process import Cancellation
from benchmarking.programs.python_environment import examine
from benchmarking.results.plain_text import plain

LIMIT_S = 1800.0
"""The time limit of each command: large runtimes come over slow networks."""
REPORT_LIMIT_BYTES = 64_000_000
LAST_LINES, LONGEST_MESSAGE = 4, 600
PYTHON = Path("bin/python")
"""Of an environment."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """One requirement."""

    name: str
    """The distribution, normalised as on the package index."""
    text: str
    """As the resolver reads it."""
    exact: bool
    """Whether it can only mean one version."""
    sha256: str = ""
    """Of a wheel."""

    @classmethod
    def parse(cls, word: str) -> Wanted:
        """A requirement as pip reads it, or the path of a wheel.

        Raises:
            UsageError: it is neither.
        """
        if word.endswith(".whl") and "://" not in word:
            return cls._of_wheel(Path(word).expanduser())
        try:
            requirement = Requirement(word)
        except InvalidRequirement as error:
            reason = str(error).splitlines()[0]
            raise UsageError(
                f"{word!r} is neither a requirement, as in onnxruntime==1.20.1, nor a wheel, nor a Python: "
                f"{reason}"
            ) from error
        exact = any(one.operator == "==" and "*" not in one.version for one in requirement.specifier)
        return cls(canonicalize_name(requirement.name), word, exact)

    @classmethod
    def _of_wheel(cls, path: Path) -> Wanted:
        try:
            name, _, _, _ = parse_wheel_filename(path.name)
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except InvalidWheelFilename as error:
            raise UsageError(f"{str(path)!r} is not a wheel: {error}") from error
        except OSError as error:
            raise UsageError(f"cannot read {str(path)!r}: {error.strerror}") from error
        return cls(name, f"{name} @ {path.resolve().as_uri()}", exact=True, sha256=digest)

    @property
    def identity(self) -> str:
        return f"{self.text} {self.sha256}".rstrip()


@dataclass(frozen=True)
class EnvironmentMaker:
    directories: MadeDirectories
    python: str
    """Makes them."""
    cancellation: Cancellation
    secrets: Collection[str] = ()
    """The names of environment variables that neither uv nor pip may see."""

    @contextmanager
    def environment(self, requirements: Sequence[Wanted], title: str) -> Iterator[Path]:
        """The directory of an environment with these packages; it stays as long as the context.

        It is made once for each set of versions that the requirements resolve to. If each of them names its
        version, the packages that they need are resolved only once.

        Raises:
            BuildError: they cannot be resolved or installed; ends with the resolver's last words.
            UsageError: there is no such Python, or neither uv nor pip.
            StorageError, RunCancelledError
        """
        title = _without_password(title)
        interpreter = examine(self.python, (), "--python").interpreter
        asked = json.dumps([interpreter, sorted(one.identity for one in requirements)])
        known = self._known(asked) if all(one.exact for one in requirements) else None
        pins = self._resolved(requirements, title) if known is None else known.facts["pins"]
        wheels = sorted(one.sha256 for one in requirements)
        digest = hashlib.sha256(json.dumps([interpreter, pins, wheels]).encode()).hexdigest()
        first = requirements[0].name
        name = known.name if known else f"{first}-{_version(first, pins)}-{digest[:8]}"
        facts = {"asked": asked, "pins": pins}
        make = partial(self._make, pins=pins, title=title)
        with self.directories.using(name, title, facts, make, self.cancellation) as directory:
            yield directory

    def _known(self, asked: str) -> Made | None:
        return next((one for one in self.directories.all() if one.facts.get("asked") == asked), None)

    def _resolved(self, requirements: Sequence[Wanted], title: str) -> str:
        """The exact requirement of each package, a line each."""
        logger.info("resolving %s", title)
        with tempfile.TemporaryDirectory(prefix="benchmark-environment-") as name:
            file, report = Path(name) / "requirements.txt", Path(name) / "report.json"
            file.write_text("".join(f"{one.text}\n" for one in requirements), encoding="utf-8")
            uv = find_uv()
            if uv is None:
                options = ("--dry-run", "--ignore-installed", "--quiet", "--report", str(report))
                self._run(("--python", self.python, "install", *options, "-r", str(file)), title, pip=True)
                return _read_report(report)
            options = ("--quiet", "--no-header", "--no-annotate", "--python", self.python)
            outcome = self._run((uv, "pip", "compile", *options, str(file)), title)
            return outcome.stdout

    def _make(self, directory: Path, *, pins: str, title: str) -> None:
        started = time.monotonic()
        uv = find_uv()
        logger.info("making an environment with %s (%s)", title, "uv" if uv else "pip")
        file = directory.with_name("requirements.txt")
        file.write_text(pins, encoding="utf-8")
        python = str(directory / PYTHON)
        options = ("--quiet", "--no-deps", "-r", str(file))
        if uv is None:
            self._run((self.python, "-m", "venv", "--without-pip", str(directory)), title)
            self._run(("--python", python, "install", *options), title, pip=True)
        else:
            self._run((uv, "venv", "--quiet", "--python", self.python, str(directory)), title)
            self._run((uv, "pip", "install", "--python", python, *options), title)
        logger.info("made in %.0f s", time.monotonic() - started)

    def _run(self, argv: Sequence[str], title: str, *, pip: bool = False) -> Outcome:
        command = Command((*((sys.executable, "-m", "pip") if pip else ()), *argv), timeout_s=LIMIT_S)
        self.directories.directory.mkdir(parents=True, exist_ok=True)
        # Run there, because uv also reads the project in the current directory.
        outcome = process.run(
            command,
            self.cancellation,
            directory=self.directories.directory,
            hidden_environment=self.secrets,
        )
        if outcome.timed_out:
            raise BuildError(f"no environment with {title}: not finished after {LIMIT_S:g} s")
        if outcome.exit_code != 0:
            if pip and "No module named pip" in outcome.stderr:
                raise UsageError("neither uv nor pip is there to make an environment: install one of them")
            raise BuildError(f"no environment with {title}: {_last_words(outcome)}")
        return outcome


def find_uv() -> str | None:
    """In the search path, or beside the Python that runs this."""
    return shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))


def _version(name: str, pins: str) -> str:
    """As in the pins; ``local`` of a wheel."""
    for pinned, _, version in (pin.partition("==") for pin in pins.splitlines()):
        if canonicalize_name(pinned) == name:
            return re.sub(r"[^A-Za-z0-9.]", "-", version)
    return "local"


def _without_password(text: str) -> str:
    """URLs without the part before their @."""
    return re.sub(r"(?<=://)[^/@\s]+@", "", text)


def _last_words(outcome: Outcome) -> str:
    lines = [line.strip() for line in outcome.output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")][-1:]  # pip also prints advice after it
    text = " ".join(errors or lines[-LAST_LINES:]) or f"exit status {outcome.exit_code}"
    return plain(_without_password(text))[-LONGEST_MESSAGE:]


class _OfReport(BaseModel):
    model_config = ConfigDict(frozen=True)


class _Metadata(_OfReport):
    name: str
    version: str


class _Download(_OfReport):
    url: str


class _Installed(_OfReport):
    metadata: _Metadata
    download_info: _Download
    is_direct: bool = False

    @property
    def pin(self) -> str:
        one = self.metadata
        return f"{one.name} @ {self.download_info.url}" if self.is_direct else f"{one.name}=={one.version}"


class _Report(_OfReport):
    """Of pip: https://pip.pypa.io/en/stable/reference/installation-report/."""

    install: list[_Installed] = Field(default_factory=list)


def _read_report(path: Path) -> str:
    try:
        report = _Report.model_validate_json(read_file(path, REPORT_LIMIT_BYTES))
    except (OSError, ValueError, ValidationError) as error:
        raise StorageError(f"pip's report cannot be read: {plain(str(error))}") from error
    return "".join(f"{one.pin}\n" for one in sorted(report.install, key=lambda one: one.metadata.name))
