"""``mlbench lab``: runs on the devices of other hosts."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from benchmarking.cli import lab_agent, lab_submit
from benchmarking.cli.argument_types import (
    Parser,
    exit_statuses,
    job_number,
    positive_float,
    positive_int,
)
from benchmarking.cli.running import guarded
from benchmarking.dispatch import LAB_VARIABLE
from benchmarking.errors import EXIT_STATUS_MEANING, ExitStatus, UsageError
from benchmarking.terminal import streams

if TYPE_CHECKING:
    from benchmarking.dispatch.database import Database
    from benchmarking.dispatch.ledger import LabDevice, LabJob, Ledger


GIB = 2**30
ANSWER_LIMIT_S = 10.0
"""Somebody waits for the answer."""

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

    def perform() -> ExitStatus:
        return _COMMANDS[command](lab_database(url).noticing_within(ANSWER_LIMIT_S), values, parser)

    return guarded(name, perform)


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
        help="the lab's database, as in postgresql://ann@lab.example/benchmarks (default: "
        f"{LAB_VARIABLE} in the environment); its password belongs into ~/.pgpass",
    )
    _ARGUMENTS[command](parser)
    return parser


def _has_password(url: str) -> bool:
    with suppress(ValueError):  # which the database says as well
        parts = urlsplit(url)
        return bool(parts.password) or "password" in parse_qs(parts.query)
    return False


def lab_database(url: str | None, environment: Mapping[str, str] = os.environ) -> Database:
    """
    Raises:
        UsageError: there is none, or its password is on the command line.
    """
    from benchmarking.dispatch.database import Database
    from benchmarking.packages import require

    require("procrastinate", "psycopg")
    if url is not None and _has_password(url):
        raise UsageError(
            "--lab: everybody on this machine can read a password on the command line: use ~/.pgpass or "
            f"{LAB_VARIABLE}"
        )
    url = url or environment.get(LAB_VARIABLE)
    if not url:
        raise UsageError(f"which lab? Give --lab postgresql://user@host/database, or set {LAB_VARIABLE}")
    return Database(url)


# --- the other commands -------------------------------------------------------------------------------------


def _status_arguments(parser: Parser) -> None:
    parser.add_argument(
        "jobs", nargs="*", type=job_number, metavar="JOB", help="only these (default: the newest)"
    )
    parser.add_argument("--limit", type=positive_int, default=20, metavar="N", help="how many (default: 20)")
    parser.add_argument("--json", action="store_true", help="print a JSON document")


def _status(database: Database, values: dict[str, Any], parser: Parser) -> ExitStatus:
    from benchmarking.dispatch.ledger import Ledger
    from benchmarking.dispatch.request import RESERVE

    ids = values["jobs"] or None
    with database.connected() as connection:
        ledger = Ledger(connection)
        jobs = ledger.jobs(ids=ids, limit=len(ids) if ids else values["limit"])
        now = ledger.now().timestamp()
    if values["json"]:
        streams.show(json.dumps([asdict(one) for one in jobs], indent=2, default=str) + "\n")
        return ExitStatus.OK
    rows = [
        (
            str(one.id),
            one.state,
            _age(now - one.since),
            one.device_name,
            one.person,
            one.kind if one.kind == RESERVE else one.title,
            f"{one.tests_done} of {one.tests} tests" if one.kind == "measure" else "",
            one.problem,
        )
        for one in jobs
    ]
    _table(("job", "state", "", "device", "person", "what", "done", ""), rows, "no jobs")
    return ExitStatus.OK


def _age(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _logs_arguments(parser: Parser) -> None:
    parser.add_argument("job", type=job_number, metavar="JOB", help="the number of a job")


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
    from benchmarking.dispatch.person import person
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
        job = ReserveJob(protocol=PROTOCOL, submission=new_uid(), person=person(), duration_s=duration_s)
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
    from benchmarking.terminal.console import show_table

    if rows:
        show_table(columns, rows)
    else:
        streams.show(f"{empty}\n")


_ARGUMENTS: Mapping[str, Callable[[Parser], None]] = {
    "agent": lab_agent.add_arguments,
    "submit": lab_submit.add_submit_arguments,
    "status": _status_arguments,
    "wait": lab_submit.add_wait_arguments,
    "logs": _logs_arguments,
    "cancel": lab_submit.add_jobs,
    "devices": _devices_arguments,
    "reserve": _reserve_arguments,
    "release": lab_submit.add_jobs,
    "init": _init_arguments,
}
_COMMANDS: Mapping[str, Callable[[Database, dict[str, Any], Parser], ExitStatus]] = {
    "agent": lab_agent.run,
    "submit": lab_submit.submit,
    "status": _status,
    "wait": lab_submit.wait,
    "logs": _logs,
    "cancel": _cancel,
    "devices": _devices,
    "reserve": _reserve,
    "release": _cancel,
    "init": _init,
}
