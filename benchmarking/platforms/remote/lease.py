"""Records on the device itself who uses it, for machines that share it.

Processes of the same machine already have a lock between them; a lease therefore belongs to a machine, which
can take its own lease again after a crash. It expires, because a machine that is gone cannot return it.
"""

from __future__ import annotations

from shlex import quote

from benchmarking.errors import DeviceBusyError, DeviceError
from benchmarking.platforms.remote.shell import RemoteShell

MARGIN_S = 600
"""The validity of a lease beyond the current run."""


class Lease:
    def __init__(self, shell: RemoteShell, directory: str, owner: str) -> None:
        """``owner``: a word that identifies this machine."""
        self._shell = shell
        self._directory = directory
        self._path = f"{directory}/lease"
        self._owner = owner

    def take(self) -> None:
        """Takes the lease.

        Raises:
            DeviceBusyError: another machine has it, and it has not expired.
            DeviceError: it cannot be written.
        """
        path, me = quote(self._path), quote(self._owner)
        script = f"""
mkdir -p {quote(self._directory)} || exit 1
now=$(date +%s)
if ! mkdir {path} 2>/dev/null; then
    owner= until=
    read -r owner until < {path}/owner 2>/dev/null
    if [ "$owner" != {me} ] && [ "${{until:-$((now + 1))}}" -gt "$now" ]; then
        # Made, but not written for minutes: its maker died in between.
        [ -n "$owner" ] || [ -z "$(find {path} -maxdepth 0 -mmin +5)" ] || rm -rf {path}
        echo "busy ${{owner:-somebody}} ${{until:-$now}} $now"
        exit 0
    fi
fi
echo {me} $((now + {MARGIN_S})) > {path}/owner && echo taken
"""
        answer = self._shell.check(script).split()
        if answer[:1] == ["busy"]:
            minutes = max(1, (int(answer[2]) - int(answer[3])) // 60)
            raise DeviceBusyError(
                f"{self._shell.connection.address} is in use by the machine {answer[1]}, for up to"
                f" {minutes} more "
                "minutes"
            )
        if answer != ["taken"]:
            raise DeviceError(f"{self._shell.connection.address}: cannot write {self._path}")

    def renewal(self, run_s: float) -> str:
        """Lines of a script that end it if another machine has taken the lease, and otherwise extend the
        lease.
        """
        owner = quote(f"{self._path}/owner")
        return (
            f"read -r holder rest < {owner} 2>/dev/null\n"
            f'[ "$holder" = {quote(self._owner)} ] || '
            '{ echo "the device is in use by ${holder:-nobody} now" >&2; exit 1; }\n'
            # Renamed, as another script of ours may be reading it.
            f"echo {quote(self._owner)} $(($(date +%s) + {int(run_s) + MARGIN_S})) > {owner}.$$ && "
            f"mv -f {owner}.$$ {owner}"
        )

    def give_back(self) -> None:
        self._shell.run(
            f"read -r holder rest < {quote(self._path)}/owner; "
            f'[ "$holder" = {quote(self._owner)} ] && rm -rf {quote(self._path)}'
        )
