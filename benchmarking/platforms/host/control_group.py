"""The CPU quota of this process's control group, and how long it delayed the process.

Containers (``docker --cpus``, limits of Kubernetes) and services may have a quota: an amount of CPU time in
each period of 0.1 s, regardless of the number of cores. A group that has used up its quota is stopped until
the next period.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from benchmarking.results.model import Fact

SECOND_VERSION = "cgroup2"


@dataclass(frozen=True)
class _Group:
    """One level: the group of this process, or a group above it, as far as they are visible from here."""

    directory: Path
    kind: str
    """The type of the file system."""

    def quota_cores(self) -> float | None:
        if self.kind == SECOND_VERSION:
            numbers = _words(self.directory / "cpu.max")
        else:
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            numbers = [word for name in names for word in _words(self.directory / name)]
        try:
            quota_us, period_us = map(int, numbers)  # the quota may be max, or -1
        except ValueError:
            return None
        return quota_us / period_us if quota_us > 0 and period_us > 0 else None

    def throttled(self) -> tuple[int, float]:
        """The number of periods in which the group was delayed, and the total delay in seconds."""
        counts = _pairs(self.directory / "cpu.stat")
        seconds = counts.get("throttled_usec", 0) / 1e6 + counts.get("throttled_time", 0) / 1e9
        return counts.get("nr_throttled", 0), seconds

    def pressure_s(self) -> float | None:
        """The total time for which any of its processes waited for a core; None for the whole machine, where
        some process always waits.
        """
        if not (self.directory / "cgroup.events").exists():
            return None
        for line in _text(self.directory / "cpu.pressure").splitlines():
            kind, *fields = line.split()
            total = dict(field.partition("=")[::2] for field in fields).get("total", "")
            if kind == "some" and total.isdecimal():
                return int(total) / 1e6
        return None


def facts(proc: Path = Path("/proc/self"), root: Path = Path("/")) -> Mapping[str, Fact]:
    """The available facts; empty if there are no control groups (or only that of the whole machine)."""
    groups = list(_groups(proc, root))
    limited = {group: quota for group in groups if (quota := group.quota_cores()) is not None}
    found: dict[str, Fact] = {}
    if limited:
        throttled = [group.throttled() for group in limited]
        found["cpu_quota_cores"] = min(limited.values())
        found["cpu_throttled_periods"] = sum(periods for periods, _ in throttled)
        found["cpu_throttled_s"] = sum(seconds for _, seconds in throttled)
    pressures = [group.pressure_s() for group in groups if group.kind == SECOND_VERSION]
    if pressures and pressures[0] is not None:
        found["cpu_pressure_s"] = pressures[0]
    return found


def _groups(proc: Path, root: Path) -> Iterator[_Group]:
    """For each hierarchy that governs the CPU: the process's own group, then the groups above it."""
    paths = _own_paths(_text(proc / "cgroup"))
    for line in _text(proc / "mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        where, what = before.split(), after.split()
        if len(where) < 5 or len(what) < 3 or what[0] not in paths:
            continue
        if what[0] != SECOND_VERSION and "cpu" not in what[2].split(","):
            continue
        mount = root / where[4].replace("\\040", " ").lstrip("/")
        own = _below(mount, where[3], paths[what[0]])
        yield _Group(own, what[0])
        yield from (_Group(one, what[0]) for one in own.parents if mount == one or mount in one.parents)


def _own_paths(text: str) -> dict[str, str]:
    """Maps the type of the file system to the path of the process in the hierarchy."""
    paths = {}
    for line in text.splitlines():
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if number == "0" and not controllers:
            paths[SECOND_VERSION] = path
        elif "cpu" in controllers.split(","):
            paths["cgroup"] = path
    return paths


def _below(mount: Path, mounted: str, path: str) -> Path:
    """A container sees its own group as the root, while the path may be that of the machine outside."""
    try:
        relative = PurePosixPath(path).relative_to(mounted)
    except ValueError:
        return mount
    own = mount / relative
    return own if ".." not in relative.parts and own.is_dir() else mount


def _pairs(path: Path) -> dict[str, int]:
    words = _words(path)
    pairs = zip(words[::2], words[1::2], strict=False)
    return {name: int(value) for name, value in pairs if value.isdecimal()}


def _words(path: Path) -> list[str]:
    return _text(path).split()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
