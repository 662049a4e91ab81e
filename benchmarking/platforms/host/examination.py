"""What this machine does to measurements, and how to mend it. What cannot be found out says why."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from benchmarking.platforms.host import facts
from benchmarking.results.model import Fact
from benchmarking.results.plain_text import percent

OBSERVED_S = 1.0
"""For how long the load is observed."""
BUSY_SHARE = 0.1
"""Of one core: what other programs may take unnoticed."""
STOLEN_SHARE = 0.01
HOT_CELSIUS = 85.0
LEAST_MEMORY_BYTES = 2**30
PROGRAMS_SHOWN = 3

_CPU = Path("sys/devices/system/cpu")
_CLOCK = Path("sys/devices/system/clocksource/clocksource0/current_clocksource")
_SLOW_CLOCKS = ("hpet", "acpi_pm", "jiffies", "refined-jiffies")
_TURBO = {"intel_pstate/no_turbo": "0", "cpufreq/boost": "1"}
"""Files, and what they contain if the processor may exceed its base frequency."""


class State(StrEnum):
    GOOD = "good"
    HARMFUL = "harmful"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    name: str
    value: str
    """``unknown`` where it is."""
    effect: str
    """What it does to numbers; for what is unknown, the reason."""
    state: State = State.GOOD
    advice: tuple[str, ...] = ()
    """Commands and sentences, each of which mends it."""


Examination = Callable[["Machine"], Finding]


@dataclass(frozen=True)
class Load:
    """What other programs did while this one looked on."""

    busy_cores: float
    stolen_share: float | None
    """Of the time of all cores, taken by the hypervisor; None: the system does not report it."""
    programs: tuple[tuple[str, float], ...]
    """The busiest programs, each with the number of cores that it took."""


@dataclass(frozen=True)
class Machine:
    facts: Mapping[str, Fact]
    """As in ``facts.lasting_facts`` and ``facts.moving_facts``."""
    load: Load
    swap_used_bytes: int
    root: Path = Path("/")

    def text(self, path: Path) -> str | None:
        return facts.read(self.root / path)

    def number(self, name: str) -> float | None:
        value = self.facts.get(name)
        return float(value) if isinstance(value, int | float) else None


def examine(machine: Machine) -> tuple[Finding, ...]:
    return tuple(one(machine) for one in EXAMINATIONS)


def look() -> Machine:
    """Takes ``OBSERVED_S``."""
    import psutil

    load = _observed_load()
    return Machine({**facts.lasting_facts(), **facts.moving_facts()}, load, psutil.swap_memory().used)


def _observed_load() -> Load:
    import psutil

    # Looking at thousands of processes keeps a core busy for a good part of a second.
    first_look, earlier_s = time.monotonic(), _spent_s()
    started, before = time.monotonic(), psutil.cpu_times()
    time.sleep(OBSERVED_S)
    after, elapsed_s = psutil.cpu_times(), time.monotonic() - started
    between_looks_s = time.monotonic() - first_look
    # Of processes that are new, only the time since they were started counts.
    spent_s: defaultdict[str, float] = defaultdict(float)
    for (pid, name), seconds in _spent_s().items():
        spent_s[name] += seconds - earlier_s.get((pid, name), 0.0)
    total_s = facts.total_s(after) - facts.total_s(before)
    idle_s = sum(getattr(after, one, 0.0) - getattr(before, one, 0.0) for one in ("idle", "iowait"))
    stolen_s = getattr(after, "steal", 0.0) - getattr(before, "steal", 0.0)
    return Load(
        busy_cores=max(0.0, total_s - idle_s - stolen_s) / elapsed_s,
        stolen_share=stolen_s / total_s if hasattr(after, "steal") and total_s > 0 else None,
        programs=tuple(
            (name, seconds / between_looks_s)
            for name, seconds in sorted(spent_s.items(), key=lambda one: -one[1])[:PROGRAMS_SHOWN]
            if seconds / between_looks_s >= BUSY_SHARE
        ),
    )


def _spent_s() -> Mapping[tuple[int, str], float]:
    """The CPU time of each process except this one, by its number and name. Threads of the kernel, which have
    no memory of their own, are left out: nobody can stop them.
    """
    import psutil

    found = {}
    for one in psutil.process_iter(["name", "cpu_times", "memory_info"]):
        times, memory = one.info["cpu_times"], one.info["memory_info"]
        # None: another user's, on systems that hide it.
        if times is not None and (memory is None or memory.vms) and one.pid != os.getpid():
            found[one.pid, one.info["name"] or "?"] = times.user + times.system
    return found


def _cores(machine: Machine) -> Finding:
    usable, every = machine.facts.get("usable_cores"), machine.facts.get("logical_cores")
    if every is None:
        return _unknown("cores", "the system does not report them")
    value = f"{usable or every} usable of {every}"
    if (usable or every) == 1:
        effect = "the harness and the programs share the only core"
        return Finding("cores", value, effect, State.HARMFUL, ("allow this process a second core",))
    return Finding("cores", value, "one for the programs in turn, another for the harness")


def _governor(machine: Machine) -> Finding:
    files = (machine.root / _CPU).glob("cpu[0-9]*/cpufreq/scaling_governor")
    governor = ", ".join(sorted({text for path in files if (text := facts.read(path))}))
    if not governor:
        return _unknown("governor", "the system does not show it (usual in virtual machines)")
    if governor == "performance":
        return Finding("governor", governor, "the frequency does not follow the load")
    effect = "the frequency follows the load: short tests run slower"
    advice = ("sudo cpupower frequency-set --governor performance", "mlbench run --set_frequency max ...")
    return Finding("governor", governor, effect, State.HARMFUL, advice)


def _turbo(machine: Machine) -> Finding:
    for name, switched_on in _TURBO.items():
        path = _CPU / name
        text = machine.text(path)
        if text is not None and text != switched_on:
            return Finding("turbo", "off", "the frequency does not depend on the temperature")
        if text is not None:
            off = "1" if switched_on == "0" else "0"
            effect = "the frequency falls when the processor gets warm"
            return Finding("turbo", "on", effect, State.HARMFUL, (f"echo {off} | sudo tee /{path}",))
    return _unknown("turbo", "the system does not show it (usual in virtual machines)")


def _smt(machine: Machine) -> Finding:
    active = machine.text(_CPU / "smt/active")
    if active is None:
        return _unknown("SMT", f"there is no /{_CPU / 'smt/active'}")
    if active == "0":
        return Finding("SMT", "off", "a core computes for one thread at a time")
    effect = "a thread on the other half of a core makes a program slower"
    advice = (
        f"echo off | sudo tee /{_CPU / 'smt/control'}",
        "leave the sibling of the core that you use idle",
    )
    return Finding("SMT", "on", effect, State.HARMFUL, advice)


def _virtual_machine(machine: Machine) -> Finding:
    virtual, stolen = machine.facts.get("virtual_machine"), machine.load.stolen_share
    container = " in a container" if machine.facts.get("container") else ""
    if virtual is None:
        return _unknown("virtual machine", "the processor does not say whether there is a hypervisor")
    if not virtual:
        return Finding("virtual machine", f"no{container}", "nobody else uses the cores")
    if stolen is None or stolen <= STOLEN_SHARE:
        steal = "" if stolen is None else f", {percent(stolen)} stolen"
        return Finding("virtual machine", f"yes{container}{steal}", "others may take the cores at any time")
    effect = "the hypervisor gives the cores to others: wall time grows"
    advice = ("ask for dedicated cores, or measure at a quieter time",)
    value = f"yes{container}, {percent(stolen)} stolen"
    return Finding("virtual machine", value, effect, State.HARMFUL, advice)


def _quota(machine: Machine) -> Finding:
    quota = machine.number("cpu_quota_cores")
    if quota is None:
        return Finding("CPU quota", "none", "programs are never stopped for their use of the CPU")
    effect = "programs that use it up are stopped until the next 0.1 s"
    advice = ("raise it: docker --cpus, Kubernetes limits.cpu, systemd CPUQuota=",)
    return Finding("CPU quota", f"{quota:g} cores", effect, State.HARMFUL, advice)


def _other_load(machine: Machine) -> Finding:
    busy, load = machine.load.busy_cores, machine.number("load_1_min")
    value = f"{busy:.1f} cores" + ("" if load is None else f", load {load:.1f}")
    if busy < BUSY_SHARE:
        return Finding("other load", value, "the cores are idle")
    programs = ", ".join(f"{name} ({percent(share)})" for name, share in machine.load.programs)
    advice = (f"stop what takes the cores: {programs}" if programs else "stop what else runs here",)
    effect = "programs wait for cores and lose their caches"
    return Finding("other load", value, effect, State.HARMFUL, advice)


def _clock_source(machine: Machine) -> Finding:
    source = machine.text(_CLOCK)
    if source is None:
        return _unknown("clock source", f"there is no /{_CLOCK}")
    if source in _SLOW_CLOCKS:
        effect = "each reading takes a microsecond: short operators look long"
        advice = (f"echo tsc | sudo tee /{_CLOCK}", "see in dmesg why the kernel gave up the faster clock")
        return Finding("clock source", source, effect, State.HARMFUL, advice)
    return Finding("clock source", source, "readings are fast")


def _temperature(machine: Machine) -> Finding:
    celsius = machine.number("temperature_celsius")
    if celsius is None:
        return _unknown("temperature", "there is no sensor in /sys/class/thermal")
    value = f"{celsius:.0f} °C"
    if celsius < HOT_CELSIUS:
        return Finding("temperature", value, "the processor does not throttle")
    effect = "the processor is about to lower its frequency, or does so"
    advice = ("cool the machine", "mlbench run --cooldown 300 ...")
    return Finding("temperature", value, effect, State.HARMFUL, advice)


def _memory(machine: Machine) -> Finding:
    available, total = machine.number("memory_available_bytes"), machine.number("memory_bytes")
    if available is None or total is None:
        return _unknown("free memory", "the system does not report it")
    value = f"{_gib(available)} of {_gib(total)}"
    if available >= LEAST_MEMORY_BYTES:
        return Finding("free memory", value, "enough for models of a part of that")
    effect = "two programs side by side may not fit: whole processes are compared"
    return Finding("free memory", value, effect, State.HARMFUL, ("end programs that hold memory",))


def _swap(machine: Machine) -> Finding:
    used = machine.swap_used_bytes
    if not used:
        return Finding("swap", "none used", "no page of a program is on the disk")
    effect = "a page that has to come back from the disk takes milliseconds"
    return Finding("swap", f"{_gib(used)} used", effect, State.HARMFUL, ("sudo swapoff --all",))


EXAMINATIONS: tuple[Examination, ...] = (
    *(_cores, _governor, _turbo, _smt, _virtual_machine, _quota),
    *(_other_load, _clock_source, _temperature, _memory, _swap),
)


def _unknown(name: str, reason: str) -> Finding:
    return Finding(name, "unknown", reason, State.UNKNOWN)


def _gib(size_bytes: float) -> str:
    if size_bytes < 0.1 * 2**30:
        return f"{size_bytes / 2**20:.1f} MiB"
    return f"{size_bytes / 2**30:.1f} GiB"
