"""Reads the lines of Caffe2's observer, which this project's programs also print, in both of their formats.

The classic format has blocks, each between ``Delay Start`` and ``Delay End``; since June 2018 programs print
one JSON object per value. Both may follow a logging prefix (glog, logcat), between any other text.
"""

from __future__ import annotations

import heapq
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TypeVar

from benchmarking.bounds import LONGEST_WARNING, MOST_WARNINGS, parse_json
from benchmarking.errors import ProgramOutputError
from benchmarking.results.model import NET_DELAY, Cost, Fact, Kernel, Measurement
from benchmarking.results.plain_text import plain

_OBSERVER = "Caffe2Observer"
_FACTS = "_benchmark facts "
"""Follows the name of a program of this project."""
_HINTS = ("affe2", _FACTS)
"""Every relevant line contains one of these; other lines are skipped quickly."""
_COLOURS = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
"""Control sequences that a program sends to a terminal (ECMA-48)."""
_DECIMAL_COMMA = re.compile(r"[\d.]+,\d+")
_OPERATOR = re.compile(r"ID_(\d{1,18})_")

MICROSECONDS = {"ns": 1e-3, "us": 1.0, "m": 1e3, "ms": 1e3, "s": 1e6}
"""Each unit in microseconds. ``m`` is the ``ms`` of programs that truncate it."""

_NET_TYPES = ("NET", "NET_DELAY")

SHORTEST_US, LONGEST_US = 1e-6, 1e15
"""A picosecond and 31 years: values outside are not delays, except for 0."""
LARGEST_COUNT = 2**63 - 1
LONGEST_NAME = 1000
DAMAGED_KEPT = 5
_SHOWN_CHARACTERS = 200

Reported = TypeVar("Reported", Cost, Kernel)


@dataclass(frozen=True)
class DamagedLine:
    """A line that looks like an observer line but cannot be read."""

    number: int
    """From 1."""
    text: str
    """The text without control characters, shortened if it is long."""
    problem: str = ""
    """Empty: the line is not of a kind that observers write."""

    def __str__(self) -> str:
        return f"line {self.number}: {f'{self.problem}: ' if self.problem else ''}{self.text}"


@dataclass(frozen=True)
class ProgramLog:
    """The contents of a stream of text."""

    net_us: tuple[float, ...] = ()
    """The times of whole-net iterations, in order of time."""
    operators_us: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Maps each operator, in the order of the net, to its times."""
    facts: Mapping[str, Fact] = field(default_factory=dict)
    damaged_lines: tuple[DamagedLine, ...] = ()
    """The first damaged line."""
    damaged_count: int = 0
    costs: Mapping[str, Cost] = field(default_factory=dict)
    """Maps the operator, or ``NET_DELAY`` for the whole net, to its cost."""
    kernels: Mapping[str, Kernel] = field(default_factory=dict)
    """Maps the operator, in the order of the net, to its kernel."""
    device_us: tuple[float, ...] = ()
    """The times of the iterations of ``net_us`` by the clock of a device; empty if they are not reported for
    all of them.
    """
    program_warnings: tuple[str, ...] = ()
    """The program's own warnings; only the first ones are kept."""

    def measurements(self) -> tuple[Measurement, ...]:
        operators = (Measurement(name, "us", values) for name, values in self.operators_us.items())
        return (Measurement(NET_DELAY, "us", self.net_us, self.device_us), *operators)

    def damage(self) -> str:
        """One sentence about the damaged lines; empty if every line can be read."""
        if not self.damaged_count:
            return ""
        first = self.damaged_lines[0]
        return f"{self.damaged_count} observer lines cannot be read; the first is {first}"

    def warnings(self) -> tuple[str, ...]:
        return (*self.program_warnings, *((self.damage(),) if self.damaged_count else ()))


def parse(text: str) -> ProgramLog:
    """Reads one stream. An incomplete block at the end is ignored.

    Raises:
        ProgramOutputError: a value has a unit that is not known.
    """
    reader = _Reader()
    for number, line in _lines_that_matter(text):
        reader.read(_COLOURS.sub("", line).strip(), number)
    return reader.log()


def _lines_that_matter(text: str) -> Iterator[tuple[int, str]]:
    """Yields the relevant lines with their numbers; no string is created for the many other lines."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    number, counted, end = 1, 0, -1
    for found in heapq.merge(*(_places(text, hint) for hint in _HINTS)):
        if found < end:
            continue  # another hint in the same line
        start, end = text.rfind("\n", 0, found) + 1, text.find("\n", found)
        end = len(text) if end < 0 else end
        number += text.count("\n", counted, start)
        counted = start
        yield number, text[start:end]


def _places(text: str, hint: str) -> Iterator[int]:
    """Yields the first position in each line that contains the hint."""
    found = text.find(hint)
    while found >= 0:
        yield found
        end = text.find("\n", found)
        found = text.find(hint, end) if end >= 0 else -1


class _Reader:
    def __init__(self) -> None:
        self._net_us: list[float] = []
        self._device_us: list[float] = []
        self._operators_us: dict[str, list[float]] = {}
        self._facts: dict[str, Fact] = {}
        self._costs: dict[str, Cost] = {}
        self._kernels: dict[str, Kernel] = {}
        self._damaged: list[DamagedLine] = []
        self._damaged_count = 0
        self._warnings: list[str] = []
        self._block: list[tuple[str, float]] | None = None
        self._line, self._number = "", 0

    def read(self, line: str, number: int) -> None:
        self._line, self._number = line, number
        _, found, facts = line.partition(_FACTS)
        if found and facts.startswith("{"):
            self._read_facts(facts)
            return
        _, found, rest = line.partition(_OBSERVER)
        if not found or not rest[:1].isspace():
            return  # its name alone, in some other text
        body = rest.strip()
        if body.startswith("{"):
            self._read_json(body)
        else:
            self._read_classic(body)

    def _damage(self, problem: str = "") -> None:
        self._damaged_count += 1
        if len(self._damaged) < DAMAGED_KEPT:
            text = plain(self._line[: _SHOWN_CHARACTERS + 1])
            shown = text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 3]}..."
            self._damaged.append(DamagedLine(self._number, shown, problem))

    def log(self) -> ProgramLog:
        return ProgramLog(
            tuple(self._net_us),
            {name: tuple(self._operators_us[name]) for name in sorted(self._operators_us, key=_net_order)},
            self._facts,
            tuple(self._damaged),
            self._damaged_count,
            self._costs,
            {name: self._kernels[name] for name in sorted(self._kernels, key=_net_order)},
            tuple(self._device_us) if len(self._device_us) == len(self._net_us) else (),
            tuple(self._warnings),
        )

    def _read_classic(self, body: str) -> None:
        if body == "Delay Start":
            self._block = []
        elif body == "Delay End":
            self._end_block()
        elif body.startswith("Net Name"):
            pass
        elif body.endswith(")") and " - " in body:
            self._read_value(body)
        else:
            self._damage()

    def _read_value(self, body: str) -> None:
        """Reads ``<name> - <value> (<unit>)``; the name may contain all of these characters."""
        before, _, unit = body[:-1].rpartition("(")
        name, _, value = before.rstrip().rpartition(" - ")
        delay = self._delay(name, value.strip(), unit)
        if delay is None:
            return
        if self._block is None:
            self._damage("it is outside a block")
        else:
            self._block.append((name, delay))

    def _end_block(self) -> None:
        if self._block is None:
            self._damage("it ends a block that was not begun")
            return
        operators = [(name, value_us) for name, value_us in self._block if name not in _NET_TYPES]
        if operators:
            # The whole-net value of such a block was timed operator by operator and is not a sample of the
            # net.
            for name, value_us in operators:
                self._operators_us.setdefault(name, []).append(value_us)
        else:
            self._net_us += [value_us for _, value_us in self._block]
        self._block = None

    def _read_json(self, body: str) -> None:
        value = self._json_object(body)
        if value is None:
            return
        name = value.get("type")
        if value.get("metric") == "cost":
            self._keep(self._costs, name, _cost(value))
        elif value.get("metric") == "kernel":
            self._keep(self._kernels, name, _kernel(value))
        elif value.get("metric") == "warning":
            self._warn(value.get("text"))
        elif value.get("metric") in ("latency", "delay"):  # and not cpu_percent, tensor_shapes ...
            delay = self._delay(name, str(value.get("value")), str(value.get("unit")))
            if delay is not None and name in _NET_TYPES:
                self._net_us.append(delay)
            elif delay is not None:
                self._operators_us.setdefault(str(name), []).append(delay)
        elif value.get("metric") == "device_latency":
            delay = self._delay(name, str(value.get("value")), str(value.get("unit")))
            if delay is not None and name in _NET_TYPES:
                self._device_us.append(delay)

    def _warn(self, text: object) -> None:
        if not isinstance(text, str) or not text:
            self._damage()
        elif len(self._warnings) < MOST_WARNINGS:
            self._warnings.append(plain(text[:LONGEST_WARNING]))

    def _delay(self, name: object, value: str, unit: str) -> float | None:
        """The delay in microseconds; None, with a damaged line, if it is not a delay."""
        delay = microseconds(value, unit)
        if isinstance(delay, str):
            self._damage(delay)
        elif not _is_a_name(name):
            self._damage("it does not name the operator or net of the delay")
        else:
            return delay
        return None

    def _keep(self, kept: dict[str, Reported], name: object, reported: Reported | None) -> None:
        if reported is None or not _is_a_name(name):
            self._damage()
        else:
            kept[str(name)] = reported

    def _read_facts(self, body: str) -> None:
        value = self._json_object(body)
        self._facts |= {
            name: fact if isinstance(fact, str | int | float | bool | None) else json.dumps(fact)
            for name, fact in (value or {}).items()
        }

    def _json_object(self, text: str) -> dict[str, object] | None:
        """The object in the text; None, with a damaged line, if there is none."""
        try:
            value = parse_json(text)
        except json.JSONDecodeError:
            self._damage("it is not JSON")
            return None
        except ValueError as error:
            self._damage(str(error))
            return None
        if isinstance(value, dict):
            return value
        self._damage()
        return None


def _is_a_name(name: object) -> bool:
    return isinstance(name, str) and 0 < len(name) <= LONGEST_NAME


def _cost(value: Mapping[str, object]) -> Cost | None:
    """None if a number is missing or is not a count."""
    counts = {one.name: value.get(one.name) for one in fields(Cost)}
    if all(type(count) is int and 0 <= count <= LARGEST_COUNT for count in counts.values()):
        return Cost(**counts)  # type: ignore[arg-type]
    return None


def _kernel(value: Mapping[str, object]) -> Kernel | None:
    """None if the name, or whether the kernel is the backend's own, is missing."""
    name, own = value.get("kernel"), value.get("own")
    return Kernel(name, own) if isinstance(name, str) and isinstance(own, bool) else None


def microseconds(text: str, unit: str) -> float | str:
    """The delay in microseconds, or the reason why there is none.

    Raises:
        ProgramOutputError: the unit is not one of ``MICROSECONDS``.
    """
    shown = repr(plain(text[:40]))
    try:
        value = float(text)
    except ValueError:
        comma = "; it has a decimal comma: run the program with LC_ALL=C"
        return f"{shown} is not a number{comma if _DECIMAL_COMMA.fullmatch(text) else ''}"
    if not value >= 0 or value == math.inf:
        return f"{shown} is not a delay"
    factor = MICROSECONDS.get(unit.strip())
    if factor is None:
        raise ProgramOutputError(
            f"the program reports delays in {plain(unit[:40])!r}; known units are {', '.join(MICROSECONDS)}"
        )
    if value and not SHORTEST_US <= value * factor <= LONGEST_US:
        return f"{shown} is not a delay"
    return value * factor


def _net_order(name: str) -> tuple[float, str]:
    match = _OPERATOR.match(name)
    return (int(match.group(1)) if match else math.inf, name)


def richest(streams: Sequence[str]) -> ProgramLog:
    """The stream with the most samples, with the other contents of all streams; each stream is read
    separately.
    """
    logs = [parse(text) for text in streams]
    best = max(logs, key=lambda log: (len(log.net_us), len(log.operators_us), log.damaged_count))
    return replace(
        best,
        facts={name: fact for log in logs for name, fact in log.facts.items()},
        costs={name: cost for log in logs for name, cost in log.costs.items()},
        kernels={name: kernel for log in logs for name, kernel in log.kernels.items()},
        program_warnings=tuple(dict.fromkeys(text for log in logs for text in log.program_warnings)),
    )
