"""A command for a device, and its outcome."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

COULD_NOT_START = (126, 127)
"""A shell's exit status for a program that cannot be executed or lacks the permission."""


@dataclass(frozen=True)
class Program:
    """A benchmark program as a local file."""

    path: Path
    needs_python: bool = False
    """The file is run by the device's Python (a zipapp) instead of directly."""
    python_modules: tuple[str, ...] = ()
    """The packages that it imports in addition to the standard library, so that missing ones can be reported.
    """
    python: str | None = None
    """The interpreter that runs it, on the device; None: the platform's default."""


@dataclass(frozen=True)
class Command:
    """An argument list for a device; never a string for a shell."""

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that are added to the device's environment."""
    timeout_s: float | None = None
    affinity_mask: int | None = None
    """The cores that it may use (bit 0 is core 0), where the user has not chosen them for all commands."""

    def __str__(self) -> str:
        """The command as a person would paste it into a shell."""
        assignments = [f"{name}={shlex.quote(value)}" for name, value in self.environment.items()]
        pinned = [] if self.affinity_mask is None else [f"taskset {self.affinity_mask:x}"]
        return " ".join([*assignments, *pinned, shlex.join(self.argv)])


@dataclass(frozen=True)
class CpuUse:
    """The CPU time of a process that has ended; None: the system does not tell."""

    total_s: float
    """Of the process, and of all the children for which it waited."""
    children_s: float | None = None
    """The part of these children, in steps of the system's clock ticks."""
    first_thread_s: float | None = None
    """The part of the process's first thread."""
    waited_s: float | None = None
    """How long its first thread was ready to run and waited for a core."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    command: Command
    exit_code: int | None
    """The exit code of the process (negative: the signal that ended it); None after a timeout."""
    stdout: str
    stderr: str
    duration_s: float
    device_log: str = ""
    """The device's log during the run (Android's logcat)."""
    omitted_bytes: int = 0
    """The number of bytes of output that were dropped because the output was too long."""
    cpu: CpuUse | None = None
    """None: it ran on another machine."""

    @property
    def timed_out(self) -> bool:
        return self.exit_code is None

    @property
    def output(self) -> str:
        """The text of all streams."""
        return "\n".join(text for text in (self.stdout, self.stderr, self.device_log) if text)

    def tail(self, lines: int = 20) -> str:
        """The end of each stream: the evidence that accompanies an error."""
        streams = {"stdout": self.stdout, "stderr": self.stderr, "device log": self.device_log}
        parts = []
        for name, text in streams.items():
            last_lines = text.rstrip().splitlines()[-lines:]
            if last_lines:
                parts.append("\n".join([f"--- end of {name} ---", *(line[:1000] for line in last_lines)]))
        if self.omitted_bytes:
            parts.append(f"--- {self.omitted_bytes} bytes of output were not kept ---")
        return "\n".join(parts) or "(the program printed nothing)"
