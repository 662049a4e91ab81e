"""Information that a Linux kernel, also Android's, reports about a device: scripts that query it and
functions that read the answers. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from benchmarking.bounds import number, whole_number
from benchmarking.results.model import Fact

_ZONE_TEMPERATURES = "/sys/class/thermal/thermal_zone*/temp"
_ZONE_TYPES = "/sys/class/thermal/thermal_zone*/type"
_FREQUENCIES = "/sys/devices/system/cpu/cpu[0-9]*/cpufreq"

FACTS_SCRIPT = f"""
echo "host_name=$(cat /proc/sys/kernel/hostname)"
echo "machine_id=$(cat /etc/machine-id 2>/dev/null)"
echo "architecture=$(uname -m)"
echo "kernel=$(uname -r)"
grep -H '' /proc/sys/kernel/random/boot_id /proc/cpuinfo /proc/meminfo {_ZONE_TYPES} \
    {_FREQUENCIES}/cpuinfo_max_freq {_FREQUENCIES}/scaling_governor 2>/dev/null
:
"""
"""One process reads all the files: on a phone, starting a process takes milliseconds."""

CONDITIONS_SCRIPT = f"""
grep -H '' /proc/loadavg /proc/meminfo {_ZONE_TEMPERATURES} {_FREQUENCIES}/scaling_cur_freq \
    {_FREQUENCIES}/scaling_max_freq 2>/dev/null
grep -H '^cpu ' /proc/stat 2>/dev/null
:
"""

_STEAL_FIELD = 7
"""The index in /proc/stat (proc(5)) of the time that a hypervisor gave to other machines."""
_TICKS_PER_S = 100
"""The value on every current Linux, regardless of the kernel's own clock."""
_PLAUSIBLE_CELSIUS = (0.0, 150.0)
"""Zones that measure nothing report -40, 0 or thousands."""
_PROCESSOR_ZONE = re.compile(r"cpu|soc|tsens|core|package|x86_pkg", re.IGNORECASE)


class Answers:
    """Lines ``name=value`` and ``/path/of/a/file:one of its lines``."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.values: dict[str, str] = {}
        self.lines: dict[str, str] = {}
        """Reads lines ``name: value``, which some commands print."""
        self._files: dict[str, list[str]] = {}
        for line in text.splitlines():
            if line.startswith("/"):
                path, _, content = line.partition(":")
                self._files.setdefault(path, []).append(content)
            elif match := re.match(r"([^:=]+)([:=])(.*)", line.lstrip()):
                own = self.values if match[2] == "=" else self.lines
                own.setdefault(match[1].strip(), match[3].strip())

    def value(self, name: str) -> str | None:
        return self.values.get(name) or None

    def file(self, path: str) -> list[str]:
        return self._files.get(path, [])

    def files(self, pattern: str) -> Mapping[str, str]:
        """Maps the path to the first line of the file, for paths that contain the regular expression."""
        return {path: lines[0].strip() for path, lines in self._files.items() if re.search(pattern, path)}

    def field(self, path: str, name: str) -> str | None:
        """The value of a field in a file with lines ``name: value``."""
        for line in self.file(path):
            found, _, value = line.partition(":")
            if found.strip() == name:
                return value.strip()
        return None

    def numbers(self, pattern: str) -> list[int]:
        return [one for text in self.files(pattern).values() if (one := whole_number(text)) is not None]


def lasting_facts(answers: Answers) -> Mapping[str, Fact]:
    """Facts that do not vary; those that are unavailable are left out."""
    limits = answers.numbers(r"/cpuinfo_max_freq$")
    memory = _kibibytes(answers, "MemTotal")
    facts: dict[str, Fact] = {
        "host_name": answers.value("host_name"),
        "architecture": answers.value("architecture"),
        "kernel": answers.value("kernel"),
        "boot_id": next(iter(answers.file("/proc/sys/kernel/random/boot_id")), None),
        "cpu_model": answers.field("/proc/cpuinfo", "model name")
        or answers.field("/proc/cpuinfo", "Hardware"),
        "logical_cores": sum(line.startswith("processor") for line in answers.file("/proc/cpuinfo")) or None,
        "memory_bytes": memory,
        "cpu_max_khz": max(limits) if limits else None,
        "cpu_governor": next(iter(answers.files(r"/scaling_governor$").values()), None),
    }
    return {name: value for name, value in facts.items() if value is not None}


def processor_zones(answers: Answers) -> frozenset[str]:
    """The directories of the processor's thermal zones; all zones if none is marked as the processor's."""
    types = answers.files(r"/thermal_zone\d+/type$")
    own = {path for path, kind in types.items() if _PROCESSOR_ZONE.search(kind)}
    return frozenset(path.removesuffix("/type") for path in own or types)


def moving_facts(answers: Answers, zones: frozenset[str]) -> Mapping[str, Fact]:
    facts: dict[str, Fact] = {}
    load = next(iter(answers.file("/proc/loadavg")), "").split()
    if len(load) >= 3:
        averages = zip((1, 5, 15), map(number, load), strict=False)
        facts |= {f"load_{minutes}_min": average for minutes, average in averages if average is not None}
    fields = next(iter(answers.file("/proc/stat")), "").split()[1:]
    ticks = [whole_number(text) or 0 for text in fields]
    if len(ticks) > _STEAL_FIELD:
        # The time of guests, in the later fields, is already part of the users' time.
        facts |= {
            "cpu_steal_s": ticks[_STEAL_FIELD] / _TICKS_PER_S,
            "cpu_total_s": sum(ticks[: _STEAL_FIELD + 1]) / _TICKS_PER_S,
        }
    current = answers.numbers(r"/scaling_cur_freq$")
    limits = answers.numbers(r"/scaling_max_freq$")
    facts |= {"cpu_khz": max(current)} if current else {}
    facts |= {"cpu_limit_khz": max(limits)} if limits else {}
    available = _kibibytes(answers, "MemAvailable")
    facts |= {"memory_available_bytes": available} if available is not None else {}
    readings = [
        thousandths / 1000
        for path, text in answers.files(r"/thermal_zone\d+/temp$").items()
        if path.removesuffix("/temp") in zones and (thousandths := whole_number(text)) is not None
    ]
    plausible = [one for one in readings if _PLAUSIBLE_CELSIUS[0] < one < _PLAUSIBLE_CELSIUS[1]]
    facts |= {"temperature_celsius": max(plausible)} if plausible else {}
    return facts


def _kibibytes(answers: Answers, name: str) -> int | None:
    text = answers.field("/proc/meminfo", name)
    kibibytes = whole_number(text.split()[0]) if text else None
    return None if kibibytes is None else kibibytes * 1024
