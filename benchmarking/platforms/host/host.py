"""This machine's processor."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Self

from benchmarking import process
from benchmarking.command import Command, Outcome, Program
from benchmarking.errors import DeviceError, ProgramStartError
from benchmarking.platforms.host import facts
from benchmarking.platforms.platform_base import DeviceInfo, PlatformBase, PlatformOptions, StagedFiles
from benchmarking.process import Cancellation
from benchmarking.results import Fact

LIBRARY_PATH_VARIABLES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


class HostPlatform(PlatformBase):
    """Runs programs where the harness itself runs. Files are used where they lie."""

    name: ClassVar[str] = "host"
    aliases: ClassVar[tuple[str, ...]] = ("cpu", "mac")

    def __init__(self, device: DeviceInfo, hidden_environment: Collection[str] = ()) -> None:
        self._device = device
        self._hidden_environment = tuple(hidden_environment)

    @classmethod
    def discover(cls, options: PlatformOptions) -> Sequence[Self]:
        device = DeviceInfo(facts.device_name(), facts.machine_hash(), facts.lasting_facts())
        return [cls(device, options.secrets)]

    @property
    def device(self) -> DeviceInfo:
        return self._device

    def conditions(self) -> Mapping[str, Fact]:
        return facts.moving_facts()

    @contextmanager
    def stage(self, files: Collection[Path]) -> Iterator[StagedFiles]:
        paths = {path: str(path.absolute()) for path in files}
        missing = [path for path in paths.values() if not os.access(path, os.R_OK)]
        if missing:
            raise DeviceError(f"cannot read {', '.join(missing)}")
        try:
            with tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
                yield StagedFiles(paths, directory)
        except FileNotFoundError as error:
            raise DeviceError(f"no temporary directory can be made: {error}; set TMPDIR") from error

    def launcher(self, program: Program, staged: StagedFiles) -> tuple[str, ...]:
        path = staged.paths[program.path]
        if program.needs_python:
            return (sys.executable, path)
        if not os.access(path, os.X_OK):
            raise ProgramStartError(f"{path} is not executable; try chmod +x")
        return (path,)

    def run(self, command: Command, cancellation: Cancellation) -> Outcome:
        return process.run(
            replace(command, environment=_library_paths_in_front(command.environment)),
            cancellation,
            hidden_environment=self._hidden_environment,
        )

    def fetch_outputs(self, staged: StagedFiles, destination: Path) -> None:
        try:
            shutil.copytree(staged.output_directory, destination, dirs_exist_ok=True)
        except (OSError, shutil.Error) as error:
            raise DeviceError(f"cannot copy the outputs to {destination}: {error}") from error


def _library_paths_in_front(environment: Mapping[str, str]) -> Mapping[str, str]:
    """The libraries of a command come first; those that the user's own environment names stay."""
    return {
        name: f"{value}{os.pathsep}{own}"
        if name in LIBRARY_PATH_VARIABLES and (own := os.environ.get(name))
        else value
        for name, value in environment.items()
    }
