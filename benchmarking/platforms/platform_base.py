"""What a device has to be able to do: take files, run a command, give files back, describe itself.

A platform never knows the framework.
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
    """What a platform may need to know to find and drive its devices."""

    secrets: Collection[str] = ()
    """Names of environment variables that no program may see."""
    devices: tuple[str, ...] = ()
    """What the user asked for: where a platform cannot find its devices by itself, their addresses."""
    search_network: bool = False
    """Also name the devices that announce themselves in the network; a run uses those that it was told."""
    android_dir: str = "/data/local/tmp"
    remote_dir: str | None = None
    """On Linux hosts; the cache directory of the user there by default."""
    remote_python: str = "python3"
    affinity_mask: int | None = None
    """The cores that programs may use: bit 0 is core 0."""
    frequency: str | None = None
    """Of all cores: kilohertz, ``min`` or ``max``."""
    recovery_limit_s: float = 120.0
    """A phone needs a minute or more to start."""
    remove_staged: bool = False
    """Nothing stays on a device, whatever the next run would have to bring there again."""
    state_directory: Path | None = None
    """On this machine, for what has to outlive the process."""
    owner: str = "somebody"
    """A word for this machine, for the others that use the same devices."""
    cancellation: Cancellation | None = None
    """Of the whole run: ends transfers too."""

    def check_affinity(self, device: str, cores: int | None) -> None:
        """Raises:
        DeviceError: the device has no such cores; ``cores`` is how many it has, None where that is not known.
        """
        if self.affinity_mask is not None and cores is not None and self.affinity_mask >> cores:
            raise DeviceError(f"--affinity: {device} has the cores 0 to {cores - 1} only")


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


@dataclass(frozen=True)
class ThreadTimes:
    """Of one thread, since it was started."""

    ran_ns: int
    waited_ns: int
    """How long it was ready to run and waited for a core."""


@dataclass(frozen=True)
class Discovery:
    devices: Sequence[PlatformBase] = ()
    """Every device that can be used now; the order is stable."""
    unusable: Mapping[str, str] = field(default_factory=dict)
    """Devices that were asked for or seen and cannot be used: by their addresses, why."""


class PlatformBase(ABC):
    """One device. Derive from it, implement every method, add one line to ``platforms.py``."""

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    computes_on_cpu: ClassVar[bool] = True
    """Whether the CPU time of a program tells how long its work takes."""
    tether: Tether | None = None
    """While the device is locked: for every process that works on it and runs on this machine."""

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
        """Whether --devices means this device by ``text``: its name or its hash."""
        return text.lower() in (self.device.name.lower(), self.device.hash.lower())

    @contextmanager
    def hold(self) -> Iterator[None]:
        """For as long as cases run on it: the device is ours, tidy, and set up as the options say.

        Raises:
            DeviceError: it cannot be had, or cannot be set up.
        """
        yield

    def close(self) -> None:  # noqa: B027 - most have nothing to let go of
        """Lets go of the connection; the next use makes a new one."""

    def recover(self) -> None:  # noqa: B027 - most cannot be lost
        """After the connection broke: brings the device back, with all that its kind of device offers.

        Raises:
            DeviceError: it does not come back.
        """

    def reboot(self) -> None:
        """Starts the device anew, and comes back when it can be used.

        Raises:
            UsageError: this platform does not do that.
            DeviceError: it did not come back.
        """
        raise UsageError(f"--reboot: devices of the platform {self.name} are not rebooted")

    @abstractmethod
    def reference_s(self) -> float:
        """How long the reference computation takes now (``platforms/reference.py``).

        Raises:
            DeviceError: the device does not answer.
        """

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
    def start(self, command: Command, cancellation: Cancellation) -> AbstractContextManager[LiveProgram]:
        """A program that is spoken to line by line; several may run side by side. When the context is left,
        nothing of it is left running. ``command.timeout_s`` is what all of it may take.

        Raises:
            ProgramStartError, DeviceError: as ``run``.
        """

    def thread_times(self, pid: int) -> Mapping[int, ThreadTimes] | None:
        """By the numbers of a process's threads, quick enough to be read around each iteration.

        None where this cannot be known (a process of another machine, say).
        """
        return None

    def pin(self, pid: int) -> int | None:
        """Keeps a process of one thread on one core, always the same one, of those that it may use.

        Two programs that share a core see the same of whatever else the machine does. Returns the core; None
        where this cannot be done, which costs precision only.
        """
        return None

    @abstractmethod
    def fetch_outputs(self, staged: StagedFiles, destination: Path) -> None:
        """Copies the files in the output directory to a local one; links are not followed.

        Raises:
            ProgramOutputError: they are more than is fetched (``platforms/outputs.py``), or cannot be read.
            DeviceError: it could not be brought here whole.
        """
