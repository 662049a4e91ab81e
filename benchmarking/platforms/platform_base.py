"""The interface of a device: it takes files, runs a command, returns files and describes itself.

A platform does not know the framework.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from benchmarking.errors import DeviceError, UsageError
from benchmarking.programs.command import Command, Outcome, Program
from benchmarking.programs.live_program import LiveProgram
from benchmarking.programs.process import Cancellation, Tether
from benchmarking.results.model import Fact


@dataclass(frozen=True)
class PlatformOptions:
    """The settings that a platform may need to find and use its devices."""

    secrets: Collection[str] = ()
    """Names of environment variables that no program may see."""
    devices: tuple[str, ...] = ()
    """The devices that the user named; for platforms that cannot find their devices, their addresses."""
    search_network: bool = False
    """Also list the devices that announce themselves on the network; a run uses them only if they are named.
    """
    android_dir: str = "/data/local/tmp"
    remote_dir: str | None = None
    """On Linux hosts; by default the user's cache directory there."""
    remote_python: str = "python3"
    affinity_mask: int | None = None
    """The cores that programs may use: bit 0 is core 0."""
    frequency: str | None = None
    """For all cores: kilohertz, ``min`` or ``max``."""
    recovery_limit_s: float = 120.0
    """Phones need a minute or more to start."""
    remove_staged: bool = False
    """Whether to leave nothing on a device, even files that the next run would have to copy again."""
    state_directory: Path | None = None
    """A directory on this machine, for files that have to outlive the process."""
    owner: str = "somebody"
    """Identifies this machine to other machines that use the same devices."""
    cancellation: Cancellation | None = None
    """The cancellation of the whole run; it also ends transfers."""

    def check_affinity(self, device: str, cores: int | None) -> None:
        """Checks the cores of --affinity. ``cores`` is the number of cores of the device; None: it is
        unknown.

        Raises:
            DeviceError: the device does not have these cores.
        """
        if self.affinity_mask is not None and cores is not None and self.affinity_mask >> cores:
            raise DeviceError(f"--affinity: {device} has the cores 0 to {cores - 1} only")


@dataclass(frozen=True)
class DeviceInfo:
    name: str
    """The name that people use for the device; the directory of its results. It contains no version that an
    upgrade changes, and two devices that can be attached to the same run have different names.
    """
    hash: str
    """Identifies this individual device."""
    facts: Mapping[str, Fact] = field(default_factory=dict)
    """Properties that do not vary: CPU model, cores, memory, kernel, library versions ..."""


@dataclass(frozen=True)
class StagedFiles:
    """Files in a place where a program on the device can read them."""

    paths: Mapping[Path, str]
    """Maps the local file to its path on the device."""
    output_directory: str
    """An empty directory on the device that the program may write to."""


@dataclass(frozen=True)
class ThreadTimes:
    """The times of one thread since it was started."""

    ran_ns: int
    waited_ns: int
    """The time for which it was ready to run and waited for a core."""


@dataclass(frozen=True)
class Discovery:
    devices: Sequence[PlatformBase] = ()
    """Every device that can be used now, in a stable order."""
    unusable: Mapping[str, str] = field(default_factory=dict)
    """Maps the address of each device that was requested or seen and cannot be used to the reason."""


class PlatformBase(ABC):
    """One device. To add a platform, derive from this class, implement every method and add one line to
    ``platforms.py``.
    """

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    computes_on_cpu: ClassVar[bool] = True
    """Whether the CPU time of a program shows how long its work takes."""
    tether: Tether | None = None
    """Environment variables, while the device is locked, for every process on this machine that works on it.
    """

    @classmethod
    @abstractmethod
    def discover(cls, options: PlatformOptions) -> Discovery:
        """Raises:
        NoDeviceError: there is no device of this platform, and none is in sight; says why.
        """

    @property
    @abstractmethod
    def device(self) -> DeviceInfo: ...

    def answers_to(self, text: str) -> bool:
        """Whether ``text`` in --devices means this device: its name or its hash."""
        return text.lower() in (self.device.name.lower(), self.device.hash.lower())

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Reserves the device while cases run on it: it is locked, cleaned up, and set up as the options say.

        Raises:
            DeviceError: it cannot be had, or cannot be set up.
        """
        yield

    def close(self) -> None:  # noqa: B027 - most have nothing to let go of
        """Closes the connection; the next use opens a new one."""

    def recover(self) -> None:  # noqa: B027 - most cannot be lost
        """Restores the device after the connection broke, with everything that this kind of device offers.

        Raises:
            DeviceError: it does not come back.
        """

    def reboot(self) -> None:
        """Restarts the device and returns when it can be used again.

        Raises:
            UsageError: this platform does not do that.
            DeviceError: it did not come back.
        """
        raise UsageError(f"--reboot: devices of the platform {self.name} are not rebooted")

    @abstractmethod
    def reference_s(self) -> float:
        """The time that the reference computation takes now, in seconds (``platforms/reference.py``).

        Raises:
            DeviceError: the device does not answer.
        """

    @abstractmethod
    def conditions(self) -> Mapping[str, Fact]:
        """Properties that vary: load, frequency, temperature. Fast enough to be read before and after each
        case.
        """

    @abstractmethod
    def stage(self, files: Collection[Path]) -> AbstractContextManager[StagedFiles]:
        """Makes local files readable on the device, and provides an output directory; removes both
        afterwards.

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
        """Runs the program to its end, or kills its whole process group after ``command.timeout_s``.

        Raises:
            ProgramStartError: the program could not be started.
            DeviceError: the device went away.
            RunCancelledError: ``cancellation`` was set; nothing of the program is left running.
        """

    @abstractmethod
    def start(self, command: Command, cancellation: Cancellation) -> AbstractContextManager[LiveProgram]:
        """Starts a program that is driven line by line; several may run side by side. When the context is
        left, none of its processes remains. ``command.timeout_s`` limits its total time.

        Raises:
            ProgramStartError, DeviceError: as ``run``.
        """

    def thread_times(self, pid: int) -> Mapping[int, ThreadTimes] | None:
        """The times of a process's threads by their numbers, fast enough to be read around each iteration.

        None if they are unknown (for example, for a process on another machine).
        """
        return None

    def pin(self, pid: int) -> int | None:
        """Keeps a single-threaded process on one core, always the same one, of the cores that it may use.

        Two programs on the same core are affected equally by everything else that the machine does. Returns
        the core; None if this is not possible, which only reduces precision.
        """
        return None

    @abstractmethod
    def fetch_outputs(self, staged: StagedFiles, destination: Path) -> None:
        """Copies the files in the output directory to a local one; links are not followed.

        Raises:
            ProgramOutputError: they are more than is fetched (``platforms/outputs.py``), or cannot be read.
            DeviceError: it could not be brought here whole.
        """
