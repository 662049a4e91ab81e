"""``mlbench lab``: runs on the devices of other hosts."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from benchmarking.cli import harness
from benchmarking.cli.argument_types import (
    Parser,
    comma_separated,
    exit_statuses,
    path,
    positive_float,
    positive_int,
    quoted,
)
from benchmarking.cli.declared import add_options, declarations
from benchmarking.cli.harness_arguments import MODEL_DEFAULTS, add_files, options_of
from benchmarking.cli.options import DESCRIPTIONS, REPORTS, HarnessOptions
from benchmarking.cli.running import cancelled_by_signals, guarded
from benchmarking.errors import EXIT_STATUS_MEANING, ExitStatus, RunCancelledError, UsageError
from benchmarking.terminal import streams

if TYPE_CHECKING:
    from benchmarking.dispatch.database import Database
    from benchmarking.dispatch.following import Following
    from benchmarking.dispatch.job_run import Host
    from benchmarking.dispatch.ledger import LabDevice, LabJob, Ledger
    from benchmarking.dispatch.request import MeasureJob
    from benchmarking.driver.survey import FoundDevice
    from benchmarking.programs.process import Cancellation
    from benchmarking.reporters.reporters import ReporterGroup

VARIABLE = "ML_BENCHMARK_LAB"
GIB = 2**30
AGENT_MARK = "ML_BENCHMARK_LAB_AGENT"
PACKED_OPTIONS = (
    *("input", "threads", "root_model_dir", "program", "shared_libs", "info"),
    *(name for name, one in declarations(HarnessOptions).items() if one.group == REPORTS),
)
"""Options of a run that are for the submitter's own host, or whose files are sent along."""
PIPED_WIDTH = 200

SUMMARIES = {
    "agent": "serve the devices of this host",
    "submit": "run benchmarks on devices of the lab",
    "status": "show waiting, running and finished jobs",
    "wait": "follow jobs until they are over, and report their results",
    "logs": "show the log of a job",
    "cancel": "take jobs from the queue, or end them",
    "devices": "show the devices of the lab",
    "reserve": "keep everybody else's jobs from a device",
    "release": "end a reservation",
    "init": "make the tables of a lab, and set its quotas",
}


def main(argv: Sequence[str], program: str) -> int:
    arguments = make_parser(program).parse(argv[:1])
    command = arguments.command
    name = f"{program} {command}"
    parser = command_parser(command, name)
    values = vars(parser.parse(argv[1:]))
    streams.log_to_stderr(values.pop("log_level", "info"))
    url = values.pop("lab")
    return guarded(name, lambda: _COMMANDS[command](lab_database(url), values, parser))


def make_parser(program: str) -> Parser:
    lines = [f"  {name:<10}{summary}" for name, summary in SUMMARIES.items()]
    parser = Parser(
        program,
        description="Run benchmarks on the devices of other hosts.",
        epilog="\n".join(
            ["commands:", *lines, "", f"{program} COMMAND --help shows the options of a command."]
        ),
    )
    parser.add_argument("command", choices=SUMMARIES, metavar="COMMAND", help="what to do")
    return parser


def command_parser(command: str, program: str) -> Parser:
    summary = SUMMARIES[command]
    statuses = exit_statuses(EXIT_STATUS_MEANING) if command in ("submit", "wait") else ""
    parser = Parser(program, description=f"{summary[0].upper()}{summary[1:]}.", epilog=statuses)
    parser.add_argument(
        "--lab",
        metavar="URL",
        help=f"the lab's database, as in postgresql://ann@lab.example/benchmarks (default: {VARIABLE} in the "
        "environment); its password belongs into ~/.pgpass",
    )
    _ARGUMENTS[command](parser)
    return parser


def lab_database(url: str | None) -> Database:
    """
    Raises:
        UsageError: there is none, or its password is on the command line.
    """
    from benchmarking.dispatch.database import Database
    from benchmarking.packages import require

    require("procrastinate", "psycopg")
    if url is not None and urlsplit(url).password:
        raise UsageError(
            "--lab: everybody on this machine can read a password on the command line: use ~/.pgpass or "
            f"{VARIABLE}"
        )
    url = url or os.environ.get(VARIABLE)
    if not url:
        raise UsageError(f"which lab? Give --lab postgresql://user@host/database, or set {VARIABLE}")
    return Database(url)


# --- agent --------------------------------------------------------------------------------------------------


def _agent_arguments(parser: Parser) -> None:
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
    parser.add_argument("--allow_code", action="store_true", help="run code that model files contain")
    parser.add_argument(
        "--lost_after",
        type=positive_float,
        default=60.0,
        metavar="SECONDS",
        help="begin the jobs of an agent again that gave no sign of life for so long (default: 60)",
    )
    parser.add_argument("--name", metavar="HOST", help="the name of this host (default: its host name)")


def _agent(database: Database, values: dict[str, Any], parser: Parser) -> ExitStatus:
    from benchmarking.dispatch.agent import Agent
    from benchmarking.files.user import user_directory
    from benchmarking.programs import leftovers

    name = values["name"] or os.uname().nodename
    directory = values["directory"] or user_directory("cache") / "lab"
    (directory / "jobs").mkdir(parents=True, exist_ok=True)
    if values["programs"] is not None and not values["programs"].is_dir():
        raise UsageError(f"--programs: there is no directory {quoted(str(values['programs']))}")
    with (directory / "agent.lock").open("a") as lock:
        tether = _only_agent(lock.fileno(), directory)
        leftovers.end_marked(AGENT_MARK, tether.mark.__eq__, "an earlier agent")
        host = _host(name, directory, tether, values)
        agent = Agent(database, host, _survey(values), tuple(values["label"]), values["lost_after"])
        asyncio.run(_until_signal(agent.run))
    return ExitStatus.OK


def _only_agent(descriptor: int, directory: Path) -> Any:
    """
    Raises:
        UsageError: another agent of this user works here.
    """
    import fcntl

    from benchmarking.programs.process import Tether

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        # Runs that a killed agent left hold the lock as well: they are ended first.
        from benchmarking.programs import leftovers

        leftovers.end_marked(AGENT_MARK, str(directory.absolute()).__eq__, "an earlier agent")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"another agent works in {directory}: give --directory for a second one"
            ) from None
    return Tether(descriptor, AGENT_MARK, str(directory.absolute()))


def _host(name: str, directory: Path, tether: Any, values: Mapping[str, Any]) -> Host:
    from benchmarking.dispatch.job_run import Host

    return Host(
        name=name,
        directory=directory,
        tether=tether,
        programs=values["programs"],
        arguments=("--allow_code",) if values["allow_code"] else (),
    )


def _survey(values: Mapping[str, Any]) -> Callable[[], list[FoundDevice]]:
    from benchmarking.cli.devices import addresses_for
    from benchmarking.cli.wiring import platform_options
    from benchmarking.driver.survey import survey
    from benchmarking.platforms.platforms import find_platform
    from benchmarking.programs.process import Cancellation

    names = {name: find_platform(name).name for name in values["platform"]}

    def look() -> list[FoundDevice]:
        with Cancellation() as cancellation:
            options = platform_options(HarnessOptions(benchmark_file=Path()), cancellation)
            found: list[FoundDevice] = []
            for name, kind in names.items():
                devices = addresses_for(kind, values["devices"], android_too="android" in names.values())
                found += survey(name, replace(options, devices=devices), check=False)
            return found

    return look


async def _until_signal(work: Callable[[asyncio.Event], Any]) -> None:
    end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, end.set)
    await work(end)


# --- submit and wait ----------------------------------------------------------------------------------------


def _submit_arguments(parser: Parser) -> None:
    from benchmarking.dispatch.job_run import ALLOWED_OPTIONS

    add_files(parser)
    group = parser.add_argument_group("where to run")
    group.add_argument(
        "--on",
        default="",
        metavar="CONDITION,...",
        help="devices: by name, hash, platform, model, architecture or label, and by facts, as in "
        "android,arm64,memory>=8GB (default: any device)",
    )
    group.add_argument("--all", action="store_true", help="on every such device (default: on one of them)")
    group.add_argument("--detach", action="store_true", help="do not wait for the end of the jobs")
    add_options(parser, HarnessOptions, DESCRIPTIONS, (), only={*ALLOWED_OPTIONS, *PACKED_OPTIONS})
    parser.set_defaults(**dict.fromkeys(MODEL_DEFAULTS))


def _submit(database: Database, values: dict[str, Any], parser: Parser) -> ExitStatus:
    from benchmarking.dispatch.ledger import Ledger
    from benchmarking.dispatch.targets import Target, choose
    from benchmarking.programs.process import Cancellation

    target, every, detach = Target.of(values.pop("on")), values.pop("all"), values.pop("detach")
    options = options_of(values, parser)
    database.check()
    with Cancellation() as cancellation, cancelled_by_signals(cancellation):
        reporters = [] if detach else harness.make_reporters(options, cancellation)
        with database.connected() as connection:
            ledger = Ledger(connection)
            chosen = choose(ledger.devices(), target, every=every)
            ids = _send(database, ledger, options, chosen)
        numbers = ",".join(map(str, ids))
        names = ", ".join(one.name for one in chosen)
        again = f"mlbench lab wait {numbers}"
        streams.show_message(f"job{'s' if len(ids) > 1 else ''} {numbers} on {names}")
        if detach:
            streams.show_message(f"{again} shows the results")
            return ExitStatus.OK
        return _follow(database, ids, options, reporters, cancellation, again)


def _send(
    database: Database, ledger: Ledger, options: HarnessOptions, chosen: Sequence[LabDevice]
) -> list[int]:
    from benchmarking.dispatch import blobs
    from benchmarking.dispatch.packing import Package
    from benchmarking.dispatch.request import MEASURE

    with tempfile.TemporaryDirectory(prefix="benchmark-lab-") as name:
        package = Package(Path(name), options.root_model_dir)
        request = _request(options, package, len(chosen))
        sizes = sum({one.sha256: one.size_bytes for one in package.files.values()}.values())
        sent = 0
        for relative, source in package.sources.items():
            file = package.files[relative]
            sent += file.size_bytes * blobs.send(ledger.connection, source, file, request.person)
        streams.show_message(
            f"{len(package.files)} files, {sizes / 1e6:.1f} MB, of which {sent / 1e6:.1f} sent"
        )
    jobs = [
        (one, request.model_copy(update={"platform": one.platform, "device": one.hash})) for one in chosen
    ]
    return ledger.submit(database, _title(options), MEASURE, jobs, len(request.tests))


def _title(options: HarnessOptions) -> str:
    return ", ".join(one.name for one in options.benchmark_files)


def _request(options: HarnessOptions, package: Any, devices: int) -> MeasureJob:
    """What is asked for, before a device is chosen.

    Raises:
        UsageError: the specification or an option is wrong.
    """
    from benchmarking.dispatch.job_run import ALLOWED_OPTIONS
    from benchmarking.dispatch.request import PROTOCOL, MeasureJob, TestNames
    from benchmarking.results.model import new_uid

    loaded = harness.load_benchmarks(options)
    info = harness.info_of(options)
    cases = harness.expand_cases(options, loaded, harness.frameworks_of(options))
    cases = harness.chosen_cases(cases, info)
    package.add_benchmarks(loaded)
    program = package.add(options.program, "programs") if options.program is not None else None
    libraries = [package.add(Path(one).expanduser(), "libraries") for one in options.shared_libs]
    compared = sum(case.metric == "delay" and case.refusal is None for case in cases)
    options = replace(options, comparisons=options.comparisons or max(1, compared * devices))
    tests = dict.fromkeys((case.model.name, case.metric, case.identifier) for case in cases)
    return MeasureJob(
        protocol=PROTOCOL,
        submission=new_uid(),
        person=_person(),
        platform="any",
        device="any",
        files=package.files,
        options={
            name: _text(name, value)
            for name in sorted(ALLOWED_OPTIONS)
            if (value := getattr(options, name)) != getattr(HarnessOptions, name)
        },
        program=program,
        shared_libs=libraries,
        info=package.add_info(info),
        tests=[TestNames(net=net, metric=metric, identifier=name) for net, metric, name in tests],
    )


def _text(name: str, value: Any) -> str:
    return "" if value is True else declarations(HarnessOptions)[name].write(value)


def _person() -> str:
    from benchmarking.files.user import user_name

    return f"{user_name()}@{os.uname().nodename}"


def _wait_arguments(parser: Parser) -> None:
    _job_argument(parser)
    names = [name for name, one in declarations(HarnessOptions).items() if one.group == REPORTS]
    add_options(parser, HarnessOptions, DESCRIPTIONS, (), only={*names, "fail_on"})


def _wait(database: Database, values: dict[str, Any], parser: Parser) -> ExitStatus:
    from benchmarking.programs.process import Cancellation

    ids = values.pop("jobs")
    options = HarnessOptions(benchmark_file=Path(), **values)
    database.check()
    with Cancellation() as cancellation, cancelled_by_signals(cancellation):
        reporters = harness.make_reporters(options, cancellation)
        return _follow(database, ids, options, reporters, cancellation, "the same command")


def _follow(
    database: Database,
    ids: Sequence[int],
    options: HarnessOptions,
    reporters: Sequence[Any],
    cancellation: Cancellation,
    again: str,
) -> ExitStatus:
    from benchmarking.dispatch.following import Following
    from benchmarking.reporters.reporters import ReporterGroup

    started = time.monotonic()
    group = ReporterGroup(reporters)
    names: dict[int, str] = {}

    def show(job: LabJob, content: str) -> None:
        name = f"{names.setdefault(job.id, job.device_name)}: " if len(ids) > 1 else ""
        for line in content.splitlines():
            streams.show_message(f"{name}{line}")

    following = Following(database, ids, lambda results: group.report(*results), show)
    group.begin()
    try:
        jobs = following.until_over(cancellation)
    except RunCancelledError as error:
        stopped = RunCancelledError(f"{error}; {again} shows their results, mlbench lab cancel ends them")
        group.abort(stopped, time.monotonic() - started)
        raise stopped from None
    missing = {*ids} - {one.id for one in jobs}
    if missing:
        raise UsageError(f"the lab has no job {', '.join(map(str, sorted(missing)))}")
    return _outcome(following, jobs, options, group, time.monotonic() - started)


def _outcome(
    following: Following,
    jobs: Sequence[LabJob],
    options: HarnessOptions,
    group: ReporterGroup,
    duration_s: float,
) -> ExitStatus:
    from benchmarking.dispatch.following import worst_status
    from benchmarking.driver.session import exit_status

    problems = [f"job {one.id} on {one.device_name}: {one.problem}" for one in jobs if one.problem]
    status = exit_status(following.results, cancelled=False, fail_on=options.fail_on)
    of_jobs = worst_status(jobs)
    if of_jobs is not None and status is not ExitStatus.INTERNAL_ERROR:
        status = of_jobs
    return group.finish(status, duration_s, problems)


# --- the other commands -------------------------------------------------------------------------------------


def _job_argument(parser: Parser) -> None:
    parser.add_argument(
        "jobs",
        nargs="+",
        type=positive_int,
        action="extend",
        metavar="JOB",
        help="the numbers of jobs, as submit and status show them",
    )


def _status_arguments(parser: Parser) -> None:
    parser.add_argument(
        "jobs", nargs="*", type=positive_int, metavar="JOB", help="only these (default: the newest)"
    )
    parser.add_argument("--limit", type=positive_int, default=20, metavar="N", help="how many (default: 20)")
    parser.add_argument("--json", action="store_true", help="print a JSON document")


def _status(database: Database, values: dict[str, Any], parser: Parser) -> ExitStatus:
    from benchmarking.dispatch.ledger import Ledger

    ids = values["jobs"] or None
    with database.connected() as connection:
        jobs = Ledger(connection).jobs(ids=ids, limit=len(ids) if ids else values["limit"])
    if values["json"]:
        streams.show(json.dumps([asdict(one) for one in jobs], indent=2, default=str) + "\n")
        return ExitStatus.OK
    rows = [
        (
            str(one.id),
            one.state,
            _age(one.since),
            one.device_name,
            one.person,
            one.title if one.kind == "measure" else one.kind,
            f"{one.tests_done} of {one.tests} tests" if one.kind == "measure" else "",
            one.problem,
        )
        for one in jobs
    ]
    _table(("job", "state", "", "device", "person", "what", "done", ""), rows, "no jobs")
    return ExitStatus.OK


def _age(since: float) -> str:
    seconds = max(0.0, time.time() - since)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _logs_arguments(parser: Parser) -> None:
    parser.add_argument("job", type=positive_int, metavar="JOB", help="the number of a job")


def _logs(database: Database, values: dict[str, Any], parser: Parser) -> ExitStatus:
    from benchmarking.dispatch.ledger import Ledger

    with database.connected() as connection:
        ledger = Ledger(connection)
        (job,) = _existing(ledger, [values["job"]])
        for _, content in ledger.log(job.id):
            streams.show(content)
    if job.problem:
        streams.show_message(job.problem)
    return ExitStatus.OK


def _existing(ledger: Ledger, ids: Sequence[int]) -> list[LabJob]:
    found = ledger.jobs(ids=ids, limit=len(ids))
    missing = sorted({*ids} - {one.id for one in found})
    if missing:
        raise UsageError(f"the lab has no job {', '.join(map(str, missing))}")
    return found


def _cancel(database: Database, values: dict[str, Any], parser: Parser) -> ExitStatus:
    from benchmarking.dispatch.ledger import Ledger

    with database.connected() as connection:
        ledger = Ledger(connection)
        for job in _existing(ledger, values["jobs"]):
            words = "cancelled" if ledger.cancel(job.id) else f"was over: {job.state}"
            streams.show(f"job {job.id} {words}\n")
    return ExitStatus.OK


def _devices_arguments(parser: Parser) -> None:
    parser.add_argument("--on", default="", metavar="CONDITION,...", help="only these, as for submit")
    parser.add_argument("--json", action="store_true", help="print a JSON document")


def _devices(database: Database, values: dict[str, Any], parser: Parser) -> ExitStatus:
    from benchmarking.dispatch.ledger import Ledger
    from benchmarking.dispatch.targets import Target

    target = Target.of(values["on"])
    with database.connected() as connection:
        devices = [one for one in Ledger(connection).devices() if target.fits(one)]
    if values["json"]:
        streams.show(json.dumps([asdict(one) for one in devices], indent=2, default=str) + "\n")
        return ExitStatus.OK
    rows = [
        (
            one.platform,
            one.name,
            one.hash,
            one.host,
            one.state,
            _queue(one),
        )
        for one in devices
    ]
    _table(("platform", "device", "hash", "host", "state", ""), rows, "no device")
    return ExitStatus.OK


def _queue(device: LabDevice) -> str:
    waiting = f"{device.waiting} waiting" if device.waiting else ""
    return ", ".join(filter(None, [device.running, waiting, device.reason]))


def _reserve_arguments(parser: Parser) -> None:
    parser.add_argument("on", metavar="DEVICE", help="its name or hash, or conditions as for submit")
    parser.add_argument(
        "--hours", type=positive_float, default=1.0, metavar="N", help="for how long (default: 1)"
    )


def _reserve(database: Database, values: dict[str, Any], parser: Parser) -> ExitStatus:
    from benchmarking.dispatch.ledger import Ledger
    from benchmarking.dispatch.request import LONGEST_RESERVATION_S, PROTOCOL, RESERVE, ReserveJob
    from benchmarking.dispatch.targets import Target, choose
    from benchmarking.results.model import new_uid

    duration_s = values["hours"] * 3600
    if duration_s > LONGEST_RESERVATION_S:
        raise UsageError(f"--hours: at most {LONGEST_RESERVATION_S / 3600:g}")
    database.check()
    with database.connected() as connection:
        ledger = Ledger(connection)
        (device,) = choose(ledger.devices(), Target.of(values["on"]), every=False)
        job = ReserveJob(protocol=PROTOCOL, submission=new_uid(), person=_person(), duration_s=duration_s)
        (number,) = ledger.submit(
            database, f"reserved for {values['hours']:g} h", RESERVE, [(device, job)], 0
        )
    streams.show(f"job {number} reserves {device.name} after those that wait before it\n")
    streams.show_message(f"mlbench lab release {number} ends the reservation")
    return ExitStatus.OK


def _init_arguments(parser: Parser) -> None:
    parser.add_argument(
        "--blob_quota",
        type=positive_float,
        default=50.0,
        metavar="GIB",
        help="the limit on the files of a person (default: 50)",
    )
    parser.add_argument(
        "--job_quota",
        type=positive_int,
        default=1000,
        metavar="N",
        help="the limit on a person's waiting jobs (default: 1000)",
    )
    parser.add_argument(
        "--remove_files_after",
        type=positive_int,
        metavar="DAYS",
        help="also remove files that no job used for so long",
    )


def _init(database: Database, values: dict[str, Any], parser: Parser) -> ExitStatus:
    from benchmarking.dispatch import blobs

    is_new = database.initialize(
        blob_quota_bytes=int(values["blob_quota"] * GIB), job_quota=values["job_quota"]
    )
    streams.show(f"the lab on {database.name} {'is ready' if is_new else 'was there; its quotas are set'}\n")
    if values["remove_files_after"]:
        with database.connected() as connection:
            streams.show(f"{blobs.remove_unused(connection, values['remove_files_after'])} files removed\n")
    return ExitStatus.OK


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> None:
    from rich.table import Table

    from benchmarking.terminal.console import PlainConsole

    if not rows:
        streams.show(f"{empty}\n")
        return
    stream = streams.standard_output()
    console = PlainConsole(stream, None if stream.isatty() else PIPED_WIDTH)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    with console.capture() as capture:
        console.print(table)
    streams.show("".join(f"{line.rstrip()}\n" for line in capture.get().splitlines()), is_styled=True)


_ARGUMENTS: Mapping[str, Callable[[Parser], None]] = {
    "agent": _agent_arguments,
    "submit": _submit_arguments,
    "status": _status_arguments,
    "wait": _wait_arguments,
    "logs": _logs_arguments,
    "cancel": _job_argument,
    "devices": _devices_arguments,
    "reserve": _reserve_arguments,
    "release": _job_argument,
    "init": _init_arguments,
}
_COMMANDS: Mapping[str, Callable[[Database, dict[str, Any], Parser], ExitStatus]] = {
    "agent": _agent,
    "submit": _submit,
    "status": _status,
    "wait": _wait,
    "logs": _logs,
    "cancel": _cancel,
    "devices": _devices,
    "reserve": _reserve,
    "release": _cancel,
    "init": _init,
}
