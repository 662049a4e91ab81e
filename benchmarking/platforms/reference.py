"""The reference computation of the health check: a loop of a POSIX shell, which every device has. Pure."""

from __future__ import annotations

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
    """The fastest round, which was disturbed least by other work on the device."""
    rounds = [line.split() for line in answer.splitlines()]
    return min(float(after) - float(before) for before, after in rounds)
