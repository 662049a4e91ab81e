"""What a device has to be able to do: take files, run a command, give files back, describe itself.

A platform never knows the framework.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Self

from benchmarking.command import Command, Outcome, Program
from benchmarking.process import Cancellation
from benchmarking.results import Fact


@dataclass(frozen=True)
class PlatformOptions:
    """What a platform may need to know to find and drive its devices."""

    secrets: Collection[str] = ()
    """Names of environment variables that no program may see."""


@dataclass(frozen=True)
class DeviceInfo:
    name: str
    """What a person calls the device; the directory of its results. No version that an upgrade changes,
    and two devices that can be attached to one run have different names."""
    hash: str
    """Identifies this very device."""
    facts: Mapping[str, Fact] = field(default_factory=dict)
    """What stays: CPU model, cores, memory, kernel, library versions ..."""


@dataclass(frozen=True)
class StagedFiles:
    """Files where a program on the device can read them."""

    paths: Mapping[Path, str]
    """From the local file to the device's path of it."""
    output_directory: str
    """An empty directory on the device that the program may write to."""


class PlatformBase(ABC):
    """One device. Derive from it, implement every method, add one line to ``platforms.py``."""

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()

    @classmethod
    @abstractmethod
    def discover(cls, options: PlatformOptions) -> Sequence[Self]:
        """Every device of this platform that can be used now; the order is stable.

        Raises:
            NoDeviceError: there is none; says why.
        """

    @property
    @abstractmethod
    def device(self) -> DeviceInfo: ...

    def answers_to(self, text: str) -> bool:
        """Whether --devices means this device by ``text``: its name or its hash."""
        return text.lower() in (self.device.name.lower(), self.device.hash.lower())

    @abstractmethod
    def conditions(self) -> Mapping[str, Fact]:
        """What moves: load, frequency, temperature. Quick enough to be read before and after each case."""

    @abstractmethod
    def stage(self, files: Collection[Path]) -> AbstractContextManager[StagedFiles]:
        """Makes local files readable on the device, and gives an output directory; cleans both up.

        Raises:
            DeviceError: the files could not be brought there.
        """

    @abstractmethod
    def launcher(self, program: Program, staged: StagedFiles) -> tuple[str, ...]:
        """The arguments that start a staged program.

        Raises:
            ProgramStartError: the device cannot run it (no Python there, say).
        """

    @abstractmethod
    def run(self, command: Command, cancellation: Cancellation) -> Outcome:
        """Runs to the end, or kills the whole process group after ``command.timeout_s``.

        Raises:
            ProgramStartError: the program could not be started.
            DeviceError: the device went away.
            RunCancelledError: ``cancellation`` was set; nothing of the program is left running.
        """

    @abstractmethod
    def fetch_outputs(self, staged: StagedFiles, destination: Path) -> None:
        """Copies what lies in the output directory to a local one.

        Raises:
            DeviceError: it could not be brought here whole.
        """
