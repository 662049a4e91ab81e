"""The reference computation of the health check: a loop of a POSIX shell, which every device has. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarking.bounds import number
from benchmarking.errors import DeviceError

ROUNDS = 3

SCRIPT = f"""
for round in {" ".join(map(str, range(ROUNDS)))}; do
    read -r before rest < /proc/uptime
    count=0
    while [ $count -lt 200000 ]; do count=$((count + 1)); done
    read -r after rest < /proc/uptime
    echo "$before $after"
done
"""


def read_seconds(answer: str) -> float:
    """The fastest round, which was disturbed least by other work on the device.

    Raises:
        DeviceError: it has no such clock (not Linux, say).
    """
    rounds = [[number(word) for word in line.split()] for line in answer.splitlines()]
    times_s = [after - before for before, after in _pairs(rounds)]
    if len(times_s) != ROUNDS:
        raise DeviceError("the reference computation needs /proc/uptime, which cannot be read")
    return min(times_s)


def _pairs(rounds: Sequence[Sequence[float | None]]) -> Iterator[tuple[float, float]]:
    for one in rounds:
        match one:
            case [float(before), float(after)]:
                yield before, after
