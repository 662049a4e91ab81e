"""``mlbench lab submit`` and ``wait``: the results of devices elsewhere, as if they were here."""

from __future__ import annotations

import hashlib
import logging
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarking.cli import harness
from benchmarking.cli.argument_types import Parser, job_number, positive_float
from benchmarking.cli.declared import add_options, declarations
from benchmarking.cli.harness_arguments import MODEL_DEFAULTS, add_files, options_of
from benchmarking.cli.options import DESCRIPTIONS, REPORTS, HarnessOptions
from benchmarking.cli.running import cancelled_by_signals
from benchmarking.errors import ExitStatus, NoDeviceError, RunCancelledError
from benchmarking.terminal import streams

if TYPE_CHECKING:
    from benchmarking.dispatch.database import Database
    from benchmarking.dispatch.following import Following
    from benchmarking.dispatch.ledger import LabDevice, LabJob, Ledger
    from benchmarking.dispatch.packing import Package
    from benchmarking.dispatch.request import MeasureJob
    from benchmarking.programs.process import Cancellation
    from benchmarking.reporters.reporter_base import ReporterBase
    from benchmarking.reporters.reporters import ReporterGroup

logger = logging.getLogger(__name__)

OWN_OPTIONS = (
    *("benchmark_file", "validate", "input", "threads", "root_model_dir", "program", "shared_libs", "info"),
    *(name for name, one in declarations(HarnessOptions).items() if one.group == REPORTS),
)
"""Options of a run that are for the submitter's own host, or whose files are sent along."""


def add_jobs(parser: Parser) -> None:
    parser.add_argument(
        "jobs",
        nargs="+",
        type=job_number,
        action="extend",
        metavar="JOB",
        help="the numbers of jobs, as submit and status show them",
    )


def add_submit_arguments(parser: Parser) -> None:
    from benchmarking.dispatch.measure_run import ALLOWED_OPTIONS

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
    group.add_argument(
        "--run_limit",
        type=positive_float,
        metavar="SECONDS",
        help="end a run that takes longer on its device; the time in the queue is not counted",
    )
    group.add_argument(
        "--key",
        metavar="NAME",
        help="submit only once under this name; given again, follow the jobs of the first time",
    )
    add_options(parser, HarnessOptions, DESCRIPTIONS, (), only={*ALLOWED_OPTIONS, *OWN_OPTIONS})
    parser.set_defaults(**dict.fromkeys(MODEL_DEFAULTS))


def submit(database: Database, values: dict[str, Any], parser: Parser) -> ExitStatus:
    from benchmarking.dispatch.ledger import Ledger
    from benchmarking.dispatch.packing import Package
    from benchmarking.dispatch.targets import Target, choose
    from benchmarking.programs.process import Cancellation

    target, every, detach = Target.of(values.pop("on")), values.pop("all"), values.pop("detach")
    submission = _submission(values.pop("key"))
    run_limit_s = values.pop("run_limit")
    options = options_of(values, parser)
    with Cancellation() as cancellation, cancelled_by_signals(cancellation):
        database = database.interrupted_by(cancellation)
        database.check()
        reporters = [] if detach or options.validate else harness.make_reporters(options, cancellation)
        with database.connected() as connection:
            ledger = Ledger(connection)
            ids = [] if options.validate else ledger.of_submission(submission)
            if not ids:
                try:
                    chosen = choose(ledger.devices(), target, every=every)
                except NoDeviceError as error:
                    if not options.validate:
                        raise
                    logger.warning("%s", error)
                    chosen = []
                with tempfile.TemporaryDirectory(prefix="benchmark-lab-") as name:
                    package = Package(Path(name), options.root_model_dir)
                    request = _request(options, package, len(chosen), submission, run_limit_s)
                    if options.validate:
                        return _show_valid(request, chosen)
                    ids = _send(database, ledger, _title(options), chosen, package, request)
            jobs = ledger.jobs(ids=ids, limit=len(ids))
        numbers = " ".join(map(str, ids))
        names = ", ".join(one.device_name for one in jobs)
        again = f"mlbench lab wait {numbers}"
        streams.show_message(f"job{'s' if len(ids) > 1 else ''} {numbers} on {names}")
        if detach:
            streams.show_message(f"{again} shows the results")
            return ExitStatus.OK
        return _follow(database, ids, options, reporters, cancellation, again)


def _submission(key: str | None) -> str:
    """The same for the same key of the same person."""
    from benchmarking.dispatch.person import person
    from benchmarking.results.model import new_uid

    if key is None:
        return new_uid()
    return hashlib.sha256(f"{person()}\0{key}".encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _show_valid(request: MeasureJob, chosen: Sequence[LabDevice]) -> ExitStatus:
    from benchmarking.reporters.numbers import counted

    names = ", ".join(one.name for one in chosen)
    streams.show(f"no faults; {counted(len(request.tests), 'test')} on {names or 'no device now'}\n")
    return ExitStatus.OK


def _send(
    database: Database,
    ledger: Ledger,
    title: str,
    chosen: Sequence[LabDevice],
    package: Package,
    request: MeasureJob,
) -> list[int]:
    from benchmarking.dispatch.request import MEASURE

    sizes = sum({one.sha256: one.size_bytes for one in package.files.values()}.values())
    sent = package.send(ledger.connection, request.person)
    streams.show_message(f"{len(package.files)} files, {sizes / 1e6:.1f} MB, of which {sent / 1e6:.1f} sent")
    jobs = [
        (one, request.model_copy(update={"platform": one.platform, "device": one.hash})) for one in chosen
    ]
    return ledger.submit(database, title, MEASURE, jobs, len(request.tests))


def _title(options: HarnessOptions) -> str:
    return ", ".join(one.name for one in options.benchmark_files)


def _request(
    options: HarnessOptions, package: Package, devices: int, submission: str, run_limit_s: float | None
) -> MeasureJob:
    """What is asked for, before a device is chosen.

    Raises:
        UsageError: the specification or an option is wrong.
    """
    from benchmarking.dispatch.measure_run import ALLOWED_OPTIONS
    from benchmarking.dispatch.person import person
    from benchmarking.dispatch.request import PROTOCOL, MeasureJob
    from benchmarking.specs.run_info import TestName

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
    history = None
    if info.regression_commits:
        saved = harness.saved_results(options)
        history = package.add_history(saved, info.regression_commits, [net for net, _, _ in tests])
    return MeasureJob(
        protocol=PROTOCOL,
        submission=submission,
        person=person(),
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
        tests=[TestName(net=net, metric=metric, identifier=name) for net, metric, name in tests],
        history=history,
        run_limit_s=run_limit_s,
    )


def _text(name: str, value: Any) -> str:
    return "" if value is True else declarations(HarnessOptions)[name].write(value)


def add_wait_arguments(parser: Parser) -> None:
    add_jobs(parser)
    names = [name for name, one in declarations(HarnessOptions).items() if one.group == REPORTS]
    add_options(parser, HarnessOptions, DESCRIPTIONS, (), only={*names, "fail_on"})


def wait(database: Database, values: dict[str, Any], parser: Parser) -> ExitStatus:
    from benchmarking.programs.process import Cancellation

    ids = values.pop("jobs")
    options = HarnessOptions(benchmark_file=Path(), **values)
    with Cancellation() as cancellation, cancelled_by_signals(cancellation):
        reporters = harness.make_reporters(options, cancellation)
        return _follow(database, ids, options, reporters, cancellation, "the same command")


def _follow(
    database: Database,
    ids: Sequence[int],
    options: HarnessOptions,
    reporters: Sequence[ReporterBase],
    cancellation: Cancellation,
    again: str,
) -> ExitStatus:
    from benchmarking.dispatch.following import Following
    from benchmarking.reporters.reporters import ReporterGroup

    started = time.monotonic()
    group = ReporterGroup(reporters)

    def show(job: LabJob, content: str) -> None:
        name = f"{job.device_name}: " if len(ids) > 1 else ""
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
    return _outcome(following, jobs, options, group)


def _outcome(
    following: Following,
    jobs: Sequence[LabJob],
    options: HarnessOptions,
    group: ReporterGroup,
) -> ExitStatus:
    from benchmarking.dispatch.following import worst_status
    from benchmarking.driver.session import exit_status

    problems = [f"job {one.id} on {one.device_name}: {one.problem}" for one in jobs if one.problem]
    status = exit_status(following.results, cancelled=False, fail_on=options.fail_on)
    of_jobs = worst_status(jobs)
    if of_jobs is not None and status is not ExitStatus.INTERNAL_ERROR:
        status = of_jobs
    return group.finish(status, max(one.run_s for one in jobs), problems)
