"""Reads the observer lines of Caffe2's benchmark programs, in both of their formats.

The classic one prints blocks, each between ``Delay Start`` and ``Delay End``; since June 2018 programs print
one JSON object per value. Either may stand behind a logging prefix (glog, logcat), among any other text.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TypeVar

from benchmarking.errors import ProgramOutputError
from benchmarking.results import NET_DELAY, Cost, Fact, Kernel, Measurement

_OBSERVER = re.compile(r"Caffe2Observer\s+(.*)$")
_VALUE = re.compile(r"(?P<name>\S.*?) - (?P<value>\S+)\s+\((?P<unit>[^)]*)\)$")
_FACTS = re.compile(r"caffe2_benchmark facts (\{.*\})$")
_OPERATOR = re.compile(r"ID_(\d+)_")

_MICROSECONDS = {"ns": 1e-3, "us": 1.0, "m": 1e3, "ms": 1e3, "s": 1e6}
"""One of each unit in microseconds. ``m`` is the ``ms`` of programs that print it cut off."""

_NET_TYPES = ("NET", "NET_DELAY")

Told = TypeVar("Told", Cost, Kernel)


@dataclass(frozen=True)
class ObserverLog:
    """Everything that a stream of text says."""

    net_us: tuple[float, ...] = ()
    """Whole-net iterations, in time order."""
    operators_us: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Per-operator iterations by operator, in the order of the net."""
    facts: Mapping[str, Fact] = field(default_factory=dict)
    damaged_lines: tuple[int, ...] = ()
    """Numbers, from 1, of lines that look like an observer's but cannot be read."""
    costs: Mapping[str, Cost] = field(default_factory=dict)
    """By operator, and of the whole net as ``NET_DELAY``."""
    kernels: Mapping[str, Kernel] = field(default_factory=dict)
    """By operator, in the order of the net."""

    def measurements(self) -> tuple[Measurement, ...]:
        operators = (Measurement(name, "us", values) for name, values in self.operators_us.items())
        return (Measurement(NET_DELAY, "us", self.net_us), *operators)

    def warnings(self) -> tuple[str, ...]:
        if not self.damaged_lines:
            return ()
        numbers = ", ".join(map(str, self.damaged_lines[:5]))
        return (f"{len(self.damaged_lines)} observer lines cannot be read (line {numbers} ...)",)


def parse(text: str) -> ObserverLog:
    """Reads one stream. A block that is cut off at the end is left out.

    Raises:
        ProgramOutputError: a value has a unit that is not known.
    """
    reader = _Reader()
    for number, line in enumerate(text.splitlines(), start=1):
        if "affe2" in line:
            reader.read(line.rstrip(), number)
    return reader.log()


class _Reader:
    def __init__(self) -> None:
        self._net_us: list[float] = []
        self._operators_us: dict[str, list[float]] = {}
        self._facts: dict[str, Fact] = {}
        self._costs: dict[str, Cost] = {}
        self._kernels: dict[str, Kernel] = {}
        self._damaged: list[int] = []
        self._block: list[tuple[str, float]] | None = None

    def read(self, line: str, number: int) -> None:
        if facts := _FACTS.search(line):
            self._read_facts(facts.group(1), number)
        elif observer := _OBSERVER.search(line):
            body = observer.group(1).strip()
            if body.startswith("{"):
                self._read_json(body, number)
            else:
                self._read_classic(body, number)

    def log(self) -> ObserverLog:
        return ObserverLog(
            tuple(self._net_us),
            {name: tuple(self._operators_us[name]) for name in sorted(self._operators_us, key=_net_order)},
            self._facts,
            tuple(self._damaged),
            self._costs,
            {name: self._kernels[name] for name in sorted(self._kernels, key=_net_order)},
        )

    def _read_classic(self, body: str, number: int) -> None:
        if body == "Delay Start":
            self._block = []
        elif body == "Delay End":
            self._end_block(number)
        elif match := _VALUE.match(body):
            self._read_value(match["name"], match["value"], match["unit"], number)
        elif not body.startswith("Net Name"):
            self._damaged.append(number)

    def _read_value(self, name: str, value: str, unit: str, number: int) -> None:
        value_us = _microseconds(value, unit)
        if value_us is None or self._block is None:
            self._damaged.append(number)
        else:
            self._block.append((name, value_us))

    def _end_block(self, number: int) -> None:
        if self._block is None:
            self._damaged.append(number)
            return
        operators = [(name, value_us) for name, value_us in self._block if name not in _NET_TYPES]
        if operators:
            # Its whole-net value was timed operator by operator: no sample of the net.
            for name, value_us in operators:
                self._operators_us.setdefault(name, []).append(value_us)
        else:
            self._net_us += [value_us for _, value_us in self._block]
        self._block = None

    def _read_json(self, body: str, number: int) -> None:
        value = _json_object(body)
        if value is None:
            self._damaged.append(number)
            return
        name = value.get("type")
        if value.get("metric") == "cost":
            self._keep(self._costs, name, _cost(value), number)
            return
        if value.get("metric") == "kernel":
            self._keep(self._kernels, name, _kernel(value), number)
            return
        if value.get("metric") not in ("latency", "delay"):
            return  # cpu_percent, tensor_shapes ...: not delays
        value_us = _microseconds(str(value.get("value")), str(value.get("unit")))
        if value_us is None or not isinstance(name, str) or not name:
            self._damaged.append(number)
        elif name in _NET_TYPES:
            self._net_us.append(value_us)
        else:
            self._operators_us.setdefault(name, []).append(value_us)

    def _keep(self, kept: dict[str, Told], name: object, told: Told | None, number: int) -> None:
        if told is None or not isinstance(name, str):
            self._damaged.append(number)
        else:
            kept[name] = told

    def _read_facts(self, body: str, number: int) -> None:
        value = _json_object(body)
        if value is None:
            self._damaged.append(number)
            return
        self._facts |= {
            name: fact if isinstance(fact, str | int | float | bool | None) else json.dumps(fact)
            for name, fact in value.items()
        }


def _json_object(text: str) -> dict[str, object] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _cost(value: Mapping[str, object]) -> Cost | None:
    """None where a number is missing or none."""
    counts = {one.name: value.get(one.name) for one in fields(Cost)}
    if all(isinstance(count, int) and count >= 0 for count in counts.values()):
        return Cost(**counts)  # type: ignore[arg-type]
    return None


def _kernel(value: Mapping[str, object]) -> Kernel | None:
    """None where the name or whose it is is missing."""
    name, own = value.get("kernel"), value.get("own")
    return Kernel(name, own) if isinstance(name, str) and isinstance(own, bool) else None


def _microseconds(text: str, unit: str) -> float | None:
    """None where the text is no duration."""
    factor = _MICROSECONDS.get(unit.strip())
    try:
        value = float(text)
    except ValueError:
        return None
    if not math.isfinite(value) or value < 0:
        return None
    if factor is None:
        raise ProgramOutputError(
            f"the program gives delays in {unit!r}; known units are {', '.join(_MICROSECONDS)}"
        )
    return value * factor


def _net_order(name: str) -> tuple[float, str]:
    match = _OPERATOR.match(name)
    return (int(match.group(1)) if match else math.inf, name)


def richest(streams: Sequence[str]) -> ObserverLog:
    """Of several streams, each read by itself, the one with the most samples; of all what else they tell."""
    logs = [parse(text) for text in streams]
    best = max(logs, key=lambda log: (len(log.net_us), len(log.operators_us)))
    facts = {name: fact for log in logs for name, fact in log.facts.items()}
    costs = {name: cost for log in logs for name, cost in log.costs.items()}
    kernels = {name: kernel for log in logs for name, kernel in log.kernels.items()}
    return ObserverLog(best.net_us, best.operators_us, facts, best.damaged_lines, costs, kernels)
