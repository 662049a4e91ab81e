"""The script that runs a program on a device, and how to read its output. Pure.

The program has its own process group. Two guards outside it watch: one ends the program when its time is
over, the other when this side of the connection is gone (the script's standard input ends), because the run
was cancelled or killed or the connection was lost. No program therefore keeps running that nobody waits for.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarking.programs.command import Command
from benchmarking.programs.process import TERMINATION_GRACE_S

NO_LIMIT_S = 10 * 24 * 3600
"""About the longest time that an operating system's wait accepts."""


@dataclass(frozen=True)
class ProgramEnd:
    exit_code: int | None
    """Negative: the signal that ended it; None: its time was over."""
    stderr: str
    device_log: str
    pid: int | None


def script(command: Command, directory: str, token: str, *, prefix: Sequence[str] = (), log: str = "") -> str:
    """``directory`` is created, is the program's working directory, and is removed afterwards.

    ``prefix`` precedes the program's arguments (taskset); ``log`` prints what the device logged since
    ``$started`` and is appended to the program's stderr.
    """
    return _script(
        command, directory, token, prefix, log, requests="/dev/null", relay=f"cat > /dev/null; {_END}"
    )


def live_script(
    command: Command, directory: str, token: str, *, prefix: Sequence[str] = (), log: str = ""
) -> str:
    """The same for a program that is driven line by line: the script's standard input is also the program's.

    A pipe is between the two, so that the end of the connection is noticed even while the program reads
    nothing.
    """
    grace_s = math.ceil(TERMINATION_GRACE_S)
    relay = f"cat > requests; sleep {grace_s}; {_END}"
    made = "mkfifo requests || exit 1"
    return _script(command, directory, token, prefix, log, requests="requests", relay=relay, made=made)


def owns_script(directory: str, pid: int) -> str:
    """Succeeds if the process is the program of this directory, or one of its descendants."""
    return (
        f"root=$(cat {shlex.quote(directory)}/pid) && pid={pid} || exit 1\n"
        'while [ "$pid" != "$root" ]; do\n'
        '    pid=$(sed -n "s/^PPid:[^0-9]*//p" "/proc/$pid/status" 2>/dev/null)\n'
        '    [ "${pid:-0}" -gt 1 ] || exit 1\n'
        "done"
    )


_END = f'kill -s TERM -- "-$1"; sleep {math.ceil(TERMINATION_GRACE_S)}; kill -s KILL -- "-$1"'
"""Ends the process group whose number is the first argument of a guard."""


def _script(
    command: Command,
    directory: str,
    token: str,
    prefix: Sequence[str],
    log: str,
    *,
    requests: str,
    relay: str,
    made: str = ":",
) -> str:
    limit_s = math.ceil(command.timeout_s) if command.timeout_s is not None else NO_LIMIT_S
    assignments = [f"{name}={value}" for name, value in command.environment.items()]
    program = shlex.join([*(["env", *assignments] if assignments else []), *prefix, *command.argv])
    clock = f"sleep {limit_s}; : > timed_out; {_END}"
    return "\n".join(
        [
            f"mkdir -p {shlex.quote(directory)} && cd {shlex.quote(directory)} || exit 1",
            made,
            "started=$(date '+%m-%d %H:%M:%S.000')",
            "exec 3<&0",
            f"setsid {program} < {requests} 3<&- &",
            "child=$!",
            "echo $child > pid",
            f"setsid sh -c {shlex.quote(clock)} sh $child </dev/null >/dev/null 2>&1 3<&- &",
            "clock=$!",
            f"setsid sh -c {shlex.quote(relay)} sh $child <&3 >/dev/null 2>&1 &",
            "watch=$!",
            "wait $child 2>/dev/null",
            "status=$?",
            "over=0; [ -e timed_out ] && over=1",
            # First the guards themselves, which may not have their own groups yet, then their children.
            "kill -s KILL $clock $watch 2>/dev/null",
            "kill -s KILL -- -$clock -$watch -$child 2>/dev/null",
            f"cd / && rm -rf {shlex.quote(directory)}",
            f"printf '\\n{token} %d %d %d\\n' $status $over $child >&2",
            *([f"{{ {log}; }} >&2 2>/dev/null"] if log else []),
            ":",
        ]
    )


def read_end(stderr: str, token: str) -> ProgramEnd | None:
    """The end of the program; None if the script did not get as far as telling it."""
    text, found, rest = stderr.rpartition(f"\n{token} ")
    if not found:
        return None
    numbers, is_whole, log = rest.partition("\n")
    if not is_whole:  # the connection broke within the line
        return None
    status, over, pid = (int(number) for number in numbers.split())
    return ProgramEnd(None if over else _exit_code(status), text, log, pid)


def _exit_code(status: int) -> int:
    """Shells report a signal as 128 (some as 256) plus its number."""
    return status if status <= 128 else 128 - status if status < 256 else 256 - status
