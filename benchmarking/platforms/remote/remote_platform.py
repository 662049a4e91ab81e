"""A device that is reached over a connection: the common part of Android and Linux."""

from __future__ import annotations

import logging
import os
import re
import secrets
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path, PurePosixPath
from shlex import quote

from benchmarking.errors import (
    CaseError,
    DeviceError,
    DeviceLostError,
    ProgramOutputError,
    ProgramStartError,
    RunCancelledError,
)
from benchmarking.platforms import frequency, outputs, reference
from benchmarking.platforms.platform_base import DeviceInfo, PlatformBase, PlatformOptions, StagedFiles
from benchmarking.platforms.remote import program_run, system
from benchmarking.platforms.remote.lease import Lease
from benchmarking.platforms.remote.live_run import LiveRun
from benchmarking.platforms.remote.shell import RemoteShell
from benchmarking.platforms.remote.staging import Staging, content_hash
from benchmarking.programs.command import COULD_NOT_START, Command, Outcome, Program
from benchmarking.programs.live_program import LiveProgram
from benchmarking.programs.process import TERMINATION_GRACE_S, Cancellation
from benchmarking.results.model import Fact
from benchmarking.results.plain_text import last_line

logger = logging.getLogger(__name__)

DIRECTORY_NAME = "ml-benchmark"
ANSWER_MARGIN_S = 15.0
"""The time that a run may take beyond the program's limit before the device counts as lost."""
REBOOT_NOTICE_S = 15.0
"""The time for the connection to break after the device was told to restart."""
GONE_LIMIT_S = 2 * TERMINATION_GRACE_S + 5


class RemotePlatform(PlatformBase):
    def __init__(
        self,
        shell: RemoteShell,
        device: DeviceInfo,
        directory: str,
        zones: frozenset[str],
        options: PlatformOptions,
    ) -> None:
        """``directory``: on the device, for this harness alone; ``zones``: the thermal zones of the
        processor.
        """
        self._shell = shell
        self._device = device
        self._options = options
        self._zones = zones
        self._staging = Staging(shell, directory)
        self._lease = Lease(shell, directory, options.owner)
        self._checked_pythons: set[tuple[str, ...]] = set()
        """Maps each Python to the modules that it was seen to have."""

    @property
    def device(self) -> DeviceInfo:
        return self._device

    def identify(self, device: DeviceInfo) -> None:
        """Sets the identity from now on: another device may report the same."""
        self._device = device

    @contextmanager
    def hold(self) -> Iterator[None]:
        directory = self._staging.directory
        cores = self.device.facts.get("logical_cores")
        self._options.check_affinity(self.device.name, cores if isinstance(cores, int) else None)
        self._lease.take()
        try:
            self._staging.sweep()
            self._shell.check(frequency.restore_script(directory))
            if self._options.frequency is not None:
                self._shell.check(frequency.set_script(directory, self._options.frequency))
            yield
        finally:
            for step in (
                lambda: self._shell.check(frequency.restore_script(directory)),
                self._staging.remove_all if self._options.remove_staged else self._staging.prune,
                self._lease.give_back,
            ):
                # A device that is gone is cleaned up the next time it is held. If something else fails, the
                # rest is done all the same: others wait for the lease.
                if not self._shell.is_lost:
                    with suppress(DeviceError):
                        step()
            self.close()

    def recover(self) -> None:
        """Reconnects until the device answers and is ready; ends the processes that ran there."""
        import tenacity

        try:
            tenacity.Retrying(
                retry=tenacity.retry_if_exception_type(DeviceError),
                stop=tenacity.stop_after_delay(self._options.recovery_limit_s),
                wait=tenacity.wait_fixed(1),
                reraise=True,
            )(self._come_back)
        except DeviceError as error:
            raise DeviceError(
                f"{self.device.name} did not return within {self._options.recovery_limit_s:.0f} s: {error}"
            ) from error

    def _come_back(self) -> None:
        if self._options.cancellation is not None and self._options.cancellation.is_set:
            raise RunCancelledError("cancelled while a device was away")
        self._shell.connection.restart()
        self._shell.check(self._ready_script(), timeout_s=10, cancellation=self._options.cancellation)
        self._staging.forget()
        self._staging.sweep()
        self._lease.take()

    def _ready_script(self) -> str:
        """Fails while the device is still starting."""
        return ":"

    def reboot(self) -> None:
        boot_id = "cat /proc/sys/kernel/random/boot_id"
        before = self._shell.check(boot_id)
        with suppress(DeviceLostError):
            self._shell.run(self._reboot_script(), timeout_s=REBOOT_NOTICE_S)
        deadline = time.monotonic() + self._options.recovery_limit_s
        while True:
            self.recover()
            if self._shell.check(boot_id) != before:
                return
            if time.monotonic() > deadline:
                raise DeviceError(f"{self.device.name} did not reboot; is it allowed to?")
            time.sleep(1)

    def _reboot_script(self) -> str:
        return "reboot"

    def answers_to(self, text: str) -> bool:
        return super().answers_to(text) or text.lower() == self._shell.connection.address.lower()

    def reference_s(self) -> float:
        cancellation = self._options.cancellation
        return reference.read_seconds(
            self._shell.check(reference.SCRIPT, timeout_s=300, cancellation=cancellation)
        )

    def conditions(self) -> Mapping[str, Fact]:
        answers = system.Answers(self._shell.check(self._conditions_script()))
        return self._read_conditions(answers)

    def _conditions_script(self) -> str:
        return system.CONDITIONS_SCRIPT

    def _read_conditions(self, answers: system.Answers) -> Mapping[str, Fact]:
        return system.moving_facts(answers, self._zones)

    def close(self) -> None:
        self._shell.connection.close()

    # --- files ----------------------------------------------------------------------------------------------

    @contextmanager
    def stage(self, files: Collection[Path]) -> Iterator[StagedFiles]:
        cancellation = self._options.cancellation
        paths = self._staging.provide(files, cancellation)
        directory = self._staging.make_run(paths.values())
        if directory is None:  # somebody removed files on the device
            paths = self._staging.provide(files, cancellation)
            directory = self._staging.make_run(paths.values())
        if directory is None:
            raise DeviceError(f"{self._shell.connection.address}: staged files disappear; is the disk full?")
        try:
            yield StagedFiles(paths, f"{directory}/output")
        except CaseError as error:
            self._staging.keep_run(directory)
            error.add_note(f"kept on {self._shell.connection.address}: {directory}")
            raise
        except DeviceLostError:
            raise  # remaining files are removed the next time the device is held
        except BaseException:
            self._remove_run(directory)
            raise
        self._remove_run(directory)

    def _remove_run(self, directory: str) -> None:
        """Once the results are here, a lost device does no harm: its files are removed later."""
        try:
            self._staging.remove_run(directory)
        except DeviceError as error:
            logger.warning("cannot clean up: %s", error)

    def fetch_outputs(self, staged: StagedFiles, destination: Path) -> None:
        """Verifies every file by its hash."""
        root = staged.output_directory
        found = self._list_outputs(root)
        outputs.check(found.values(), destination)
        hashes = _answers_by_file(self._in_outputs(root, _of_each_file("md5sum")))
        for name in found:
            target = destination / name
            with outputs.storing(destination):
                target.parent.mkdir(parents=True, exist_ok=True)
                self._fetch(f"{root}/{name}", target, hashes.get(name, "vanished"))

    def _list_outputs(self, root: str) -> Mapping[str, int]:
        """Maps relative paths to sizes. The number of files is limited before they are listed."""
        most = outputs.MOST_FILES
        text = self._in_outputs(
            root,
            f"[ $(find . -type f -print0 | tr -cd '\\0' | head -c {most + 1} | wc -c) -le {most} ] || "
            "{ echo too many; exit 0; }; " + _of_each_file("wc -c"),
        )
        if text.startswith("too many\n"):
            raise ProgramOutputError(outputs.TOO_MANY.format(most))
        sizes = {name: int(size) for name, size in _answers_by_file(text).items() if size.isdecimal()}
        if any(name.count("/") > outputs.DEEPEST for name in sizes):
            raise ProgramOutputError(outputs.TOO_DEEP)
        outside = [name for name in sizes if name.startswith("/") or ".." in PurePosixPath(name).parts]
        if outside:
            raise DeviceError(f"{self._shell.connection.address}: unexpected names of outputs: {outside[:3]}")
        return sizes

    def _in_outputs(self, root: str, script: str) -> str:
        """Refuses links: ``cd`` alone would follow a link that a program has put there."""
        text = self._shell.check(
            f"if [ -L {quote(root)} ] || [ ! -d {quote(root)} ]; then echo swapped; exit 0; fi\n"
            f"cd {quote(root)} && {{ {script}; }}",
            timeout_s=300,
            cancellation=self._options.cancellation,
        )
        if text.startswith("swapped\n"):
            raise ProgramOutputError(outputs.SWAPPED)
        return text

    def _fetch(self, source: str, target: Path, digest: str) -> None:
        connection = self._shell.connection
        temporary = target.with_name(f".part-{secrets.token_hex(6)}")
        try:
            connection.pull(source, temporary, cancellation=self._options.cancellation)
            if content_hash(temporary) != digest:
                raise DeviceError(f"{connection.address}: {source} did not arrive completely")
            temporary.rename(target)
        finally:
            temporary.unlink(missing_ok=True)

    # --- programs -------------------------------------------------------------------------------------------

    def launcher(self, program: Program, staged: StagedFiles) -> tuple[str, ...]:
        path = staged.paths[program.path]
        if program.needs_python:
            return (self._python(program), path)
        if not os.access(program.path, os.X_OK):
            raise ProgramStartError(f"{program.path} is not executable; try chmod +x")
        return (path,)

    def _python(self, program: Program) -> str:
        """The device's Python, after a check that it has the modules that the program imports."""
        python = program.python or self._options.remote_python
        if (python, *program.python_modules) not in self._checked_pythons:
            script = (
                "import importlib.util, sys; print(*sys.version_info[:2]); "
                f"print(*(one for one in {list(program.python_modules)!r} "
                "if importlib.util.find_spec(one.split('.')[0]) is None))"
            )
            result = self._shell.run(f"{quote(python)} -c {quote(script)}", timeout_s=60)
            where = f"{self._shell.connection.address}: "
            if result.exit_code in COULD_NOT_START:
                raise ProgramStartError(f"{where}{python!r} does not exist. {self._without_python()}")
            if result.exit_code:
                raise ProgramStartError(f"{where}{python!r} does not work", result.stderr)
            version, missing = result.stdout.splitlines()[:2]
            if missing:
                raise ProgramStartError(
                    f"{where}{python} ({version.replace(' ', '.')}) lacks {missing.replace(' ', ', ')}; "
                    "install it there, or choose another Python with --remote_python"
                )
            self._checked_pythons.add((python, *program.python_modules))
        return python

    def _without_python(self) -> str:
        return "Choose a Python with --remote_python, or a program that needs no Python with --program"

    def run(self, command: Command, cancellation: Cancellation) -> Outcome:
        token = secrets.token_hex(8)
        directory = f"{self._staging.runs}/{token}"
        limit_s = command.timeout_s if command.timeout_s is not None else program_run.NO_LIMIT_S
        own = program_run.script(
            command, directory, token, prefix=self._prefix(command), log=self._log_script()
        )
        script = f"{self._lease.renewal(limit_s)}\n{own}"
        started = time.monotonic()
        try:
            result = self._shell.run(
                script, timeout_s=limit_s + GONE_LIMIT_S + ANSWER_MARGIN_S, cancellation=cancellation
            )
        except RunCancelledError:
            self._wait_until_gone(directory)
            raise
        duration_s = time.monotonic() - started
        end = program_run.read_end(result.stderr, token)
        if end is None:
            said = result.stderr.strip()
            raise DeviceError(f"{self._shell.connection.address}: {last_line(said)}", said)
        if end.exit_code in COULD_NOT_START and not result.stdout:
            raise ProgramStartError(f"cannot start {command.argv[0]!r}", end.stderr.strip())
        return Outcome(
            command=command,
            exit_code=end.exit_code,
            stdout=result.stdout,
            stderr=end.stderr,
            duration_s=duration_s,
            device_log=self._own_lines(end.device_log, end.pid),
            omitted_bytes=result.omitted_bytes,
        )

    def start(self, command: Command, cancellation: Cancellation) -> AbstractContextManager[LiveProgram]:
        token = secrets.token_hex(8)
        limit_s = command.timeout_s if command.timeout_s is not None else program_run.NO_LIMIT_S
        directory = f"{self._staging.runs}/{token}"
        own = program_run.live_script(
            command, directory, token, prefix=self._prefix(command), log=self._log_script()
        )
        script = f"{self._lease.renewal(limit_s)}\n{own}"
        return LiveRun(self._shell, script, directory, token, cancellation)

    def pin(self, pid: int) -> int | None:
        core = (self._options.affinity_mask or self._mask_of(pid)).bit_length() - 1
        if core < 0 or self._shell.run(f"taskset -p {1 << core:x} {pid}").exit_code:
            return None
        return core

    def _mask_of(self, pid: int) -> int:
        """The cores that a process may use: bit 0 is core 0; 0 where that is not known."""
        words = self._shell.run(f"taskset -p {pid}").stdout.split()
        return int(words[-1], 16) if words and re.fullmatch("[0-9a-f]{1,64}", words[-1]) else 0

    def _prefix(self, command: Command) -> tuple[str, ...]:
        """The command that keeps a program on the cores of --affinity; ``taskset`` on Android only accepts
        masks.
        """
        mask = self._options.affinity_mask or command.affinity_mask
        return () if mask is None else ("taskset", f"{mask:x}")

    def _log_script(self) -> str:
        """Prints what the device logged since ``$started``; empty if there is no other log."""
        return ""

    def _own_lines(self, log: str, pid: int | None) -> str:
        return log

    def _wait_until_gone(self, directory: str) -> None:
        """After this side of the connection is closed, the guard on the device ends the program.

        Raises:
            DeviceLostError: the device cannot be asked.
        """
        deadline = time.monotonic() + GONE_LIMIT_S
        alive = f'pid=$(cat {quote(directory)}/pid 2>/dev/null) && kill -s 0 -- "-$pid" 2>/dev/null'
        while self._shell.run(alive).exit_code == 0:
            if time.monotonic() > deadline:
                self._shell.run(f'pid=$(cat {quote(directory)}/pid) && kill -s KILL -- "-$pid"')
                return
            time.sleep(0.1)


def _of_each_file(command: str) -> str:
    """A script that prints the name of each file, terminated by NUL because it may contain anything else, and
    the command's output.
    """
    inner = f'for file; do printf "%s\\0" "$file"; {command} < "$file"; done'
    return f"find . -type f -exec sh -c '{inner}' sh {{}} +"


def _answers_by_file(text: str) -> Mapping[str, str]:
    """The first words of the answers. Names that are not UTF-8 are left out, because nobody can have
    requested them.
    """
    answers = {}
    name, *pieces = text.split("\0")
    for piece in pieces:
        answer, _, following = piece.partition("\n")
        if answer.strip() and "\N{REPLACEMENT CHARACTER}" not in name:
            answers[name.removeprefix("./")] = answer.split()[0]
        name = following
    return answers
