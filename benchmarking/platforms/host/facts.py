"""The facts that this machine reports about itself. Facts that are unavailable are left out."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarking.platforms.host import control_group
from benchmarking.results.model import Fact

_MACHINE_ID_FILES = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
_CPU_INFO = Path("/proc/cpuinfo")
_CPU_FREQUENCY = Path("/sys/devices/system/cpu/cpu0/cpufreq")
_CONTAINER_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))


def device_name() -> str:
    """Identifies the kind of machine and does not change when the system is upgraded: it contains no kernel
    version.
    """
    return f"{platform.system()}-{platform.machine()}-{_short_cpu_model()}"


def machine_hash() -> str:
    """12 hexadecimal digits, from the machine id if there is one, otherwise from the name of the host."""
    identity = next((text for path in _MACHINE_ID_FILES if (text := read(path))), None) or platform.node()
    return hashlib.sha256(identity.encode()).hexdigest()[:12]


def lasting_facts() -> Mapping[str, Fact]:
    import psutil

    cpu_info = _cpu_info()
    facts: dict[str, Fact] = {
        "cpu_model": _cpu_model(),
        "cpu_vendor": cpu_info.get("vendor_id"),
        "physical_cores": psutil.cpu_count(logical=False),
        "logical_cores": psutil.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "cpu_governor": read(_CPU_FREQUENCY / "scaling_governor"),
        "cpu_max_khz": _read_int(_CPU_FREQUENCY / "cpuinfo_max_freq"),
        "memory_bytes": psutil.virtual_memory().total,
        "operating_system": _operating_system(),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "host_name": platform.node(),
        "python": platform.python_version(),
        "virtual_machine": _is_virtual(cpu_info),
        "container": _is_container(),
        "cpu_quota_cores": control_group.facts().get("cpu_quota_cores"),
    }
    return {name: value for name, value in facts.items() if value is not None}


def moving_facts() -> Mapping[str, Fact]:
    import psutil

    load_1, load_5, load_15 = psutil.getloadavg()
    cpu_times = psutil.cpu_times()
    facts: dict[str, Fact] = {
        "load_1_min": load_1,
        "load_5_min": load_5,
        "load_15_min": load_15,
        "cpu_steal_s": getattr(cpu_times, "steal", None),
        "cpu_total_s": total_s(cpu_times),
        "memory_available_bytes": psutil.virtual_memory().available,
        "cpu_khz": _read_int(_CPU_FREQUENCY / "scaling_cur_freq"),
        "temperature_celsius": _hottest(),
        "uptime_s": time.monotonic(),
        **control_group.facts(),
    }
    return {name: value for name, value in facts.items() if value is not None}


def total_s(cpu_times: Any) -> float:
    """Of all cores, by ``psutil.cpu_times``: Linux counts that of virtual machines as that of users, too."""
    guests_s = getattr(cpu_times, "guest", 0.0) + getattr(cpu_times, "guest_nice", 0.0)
    return float(sum(cpu_times) - guests_s)


def read(path: Path) -> str | None:
    """The text of a small file without blanks at its ends; None: it cannot be read, or is empty."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        return None


def _read_int(path: Path) -> int | None:
    text = read(path)
    return int(text) if text is not None and text.isdecimal() else None


def _cpu_info() -> Mapping[str, str]:
    """The lines of the first processor in /proc/cpuinfo."""
    first = (read(_CPU_INFO) or "").split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _cpu_model() -> str:
    info = _cpu_info()
    return info.get("model name") or info.get("Hardware") or platform.processor() or platform.machine()


def _short_cpu_model() -> str:
    """The model without trade marks and clock frequency: ``Intel-Xeon-Gold-6230``."""
    text = re.sub(r"\((R|TM|C)\)|\bCPU\b|\bProcessor\b|@.*", " ", _cpu_model(), flags=re.IGNORECASE)
    return "-".join(re.findall(r"[\w.+]+", text)) or "unknown"


def _operating_system() -> str:
    if platform.system() == "Darwin":
        return f"macOS {platform.mac_ver()[0]}"
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def _is_virtual(cpu_info: Mapping[str, str]) -> bool | None:
    flags = cpu_info.get("flags")
    return "hypervisor" in flags.split() if flags is not None else None


def _is_container() -> bool:
    return any(path.exists() for path in _CONTAINER_MARKS) or "container" in os.environ


def _hottest() -> float | None:
    zones = Path("/sys/class/thermal").glob("thermal_zone*/temp")
    readings = [value for path in zones if (value := _read_int(path)) is not None]
    return max(readings) / 1000 if readings else None
