"""The lines that a harness reads, in the format of Caffe2's observer, which other programs print as well."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TextIO

from .costs import Cost
from .kernels import Fact, Kernel

_PREFIX = "[I net_observer_reporter_print.cc:%d] Caffe2Observer "


class Observer:
    def __init__(self, stream: TextIO, program: str) -> None:
        self._stream = stream
        self._program = program

    def facts(self, facts: Mapping[str, Fact]) -> None:
        self._write(["%s facts %s" % (self._program, json.dumps(facts, sort_keys=True))])

    def model_name(self, name: str) -> None:
        self._write([_PREFIX % 27 + "Net Name - " + name])

    def net_iteration(self, net_ns: int) -> None:
        self._block([("NET_DELAY", net_ns)])

    def operator_iteration(self, operators_ns: Sequence[tuple[str, int]]) -> None:
        """Prints an iteration of operators, with their sum as the net's delay; sorted as strings, like the
        original.
        """
        total = ("NET_DELAY", sum(ns for _, ns in operators_ns))
        self._block([*sorted(operators_ns), total])

    def costs(self, name: str, cost: Cost) -> None:
        """Prints a cost in the format of later programs, one object per line; readers of delays ignore it."""
        value = {"type": name, "metric": "cost", **cost._asdict()}
        self._write(["Caffe2Observer " + json.dumps(value, sort_keys=True)])

    def kernel(self, name: str, kernel: Kernel) -> None:
        """Prints a kernel in the same format."""
        value = {"type": name, "metric": "kernel", **kernel._asdict()}
        self._write(["Caffe2Observer " + json.dumps(value, sort_keys=True)])

    def warning(self, text: str) -> None:
        """Prints a warning in the same format."""
        self._write(["Caffe2Observer " + json.dumps({"metric": "warning", "text": text})])

    def fallback(self, name: str, backend: str, reason: str) -> None:
        self._write(["%s: %s is not computed by %s: %s" % (self._program, name, backend, reason)])

    def device_iteration(self, device_ns: int) -> None:
        """Prints the time of the last iteration by the clock of its device."""
        value = {
            "type": "NET",
            "metric": "device_latency",
            "unit": "us",
            "value": "%.3f" % (device_ns / 1000),
        }
        self._write(["Caffe2Observer " + json.dumps(value)])

    def _block(self, values_ns: Sequence[tuple[str, int]]) -> None:
        lines = [_PREFIX % 30 + "%s - %.3f (us)" % (name, ns / 1000) for name, ns in values_ns]
        self._write([_PREFIX % 28 + "Delay Start", *lines, _PREFIX % 33 + "Delay End"])

    def _write(self, lines: Sequence[str]) -> None:
        self._stream.write("\n".join(lines) + "\n")
        self._stream.flush()
