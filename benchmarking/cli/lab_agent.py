"""``mlbench lab agent``: serves the devices of this host."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarking.cli.argument_types import Parser, comma_separated, path, positive_float, quoted
from benchmarking.cli.options import HarnessOptions
from benchmarking.errors import ExitStatus, UsageError

if TYPE_CHECKING:
    from benchmarking.dispatch.database import Database
    from benchmarking.dispatch.job_run import Host
    from benchmarking.driver.survey import FoundDevice
    from benchmarking.programs.process import Tether

MARK = "ML_BENCHMARK_LAB_AGENT"
"""In the environment of every process that an agent started."""


def add_arguments(parser: Parser) -> None:
    from benchmarking.platforms.platforms import platform_names

    parser.add_argument(
        "--platform",
        type=comma_separated,
        default=platform_names(),
        metavar="PLATFORM,...",
        help=f"only devices of these: {', '.join(platform_names())} (default: all)",
    )
    parser.add_argument(
        "--devices",
        type=comma_separated,
        default=(),
        metavar="DEVICE,...",
        help="addresses that cannot be discovered, as of mlbench devices",
    )
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
    from benchmarking.dispatch.agent import Agent
    from benchmarking.files.user import user_directory
    from benchmarking.programs import leftovers
    from benchmarking.programs.process import Tether

    name = values["name"] or os.uname().nodename
    directory = values["directory"] or user_directory("cache") / "lab"
    (directory / "jobs").mkdir(parents=True, exist_ok=True)
    if values["programs"] is not None and not values["programs"].is_dir():
        raise UsageError(f"--programs: there is no directory {quoted(str(values['programs']))}")
    with (directory / "agent.lock").open("a") as own, (directory / "runs").open("a") as inherited:
        _be_the_only_agent(own.fileno(), directory)
        tether = Tether(inherited.fileno(), MARK, str(directory.absolute()))
        leftovers.end_marked(MARK, tether.mark.__eq__, "an earlier agent")
        host = _host(name, directory, tether, values)
        agent = Agent(database, host, _survey(values), tuple(values["label"]), values["lost_after"])
        asyncio.run(_until_signal(agent.run))
    return ExitStatus.OK


def _be_the_only_agent(descriptor: int, directory: Path) -> None:
    """No run inherits this lock: it is free as soon as the agent is gone, and its runs can be ended then.

    Raises:
        UsageError: another agent works here.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UsageError(f"another agent works in {directory}: give --directory for a second one") from None


def _host(name: str, directory: Path, tether: Tether, values: Mapping[str, Any]) -> Host:
    from benchmarking.dispatch.job_run import Host

    return Host(
        name=name,
        directory=directory,
        tether=tether,
        programs=values["programs"],
        builds=tuple(values["builds"]),
        arguments=("--allow_code",) if values["allow_code"] else (),
    )


def _survey(values: Mapping[str, Any]) -> Callable[[], list[FoundDevice]]:
    from benchmarking.cli.devices import addresses_for
    from benchmarking.cli.wiring import platform_options
    from benchmarking.dispatch.request import BUILD
    from benchmarking.driver.survey import FoundDevice, survey
    from benchmarking.platforms.platforms import find_platform
    from benchmarking.programs.process import Cancellation

    names = {name: find_platform(name).name for name in values["platform"]}
    builds = [FoundDevice(BUILD, f"builds for {one}", one) for one in values["builds"]]

    def look() -> list[FoundDevice]:
        with Cancellation() as cancellation:
            options = platform_options(HarnessOptions(benchmark_file=Path()), cancellation)
            found: list[FoundDevice] = []
            for name, kind in names.items():
                devices = addresses_for(kind, values["devices"], android_too="android" in names.values())
                found += survey(name, replace(options, devices=devices), check=False)
            return [*found, *builds]

    return look


async def _until_signal(work: Callable[[asyncio.Event], Any]) -> None:
    end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, end.set)
    await work(end)
