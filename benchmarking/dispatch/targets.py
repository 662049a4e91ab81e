"""Which devices of a lab a submission means: ``android,arm64,memory>=8GB``."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from benchmarking.dispatch.ledger import LabDevice
from benchmarking.errors import NoDeviceError, UsageError
from benchmarking.results.model import Fact

_CONDITION = re.compile(r"([A-Za-z_]+)\s*(>=|<=|>|<|!=|=)\s*(.+)")
_SHORT_NAMES = {"memory": "memory_bytes", "cores": "logical_cores"}
_COMPARISONS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_OTHER_SPELLINGS = {"aarch64": "arm64", "arm64-v8a": "arm64", "amd64": "x86_64"}
_WORD_FACTS = ("model", "architecture", "abi", "manufacturer")


@dataclass(frozen=True)
class Target:
    """Every condition has to hold."""

    conditions: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Target:
        """
        Raises:
            UsageError: a condition cannot be read.
        """
        conditions = tuple(one.strip() for one in text.split(",") if one.strip())
        for one in conditions:
            found = _CONDITION.fullmatch(one)
            if found and found[2] in _COMPARISONS:
                _number(found[3])
            elif not found and re.search("[<>=]", one):
                raise UsageError(f"{one!r} is not a condition as in cores>=8 or label=fast")
        return cls(conditions)

    def __str__(self) -> str:
        return ",".join(self.conditions) or "any device"

    def fits(self, device: LabDevice) -> bool:
        return all(_holds(one, device) for one in self.conditions)


def choose(devices: Sequence[LabDevice], target: Target, *, every: bool) -> list[LabDevice]:
    """Every device that fits, or that with the shortest queue.

    Raises:
        UsageError: there is none.
        NoDeviceError: there is, but none that can be used now.
    """
    devices = [one for one in devices if one.measures]
    fitting = [one for one in devices if target.fits(one)]
    usable = [one for one in fitting if one.state in ("ready", "in use")]
    if not usable:
        states = ", ".join(f"{one.name} is {one.state}" for one in fitting[:5])
        if fitting:
            raise NoDeviceError(f"no device can be used for {target} now ({states})")
        if not devices:
            raise UsageError("the lab has no devices: mlbench lab agent, on a host, serves those that it has")
        known = ", ".join(dict.fromkeys(one.name for one in devices))
        raise UsageError(f"no device can be used for {target} (the lab has {known[:300]})")
    if every:
        return usable
    return [min(usable, key=lambda one: (one.waiting + bool(one.running), one.state != "ready"))]


def _holds(condition: str, device: LabDevice) -> bool:
    found = _CONDITION.fullmatch(condition)
    if found is None:
        return _is_called(condition, device)
    name, sign, wanted = found.groups()
    actual = _value(name.lower(), device)
    if sign in _COMPARISONS:
        return isinstance(actual, int | float) and bool(_COMPARISONS[sign](actual, _number(wanted)))
    values = device.labels if name.lower() in ("label", "labels") else () if actual is None else (actual,)
    return any(_same(wanted, str(one)) for one in values) == (sign == "=")


def _is_called(word: str, device: LabDevice) -> bool:
    """Whether it is the device's name, hash, platform or label, or its model or architecture."""
    facts = [str(device.facts[name]) for name in _WORD_FACTS if name in device.facts]
    names = (device.name, device.hash, device.platform, device.host, *device.labels, *facts)
    return any(_same(word, one) for one in names)


def _same(pattern: str, text: str) -> bool:
    pattern, text = (_OTHER_SPELLINGS.get(one.lower(), one.lower()) for one in (pattern, text))
    return fnmatchcase(text, pattern)


def _value(name: str, device: LabDevice) -> Fact:
    if name in ("platform", "hash", "name", "host", "state"):
        return str(getattr(device, name))
    return device.facts.get(_SHORT_NAMES.get(name, name))


def _number(text: str) -> float:
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(?:i?b)?", text.strip().lower())
    if found is None:
        raise UsageError(f"{text!r} is not a number as in 8 or 8GB")
    return float(found[1]) * _UNITS[found[2]]
