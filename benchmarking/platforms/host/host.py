"""This machine's processor."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from benchmarking.errors import DeviceError, ProgramStartError
from benchmarking.files.held_directory import HeldDirectory
from benchmarking.platforms import frequency, outputs, reference
from benchmarking.platforms.host import facts, threads
from benchmarking.platforms.platform_base import (
    DeviceInfo,
    Discovery,
    PlatformBase,
    PlatformOptions,
    StagedFiles,
    ThreadTimes,
)
from benchmarking.programs import process
from benchmarking.programs.command import Command, Outcome, Program
from benchmarking.programs.live_program import LiveProgram
from benchmarking.programs.process import Cancellation
from benchmarking.results.model import Fact
from benchmarking.results.plain_text import last_line

LIBRARY_PATH_VARIABLES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


class HostPlatform(PlatformBase):
    """Runs programs on the machine of the harness. Files are used in place."""

    name: ClassVar[str] = "host"
    aliases: ClassVar[tuple[str, ...]] = ("cpu", "mac")

    def __init__(self, device: DeviceInfo, options: PlatformOptions) -> None:
        self._device = device
        self._options = options

    @classmethod
    def discover(cls, options: PlatformOptions) -> Discovery:
        device = DeviceInfo(facts.device_name(), facts.machine_hash(), facts.lasting_facts())
        return Discovery([cls(device, options)])

    @property
    def device(self) -> DeviceInfo:
        return self._device

    @contextmanager
    def hold(self) -> Iterator[None]:
        self._check_affinity()
        if self._options.state_directory is None:
            yield
            return
        directory = str(self._options.state_directory)
        self._shell(frequency.restore_script(directory))
        try:
            if self._options.frequency is not None:
                self._shell(frequency.set_script(directory, self._options.frequency))
            yield
        finally:
            self._shell(frequency.restore_script(directory))

    def _check_affinity(self) -> None:
        if self._options.affinity_mask is not None and shutil.which("taskset") is None:
            raise DeviceError("--affinity needs the program taskset, from util-linux")
        self._options.check_affinity(self.device.name, os.cpu_count())

    def _shell(self, script: str) -> str:
        """Runs a script.

        Raises:
            DeviceError: the script failed.
        """
        with Cancellation() as never:  # settings have to be restored even if the run was cancelled
            outcome = process.run(
                Command(("sh", "-c", script), timeout_s=300),
                never,
                hidden_environment=self._options.secrets,
                tether=self.tether,
            )
        if outcome.exit_code != 0:
            raise DeviceError(f"{self.device.name}: {last_line(outcome.stderr)}", outcome.stderr)
        return outcome.stdout

    def reference_s(self) -> float:
        return reference.read_seconds(self._shell(reference.SCRIPT))

    def conditions(self) -> Mapping[str, Fact]:
        return facts.moving_facts()

    @contextmanager
    def stage(self, files: Collection[Path]) -> Iterator[StagedFiles]:
        paths = {path: str(path.absolute()) for path in files}
        missing = [path for path in paths.values() if not os.access(path, os.R_OK)]
        if missing:
            raise DeviceError(f"cannot read {', '.join(missing)}")
        try:
            directory = HeldDirectory("benchmark-run-")
        except OSError as error:
            raise DeviceError(f"cannot create a temporary directory: {error}; set TMPDIR") from error
        with directory:
            # One level down, so that it can be cleaned up even if a program replaces it.
            output_directory = directory.path / "output"
            output_directory.mkdir()
            yield StagedFiles(paths, str(output_directory))

    def launcher(self, program: Program, staged: StagedFiles) -> tuple[str, ...]:
        path = staged.paths[program.path]
        if program.needs_python:
            return (program.python or sys.executable, path)
        if not os.access(path, os.X_OK):
            raise ProgramStartError(f"{path} is not executable; try chmod +x")
        return (path,)

    def run(self, command: Command, cancellation: Cancellation) -> Outcome:
        return process.run(
            self._local(command),
            cancellation,
            hidden_environment=self._options.secrets,
            tether=self.tether,
        )

    def start(self, command: Command, cancellation: Cancellation) -> AbstractContextManager[LiveProgram]:
        return process.LiveProcess(self._local(command), cancellation, self._options.secrets, self.tether)

    def pin(self, pid: int) -> int | None:
        if not hasattr(os, "sched_setaffinity"):  # macOS
            return None
        try:
            core = max(os.sched_getaffinity(pid) & self._allowed_cores())
            os.sched_setaffinity(pid, {core})
        except (OSError, ValueError, OverflowError):
            return None  # it is gone, or allows itself none of the cores that the user allows
        return core

    def _allowed_cores(self) -> set[int]:
        """The cores of --affinity, and those on which the harness itself was started."""
        own = os.sched_getaffinity(0)
        mask = self._options.affinity_mask
        return own if mask is None else {core for core in own if mask >> core & 1}

    def thread_times(self, pid: int) -> Mapping[int, ThreadTimes] | None:
        return threads.thread_times(pid)

    def _local(self, command: Command) -> Command:
        mask = self._options.affinity_mask or command.affinity_mask
        pinned = () if mask is None else ("taskset", f"{mask:x}")
        return replace(
            command,
            argv=(*pinned, *command.argv),
            environment=_library_paths_in_front(command.environment),
        )

    def fetch_outputs(self, staged: StagedFiles, destination: Path) -> None:
        outputs.copy_local(Path(staged.output_directory), destination)


def _library_paths_in_front(environment: Mapping[str, str]) -> Mapping[str, str]:
    """The libraries of the command come first; those in the user's own environment follow."""
    return {
        name: f"{value}{os.pathsep}{own}"
        if name in LIBRARY_PATH_VARIABLES and (own := os.environ.get(name))
        else value
        for name, value in environment.items()
    }
