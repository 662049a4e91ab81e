"""Checks whether a device's conditions were stable while a case ran, and whether they are steady
before it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarking.errors import DeviceError, RunCancelledError
from benchmarking.platforms.platform_base import PlatformBase
from benchmarking.programs.process import Cancellation
from benchmarking.results.model import Fact
from benchmarking.results.plain_text import percent

Conditions = Mapping[str, Fact]

WARMED_CELSIUS = 5.0
LOW_BATTERY_PERCENT = 15
LOAD_FACTOR = 1.5
"""A program's own threads cause a load of up to 1 per core; an excess of this much is caused by other
programs.
"""
PRESSURE = 0.25
"""The fraction of the time for which processes of the harness's control group waited for a core. If this is
known, the machine's load is not used, because in a container most of the load may be on other cores.
"""

STEADY_READINGS = 3
READING_INTERVAL_S = 2.0
STEADY_CELSIUS = 1.0
STEADY_LOAD = 0.1
"""Relative to the number of cores: the largest change of the load between readings that count as steady."""

RUN_DELAY = "run_delay_share"
"""For a pair: the time that its programs waited for a core, relative to their wall time."""
DOUBTFUL_RUN_DELAY = 0.05
DOUBTFUL_STEAL = 0.02


@dataclass(frozen=True)
class Watched:
    """A device's conditions around a measurement."""

    before: Conditions
    after: Conditions
    tainted: tuple[str, ...]


NOT_WATCHED = Watched({}, {}, ())


class Watch:
    def __init__(self, platform: PlatformBase, cooldown_s: float | None, cancellation: Cancellation) -> None:
        """Waits until the device is steady, for at most ``cooldown_s``.

        Raises:
            RunCancelledError: the run was cancelled.
        """
        self._platform = platform
        self._unsteady: str | None = None
        if cooldown_s is not None:
            try:
                self._unsteady = cool_down(platform, cooldown_s, cancellation)
            except DeviceError as error:
                self._unsteady = f"whether the device was steady is unknown: {error}"
        self._before = read(platform)

    def finish(self, *, lost: bool) -> Watched:
        """``lost``: the device does not answer any more."""
        after = {} if lost else read(self._platform)
        tainted = taints(self._before, after, core_count(self._platform))
        return Watched(self._before, after, (self._unsteady, *tainted) if self._unsteady else tainted)


def taints(before: Conditions, after: Conditions, cores: int | None) -> tuple[str, ...]:
    """The reasons why a measurement between two readings cannot be trusted; empty if there are none."""
    reasons = []
    temperatures = _both(before, after, "temperature_celsius")
    if temperatures and abs(temperatures[1] - temperatures[0]) >= WARMED_CELSIUS:
        reasons.append(f"the temperature went from {temperatures[0]:.1f} to {temperatures[1]:.1f} °C")
    limits = _both(before, after, "cpu_limit_khz")
    if limits and limits[0] != limits[1]:
        reasons.append(
            f"the limit of the CPU's frequency went from {limits[0] / 1000:.0f} to {limits[1] / 1000:.0f} MHz"
        )
    statuses = _both(before, after, "thermal_status")
    if statuses and max(statuses) > 0:
        reasons.append(f"Android reports thermal throttling, status {max(statuses):.0f}")
    for name, switched_on, switched_off in (
        ("battery_charging", "charging began", "charging ended"),
        ("screen_on", "the screen was switched on", "the screen was switched off"),
    ):
        old, new = before.get(name), after.get(name)
        if old is not None and new is not None and old != new:
            reasons.append(switched_on if new else switched_off)
    levels = _both(before, after, "battery_percent")
    if levels and levels[1] < LOW_BATTERY_PERCENT and not after.get("battery_charging"):
        reasons.append(f"the battery is at {levels[1]:.0f} %")
    if (held_up := _held_up(before, after)) is not None:
        reasons.append(held_up)
    crowded = _crowded(before, after, max(_both(before, after, "load_1_min") or (0.0,)), cores)
    return (*reasons, crowded) if crowded else tuple(reasons)


def _held_up(before: Conditions, after: Conditions) -> str | None:
    periods, seconds = (_both(before, after, name) for name in ("cpu_throttled_periods", "cpu_throttled_s"))
    if not periods or periods[1] <= periods[0]:
        return None
    quota = after.get("cpu_quota_cores")
    text = f"the CPU quota{f' of {quota:g} cores' if isinstance(quota, int | float) else ''} delayed the test"
    count = f"in {periods[1] - periods[0]:.0f} periods"
    return f"{text} for {seconds[1] - seconds[0]:.1f} s, {count}" if seconds else f"{text} {count}"


def _crowded(before: Conditions, after: Conditions, load: float, cores: int | None) -> str | None:
    """``load``: of the whole machine."""
    waited, time_s = (_both(before, after, name) for name in ("cpu_pressure_s", "uptime_s"))
    if waited and time_s and time_s[1] > time_s[0]:
        share = (waited[1] - waited[0]) / (time_s[1] - time_s[0])
        if share > PRESSURE:
            return f"processes of its control group waited for a core for {percent(share)} of the time"
        return None
    if cores and load > LOAD_FACTOR * cores:
        return f"the load was {load:.1f} on {cores} cores"
    return None


def wall_time_is_doubtful(pairs: Sequence[Conditions], cores: int | None) -> str | None:
    """The reason why wall time says little about the programs that ran between the readings, or None."""
    delays = _series(pairs, RUN_DELAY)
    if delays and (share := statistics.fmean(delays)) > DOUBTFUL_RUN_DELAY:
        return f"the programs waited for a core for {percent(share)} of the time"
    stolen, total = (_series(pairs, name) for name in ("cpu_steal_s", "cpu_total_s"))
    if len(stolen) > 1 and len(total) > 1 and total[-1] > total[0]:
        share = (stolen[-1] - stolen[0]) / (total[-1] - total[0])
        if share > DOUBTFUL_STEAL:
            return f"the hypervisor took {percent(share)} of the cores' time"
    if pairs and (held_up := _held_up(pairs[0], pairs[-1])) is not None:
        return held_up
    loads = _series(pairs, "load_1_min")
    if delays or not loads:
        return None
    return _crowded(pairs[0], pairs[-1], statistics.median(loads), cores)


def unsteady(readings: Sequence[Conditions], cores: int | None) -> str | None:
    """The condition that still changes over the readings, or None."""
    temperatures = _series(readings, "temperature_celsius")
    if temperatures and max(temperatures) - min(temperatures) > STEADY_CELSIUS:
        return f"the temperature varies between {min(temperatures):.1f} and {max(temperatures):.1f} °C"
    limits = _series(readings, "cpu_limit_khz")
    if limits and max(limits) != min(limits):
        return "the limit of the CPU's frequency varies"
    loads = _series(readings, "load_1_min")
    if loads and max(loads) - min(loads) > STEADY_LOAD * (cores or 1):
        return f"the load varies between {min(loads):.2f} and {max(loads):.2f}"
    return None


def cool_down(platform: PlatformBase, limit_s: float, cancellation: Cancellation) -> str | None:
    """Waits until the conditions are stable, for at most ``limit_s``.

    Returns:
        What still moved at the end; None where the device is steady.

    Raises:
        DeviceError: the device cannot be asked.
        RunCancelledError: the run was cancelled.
    """
    deadline = time.monotonic() + limit_s
    cores = core_count(platform)
    readings = [platform.conditions()]
    while True:
        reason = (
            unsteady(readings[-STEADY_READINGS:], cores)
            if len(readings) >= STEADY_READINGS
            else "too few readings"
        )
        if reason is None:
            return None
        if time.monotonic() >= deadline:
            return f"not steady after {limit_s:g} s: {reason}"
        if cancellation.wait(min(READING_INTERVAL_S, max(0.0, deadline - time.monotonic()))):
            raise RunCancelledError("cancelled while a device cooled down")
        readings.append(platform.conditions())


def core_count(platform: PlatformBase) -> int | None:
    """The number for the whole machine, like its load: a container or --affinity may allow fewer."""
    facts = platform.device.facts
    cores = facts.get("logical_cores", facts.get("usable_cores"))
    return cores if isinstance(cores, int) else None


def read(platform: PlatformBase) -> Conditions:
    """If the device does not answer, only its conditions are missing."""
    try:
        return platform.conditions()
    except DeviceError as error:
        return {"error": str(error)}


def _both(before: Conditions, after: Conditions, name: str) -> tuple[float, float] | None:
    old, new = before.get(name), after.get(name)
    if isinstance(old, int | float) and isinstance(new, int | float):
        return float(old), float(new)
    return None


def _series(readings: Sequence[Conditions], name: str) -> list[float]:
    values = [one.get(name) for one in readings]
    return [float(one) for one in values if isinstance(one, int | float)]
