"""``mlbench lab agent``: serves the devices of this host."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from benchmarking.cli.argument_types import Parser, comma_separated, path, positive_float, quoted
from benchmarking.errors import ExitStatus, UsageError

if TYPE_CHECKING:
    from benchmarking.dispatch.database import Database
    from benchmarking.driver.survey import FoundDevice

MARK = "ML_BENCHMARK_LAB_AGENT"
"""In the environment of every process that an agent started."""


def add_arguments(parser: Parser) -> None:
    from benchmarking.cli.devices import add_search_options

    add_search_options(parser)
    parser.add_argument(
        "--label",
        type=comma_separated,
        default=(),
        metavar="NAME,...",
        help="words by which these devices can be chosen, for example the room",
    )
    parser.add_argument(
        "--directory",
        type=path,
        metavar="DIRECTORY",
        help="for the files of jobs (default: a directory in the user's cache directory)",
    )
    parser.add_argument(
        "--programs",
        type=path,
        metavar="DIRECTORY",
        help="run only programs whose content is that of a file in this directory, and those of the "
        "frameworks (default: every program that a job brings)",
    )
    parser.add_argument(
        "--builds",
        type=comma_separated,
        default=(),
        metavar="PLATFORM,...",
        help="also build commits for these platforms: runs build scripts of everybody who may submit "
        "(default: no builds)",
    )
    parser.add_argument("--allow_code", action="store_true", help="run code that model files contain")
    parser.add_argument(
        "--lost_after",
        type=positive_float,
        default=60.0,
        metavar="SECONDS",
        help="begin the jobs of an agent again that gave no sign of life for so long (default: 60)",
    )
    parser.add_argument("--name", metavar="HOST", help="the name of this host (default: its host name)")


def run(database: Database, values: dict[str, Any], parser: Parser) -> ExitStatus:
    from benchmarking.dispatch import host_files
    from benchmarking.dispatch.agent import Agent
    from benchmarking.dispatch.job_run import Host
    from benchmarking.files.user import user_directory
    from benchmarking.programs import leftovers
    from benchmarking.programs.process import Tether

    directory = values["directory"] or user_directory("cache") / "lab"
    if values["programs"] is not None and not values["programs"].is_dir():
        raise UsageError(f"--programs: there is no directory {quoted(str(values['programs']))}")
    with ExitStack() as opened:
        try:
            (directory / "jobs").mkdir(parents=True, exist_ok=True)
            _be_the_only_agent(opened.enter_context((directory / "agent.lock").open("a")), directory)
            identity = _identity(directory / "identity")
            inherited = opened.enter_context((directory / "runs").open("a"))
        except OSError as error:
            raise UsageError(f"--directory: {error.filename}: {error.strerror}") from error
        tether = Tether(inherited.fileno(), MARK, f"{directory.absolute()}//")  # which no path has
        leftovers.end_marked(MARK, lambda mark: mark.startswith(tether.mark), "an earlier agent")
        host_files.remove_left(directory)
        host = Host(
            name=values["name"] or os.uname().nodename,
            identity=identity,
            directory=directory,
            tether=tether,
            programs=values["programs"],
            builds=tuple(values["builds"]),
            arguments=("--allow_code",) if values["allow_code"] else (),
        )
        agent = Agent(database, host, _survey(values), tuple(values["label"]), values["lost_after"])
        asyncio.run(_until_signal(agent.run))
    return ExitStatus.OK


def _be_the_only_agent(lock: IO[str], directory: Path) -> None:
    """No run inherits this lock: it is free as soon as the agent is gone, and its runs can be ended then.

    Raises:
        UsageError: another agent works here.
    """
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UsageError(f"another agent works in {directory}: give --directory for a second one") from None


def _identity(path: Path) -> str:
    """Of whoever works in this directory, over restarts."""
    from benchmarking.files import atomic_file
    from benchmarking.results.model import new_uid

    if not path.exists():
        atomic_file.write_text(path, new_uid())
    return path.read_text(encoding="utf-8")


def _survey(values: Mapping[str, Any]) -> Callable[[], list[FoundDevice]]:
    from benchmarking.cli.devices import search
    from benchmarking.dispatch.request import BUILD
    from benchmarking.driver.survey import FoundDevice
    from benchmarking.programs.process import Cancellation

    builds = [FoundDevice(BUILD, f"builder for {one}", one) for one in values["builds"]]

    def look() -> list[FoundDevice]:
        with Cancellation() as cancellation:
            return [*search(values["platform"], values["devices"], cancellation), *builds]

    return look


async def _until_signal(work: Callable[[asyncio.Event], Any]) -> None:
    end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, end.set)
    await work(end)
