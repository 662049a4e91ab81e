"""Files on a device: copied only if they are not there yet, each below the hash of its content.

``<directory>/files/<md5>/<name>`` is a staged file, ``<directory>/runs/<random>/`` is the directory of one
run.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from shlex import quote

from benchmarking.errors import DeviceError
from benchmarking.files.model_cache import TOGETHER
from benchmarking.platforms.remote.shell import RemoteShell, parts
from benchmarking.programs.process import Cancellation
from benchmarking.results.plain_text import plain

logger = logging.getLogger(__name__)

TRANSFER_CHECK_LIMIT_S = 300.0
"""The time for the device to compute the hash of large files."""
MOST_NAMED = 20
"""The time to end processes that an earlier run left behind."""
KEPT_DAYS = 7
"""The number of days after which the files of a failed run are removed."""


def content_hash(path: Path) -> str:
    """The hash as ``md5sum`` prints it on a device: every device has that program."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


class Staging:
    def __init__(self, shell: RemoteShell, directory: str) -> None:
        self.directory = directory
        self._shell = shell
        self._digests: dict[tuple[Path, int, int], str] = {}
        self._verified: set[str] = set()
        """Paths on the device whose content was verified since the device was reserved."""

    @property
    def runs(self) -> str:
        return f"{self.directory}/runs"

    def provide(self, files: Collection[Path], cancellation: Cancellation | None) -> Mapping[Path, str]:
        """Copies the files that the device lacks.

        Raises:
            DeviceError: a file cannot be read here or written there.
        """
        paths = {path: self._path_of(path) for path in files}
        doubtful = {path: target for path, target in paths.items() if target not in self._verified}
        for path, target in self._absent(doubtful, cancellation).items():
            self._bring(path, target, cancellation)
        self._verified.update(doubtful.values())
        return paths

    def make_run(self, needed: Collection[str]) -> str | None:
        """Creates the directory of a run, with one for outputs in it; None if a required file disappeared
        meanwhile.
        """
        directory = f"{self.runs}/{secrets.token_hex(6)}"
        present = [f"[ -f {quote(path)} ] || {{ echo gone; exit 0; }}" for path in needed]
        for part in parts([*present, f"mkdir -p {quote(f'{directory}/output')}"]):
            if self._shell.check("\n".join(part)).strip() == "gone":
                self._verified.clear()
                return None
        return directory

    def remove_run(self, directory: str) -> None:
        self._shell.check(f"rm -rf {quote(directory)}")

    def keep_run(self, directory: str) -> None:
        """Keeps the directory for a person to look at, until it is ``KEPT_DAYS`` old."""
        self._shell.run(f": > {quote(f'{directory}/kept')}")

    def sweep(self) -> None:
        """Ends the processes that a killed harness left running, names them, and removes its files.

        Only for the owner of the device, because the run of another owner would be swept too. A process
        belongs to this project only if its working directory is that of the run: the number may have been
        reused.
        """
        ended = self._shell.check(
            f"cd {quote(self.runs)} 2>/dev/null || exit 0\n"
            "for run in *; do\n"
            '    [ -d "$run" ] || continue\n'
            '    pid=$(cat "$run/pid" 2>/dev/null)\n'
            '    if [ -n "$pid" ] && [ "$(readlink "/proc/$pid/cwd")" = "$(pwd -P)/$run" ]; then\n'
            '        echo "process $pid ($(tr "\\000" " " < "/proc/$pid/cmdline" | head -c 100))"\n'
            '        kill -s KILL -- "-$pid"\n'
            "    fi\n"
            '    [ -e "$run/kept" ] || rm -rf "$run"\n'
            "done\n"
            f"find . -mindepth 1 -maxdepth 1 -mtime +{KEPT_DAYS} -exec rm -rf {{}} +\n"
            ":"
        )
        for line in ended.splitlines()[:MOST_NAMED]:
            where = self._shell.connection.address
            logger.warning("ended %s on %s, which an earlier run left running", plain(line), where)

    def prune(self) -> None:
        """Removes the staged files that were not used since the device was reserved."""
        used = {PurePosixPath(path).parent.name for path in self._verified}
        enter = f"cd {quote(self.directory + '/files')} 2>/dev/null || exit 0\n"
        listing = 'for one in * .part-*; do [ -e "$one" ] && printf "%s\\n" "$one"; done; :'
        found = self._shell.check(enter + listing).splitlines()
        for part in parts(quote(one) for one in found if one not in used and one not in ("", ".", "..")):
            self._shell.check(f"{enter}rm -rf -- {' '.join(part)}")

    def forget(self) -> None:
        """Requires all files to be verified again: the device may have been restarted."""
        self._verified.clear()

    def remove_all(self) -> None:
        """Removes everything except the files of failed runs."""
        self._verified.clear()
        self.prune()

    def _absent(self, files: Mapping[Path, str], cancellation: Cancellation | None) -> Mapping[Path, str]:
        if not files:
            return {}
        lines = (
            f"if [ -f {quote(target)} ]; then md5sum < {quote(target)} || echo -; else echo -; fi"
            for target in files.values()
        )
        answers = [
            answer
            for part in parts(lines)
            for answer in self._shell.check(
                "\n".join(part), timeout_s=TRANSFER_CHECK_LIMIT_S, cancellation=cancellation
            ).splitlines()
        ]
        return {
            path: target
            for (path, target), answer in zip(files.items(), answers, strict=True)
            if answer.split()[0] != self._digest(path)
        }

    def _bring(self, path: Path, target: str, cancellation: Cancellation | None) -> None:
        temporary = f"{self.directory}/files/.part-{secrets.token_hex(6)}"
        directory = str(PurePosixPath(target).parent)
        self._shell.check(f"mkdir -p {quote(directory)}")
        try:
            self._shell.connection.push(path, temporary, cancellation=cancellation)
            answer = self._shell.check(
                f"md5sum < {quote(temporary)} && chmod {'755' if os.access(path, os.X_OK) else '644'} "
                f"{quote(temporary)} && mv -f {quote(temporary)} {quote(target)}",
                timeout_s=TRANSFER_CHECK_LIMIT_S,
                cancellation=cancellation,
            )
        except DeviceError:
            self._remove_quietly(temporary)
            raise
        if answer.split()[0] != self._digest(path):
            self._remove_quietly(target)
            raise DeviceError(
                f"{self._shell.connection.address}: {path.name} did not arrive completely at {target}; "
                "is the device's disk full?"
            )

    def _remove_quietly(self, path: str) -> None:
        """The error that led here is the error to report."""
        with suppress(
            DeviceError
        ):  # a remaining file has a name that is never trusted, and is removed by the next prune
            self._shell.run(f"rm -f {quote(path)}", timeout_s=5)

    def _path_of(self, path: Path) -> str:
        """Executables are kept separately: the same content may be staged with and without the executable
        bit. Files that are needed beside each other stay so.
        """
        if path.parent.name.startswith(TOGETHER):
            return f"{self.directory}/files/{path.parent.name}/{path.name}"
        kind = "x" if os.access(path, os.X_OK) else ""
        return f"{self.directory}/files/{self._digest(path)}{kind}/{path.name}"

    def _digest(self, path: Path) -> str:
        try:
            status = path.stat()
            key = (path, status.st_size, status.st_mtime_ns)
            if key not in self._digests:
                self._digests[key] = content_hash(path)
        except OSError as error:
            raise DeviceError(f"cannot read {path}: {error.strerror}") from error
        return self._digests[key]
