"""The script that runs a program on a device, and what its output says. Pure.

The program has a process group of its own. Two guards outside of it watch: one ends it when its time is
over, one when our end of the connection is gone (the script's standard input ends), be it that we were
cancelled, were killed or cut off. So nothing goes on running that nobody waits for.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarking.programs.command import Command
from benchmarking.programs.process import TERMINATION_GRACE_S

NO_LIMIT_S = 10 * 24 * 3600
"""About what an operating system's wait can be asked for."""


@dataclass(frozen=True)
class ProgramEnd:
    exit_code: int | None
    """Negative: the signal that ended it; None: its time was over."""
    stderr: str
    device_log: str
    pid: int | None


def script(command: Command, directory: str, token: str, *, prefix: Sequence[str] = (), log: str = "") -> str:
    """``directory`` is made, is the program's working directory, and is removed afterwards.

    ``prefix`` stands in front of the program's arguments (taskset); ``log`` prints what the device logged
    since ``$started`` and follows the program's stderr.
    """
    return _script(
        command, directory, token, prefix, log, requests="/dev/null", relay=f"cat > /dev/null; {_END}"
    )


def live_script(
    command: Command, directory: str, token: str, *, prefix: Sequence[str] = (), log: str = ""
) -> str:
    """The same for a program that is spoken to: the script's standard input is the program's, too.

    A pipe is between the two, so that the end of our connection is seen also while the program reads nothing.
    """
    grace_s = math.ceil(TERMINATION_GRACE_S)
    relay = f"cat > requests; sleep {grace_s}; {_END}"
    made = "mkfifo requests || exit 1"
    return _script(command, directory, token, prefix, log, requests="requests", relay=relay, made=made)


def owns_script(directory: str, pid: int) -> str:
    """Succeeds where the process is the program of this directory, or one below it."""
    return (
        f"root=$(cat {shlex.quote(directory)}/pid) && pid={pid} || exit 1\n"
        'while [ "$pid" != "$root" ]; do\n'
        '    pid=$(sed -n "s/^PPid:[^0-9]*//p" "/proc/$pid/status" 2>/dev/null)\n'
        '    [ "${pid:-0}" -gt 1 ] || exit 1\n'
        "done"
    )


_END = f'kill -s TERM -- "-$1"; sleep {math.ceil(TERMINATION_GRACE_S)}; kill -s KILL -- "-$1"'
"""Ends the group whose number is a guard's first argument."""


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
            # First the guards themselves, which may not yet be groups, then what they started.
            "kill -s KILL $clock $watch 2>/dev/null",
            "kill -s KILL -- -$clock -$watch -$child 2>/dev/null",
            f"cd / && rm -rf {shlex.quote(directory)}",
            f"printf '\\n{token} %d %d %d\\n' $status $over $child >&2",
            *([f"{{ {log}; }} >&2 2>/dev/null"] if log else []),
            ":",
        ]
    )


def read_end(stderr: str, token: str) -> ProgramEnd | None:
    """None where the program was not even tried."""
    text, found, rest = stderr.rpartition(f"\n{token} ")
    if not found:
        return None
    numbers, _, log = rest.partition("\n")
    status, over, pid = (int(number) for number in numbers.split())
    return ProgramEnd(None if over else _exit_code(status), text, log, pid)


def _exit_code(status: int) -> int:
    """Shells tell a signal as 128 (some as 256) and its number."""
    return status if status <= 128 else 128 - status if status < 256 else 256 - status
