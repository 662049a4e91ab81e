"""``harness.py``: wires one benchmark run together and turns its outcome into an exit status."""

from __future__ import annotations

import logging
import secrets
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarking import start
from benchmarking.cli import backend_choice, harness_arguments
from benchmarking.cli.argument_types import quoted
from benchmarking.cli.declared import declarations
from benchmarking.cli.options import (
    ALL,
    TOKEN_VARIABLE,
    HarnessOptions,
    access_token,
    mask_secrets,
    refuse_shared_files,
    shapes_of,
)
from benchmarking.cli.running import cancelled_by_signals, guarded
from benchmarking.cli.wiring import default_results, platform_options
from benchmarking.errors import DeviceError, ExitStatus, Fault, SpecificationError, UsageError
from benchmarking.files.user import user_directory
from benchmarking.packages import missing_package, require
from benchmarking.terminal import streams

if TYPE_CHECKING:
    from benchmarking.driver.plan import Arm, Comparing, ManyBackends, RunPlan
    from benchmarking.driver.regression_check import RegressionCheck
    from benchmarking.driver.session import Session
    from benchmarking.frameworks.framework_base import FrameworkBase
    from benchmarking.platforms.platform_base import Discovery, PlatformBase
    from benchmarking.programs.command import Program
    from benchmarking.programs.process import Cancellation
    from benchmarking.records.tree import History
    from benchmarking.reporters.reporter_base import ReporterBase
    from benchmarking.reporters.reporters import ReporterGroup
    from benchmarking.specs.expand import TestCase
    from benchmarking.specs.reader import LoadedBenchmark
    from benchmarking.specs.run_info import RunInfo, Version

PYTHON_SUFFIXES = (".py", ".pyz")
"""Stands for the commit if --info does not name one."""

logger = logging.getLogger(__name__)


def main(
    argv: Sequence[str] | None = None,
    program: str = harness_arguments.PROGRAM,
    *,
    takes_files: bool = False,
) -> int:
    arguments = sys.argv[1:] if argv is None else list(argv)
    options = harness_arguments.parse(arguments, program, takes_files=takes_files)
    streams.log_to_stderr(options.log_level)
    return guarded(program, lambda: perform(options, [*program.split(), *arguments]))


def perform(options: HarnessOptions, command: Sequence[str]) -> ExitStatus:
    """One run. ``command``: the command line that the results name.

    Raises:
        BenchmarkError: the run cannot be performed, or was cancelled.
    """
    if options.validate:
        return _validate(options)
    return _run(options, mask_secrets(command, access_token(options)))


@dataclass(frozen=True)
class _Prepared:
    """The inputs of a run, checked as far as possible before devices are searched."""

    cases: tuple[TestCase, ...]
    plan: RunPlan
    check: RegressionCheck
    reporters: list[ReporterBase]


def _prepare(options: HarnessOptions, command: tuple[str, ...], cancellation: Cancellation) -> _Prepared:
    """
    Raises:
        UsageError: an option, --info or a specification is wrong, or a result could not be delivered.
    """
    from benchmarking.platforms.platforms import find_platform

    refuse_shared_files(options.written_files)
    frameworks = frameworks_of(options)
    find_platform(options.platform)
    info = info_of(options)
    cases = chosen_cases(expand_cases(options, load_benchmarks(options), frameworks), info)
    if options.framework == ALL:
        frameworks = [one for one in frameworks if _has_format_of(one, cases)]
    plan = _plan(options, info, frameworks, command)
    backend_choice.check_names(options, info, frameworks)
    check = _regression_check(options, info)
    return _Prepared(cases, plan, check, make_reporters(options, cancellation))


def _validate(options: HarnessOptions) -> ExitStatus:
    from benchmarking.programs.process import Cancellation
    from benchmarking.reporters.numbers import counted

    with Cancellation() as cancellation:
        cases = _prepare(options, (), cancellation).cases
        _warn_of_missing_devices(options, cancellation)
    models = len({case.specification for case in cases})
    content = f"{counted(models, 'benchmark')} with {counted(len(cases), 'test')}"
    files = ", ".join(map(str, options.benchmark_files))
    refused = [case for case in cases if case.refusal is not None]
    if refused:
        content += f", of which {len(refused)} {'is' if len(refused) == 1 else 'are'} not run"
    lines = [f"  {case.specification}: {case.json_path}: {case.refusal}" for case in refused]
    streams.show("\n".join([f"{files}: no faults; {content}", *lines, ""]))
    return ExitStatus.OK


def _warn_of_missing_devices(options: HarnessOptions, cancellation: Cancellation) -> None:
    """Those that are named; it is no fault, as they may be there when it is run."""
    if not options.devices:
        return
    try:
        found = _find_devices(options, cancellation)
    except DeviceError as error:
        missing = [str(error)]
    else:
        missing = [*found.unusable.values()]
        for one in found.devices:
            one.close()
    for reason in missing:
        logger.warning("--devices: %s", reason)


def _run(options: HarnessOptions, command: tuple[str, ...]) -> ExitStatus:
    from benchmarking.files import held_directory
    from benchmarking.programs.process import Cancellation
    from benchmarking.reporters.reporters import ReporterGroup

    started = time.monotonic()
    held_directory.remove_abandoned()
    with Cancellation() as cancellation:
        prepared = _prepare(options, command, cancellation)
        _warn_of_unused_options(options)
        reporters = ReporterGroup(prepared.reporters)
        with cancelled_by_signals(cancellation):
            try:
                reporters.begin()
                status, problems = _measure(options, prepared, reporters, cancellation)
            except BaseException as error:
                reporters.abort(error, time.monotonic() - started)
                raise
            return reporters.finish(status, time.monotonic() - started, problems)


def _measure(
    options: HarnessOptions, prepared: _Prepared, reporters: ReporterGroup, cancellation: Cancellation
) -> tuple[ExitStatus, list[str]]:
    """Runs every test on every device. Returns the outcome, and the reasons for which all tests of a device
    are missing.
    """
    from benchmarking.driver.session import exit_status, run_sessions

    found = _find_devices(options, cancellation)
    compared = [case for case in prepared.cases if case.metric == "delay" and case.refusal is None]
    tests = len(found.devices) * len(compared)
    plan = prepared.plan.for_run(options.comparisons or max(tests, 1))
    sessions = _sessions(options, found.devices, plan, prepared.check, cancellation, reporters)
    results = run_sessions(sessions, prepared.cases)
    status = exit_status(
        results,
        cancelled=cancellation.is_set,
        devices_missing=bool(found.unusable),
        fail_on=options.fail_on,
    )
    return status, [f"all tests are missing on {reason}" for reason in found.unusable.values()]


def _find_devices(options: HarnessOptions, cancellation: Cancellation) -> Discovery:
    from benchmarking.platforms.platforms import select

    return select(
        options.platform,
        options.devices,
        options.excluded_devices,
        platform_options(options, cancellation),
    )


def _sessions(
    options: HarnessOptions,
    devices: Sequence[PlatformBase],
    plan: RunPlan,
    check: RegressionCheck,
    cancellation: Cancellation,
    reporters: ReporterGroup,
) -> list[Session]:
    from benchmarking.driver.device_lock import DeviceLocks
    from benchmarking.driver.health import HealthCheck
    from benchmarking.driver.session import Session
    from benchmarking.files.model_cache import ModelCache

    cache = ModelCache(
        options.model_cache or user_directory("cache") / "models",
        cancellation=cancellation,
        show_progress=sys.stderr.isatty(),
    )
    health_check = (
        HealthCheck(user_directory("state") / "health", options.health_check)
        if options.health_check
        else None
    )
    return [
        Session(
            platform=platform,
            plan=plan,
            cache=cache,
            cancellation=cancellation,
            publisher=reporters,
            locks=DeviceLocks.of_user(options.when_busy),
            regression_check=check,
            health_check=health_check,
            reboot=options.reboot,
        )
        for platform in devices
    ]


def _warn_of_unused_options(options: HarnessOptions) -> None:
    from benchmarking.platforms.platforms import find_platform

    platform = find_platform(options.platform).name
    for name, declared in declarations(HarnessOptions).items():
        is_used = not declared.platforms or platform in declared.platforms
        if not is_used and getattr(options, name) != getattr(HarnessOptions, name):
            logger.warning("--%s: the platform %s does not use this option", name, options.platform)


def frameworks_of(options: HarnessOptions) -> list[FrameworkBase]:
    """All are those that have a program of ours: of the others the user has to name it."""
    from benchmarking.frameworks.frameworks import make_framework
    from benchmarking.frameworks.own_program import OwnProgramFramework

    frameworks = [make_framework(name) for name in options.frameworks]
    return [one for one in frameworks if options.framework != ALL or isinstance(one, OwnProgramFramework)]


def _has_format_of(framework: FrameworkBase, cases: Sequence[TestCase]) -> bool:
    return any(name in framework.formats for case in cases for name in (case.model.format, *case.formats))


def load_benchmarks(options: HarnessOptions) -> tuple[LoadedBenchmark, ...]:
    """
    Raises:
        UsageError: a file is wrong.
    """
    from benchmarking.specs.reader import read_benchmarks

    of_model_files = _of_model_files(options)
    return (*read_benchmarks(*options.specification_files), *of_model_files)


def expand_cases(
    options: HarnessOptions, loaded: Sequence[LoadedBenchmark], frameworks: Sequence[FrameworkBase]
) -> tuple[TestCase, ...]:
    """
    Raises:
        SpecificationError: there is a test that none of the frameworks can run.
    """
    from benchmarking.specs.expand import expand

    cases = expand(
        loaded,
        options.root_model_dir,
        allow_commands=options.allow_commands,
    )
    if not options.compares_frameworks:
        cases = tuple(case.in_first_format_of(frameworks[0].formats) for case in cases)
    faults = [fault for case in cases if case.refusal is None for fault in _why_nobody_runs(case, frameworks)]
    if faults:
        raise SpecificationError(tuple(dict.fromkeys(faults)))
    if any(blob.image for case in cases for blob in case.inputs):
        require("PIL")
    return cases


def _of_model_files(options: HarnessOptions) -> Sequence[LoadedBenchmark]:
    if not options.model_files:
        for name in ("input", "threads", "save_spec"):
            if getattr(options, name) is not None:
                raise UsageError(f"--{name} needs a model file, as in mlbench run model.onnx")
        return ()
    from benchmarking.cli import model_files

    shapes = shapes_of(options.input) if options.input else {}
    loaded = model_files.benchmarks(options.model_files, shapes=shapes, threads=options.threads)
    if options.save_spec is not None:
        model_files.save(loaded, options.save_spec)
    return loaded


def _why_nobody_runs(case: TestCase, frameworks: Sequence[FrameworkBase]) -> Sequence[Fault]:
    """Empty: one of them can run the test."""
    by_framework = {one.name: one.check(case.in_first_format_of(one.formats)) for one in frameworks}
    if not all(by_framework.values()):
        return ()
    if len(frameworks) == 1:
        (framework,) = frameworks
        faults = by_framework[framework.name]
        if {*case.model.format_names} & {*framework.formats}:
            return faults
        # Whatever else is wrong is about a format that the model has not.
        return (replace(faults[0], message=f"{faults[0].message}{_who_runs(case)}"),)
    reasons = "; ".join(f"{name}: {faults[0].message}" for name, faults in by_framework.items())
    message = f"none of the frameworks can run it: {reasons}"
    return (Fault(str(case.specification), case.json_path, message),)


def _who_runs(case: TestCase) -> str:
    """Advice; empty: no framework has one of its formats."""
    from benchmarking.frameworks.frameworks import framework_names, make_framework

    wanted = {*case.model.format_names}
    able = [name for name in framework_names() if wanted & {*make_framework(name).formats}]
    return f"; give --framework {' or '.join(able)}, or --framework all" if able else ""


def chosen_cases(cases: tuple[TestCase, ...], info: RunInfo) -> tuple[TestCase, ...]:
    wanted = {(one.net, one.metric, one.identifier) for one in info.tests}
    chosen = tuple(
        case for case in cases if not wanted or (case.model.name, case.metric, case.identifier) in wanted
    )
    if not chosen and cases:
        raise UsageError("--info: $.tests: the benchmark file has none of these tests")
    return chosen


def info_of(options: HarnessOptions) -> RunInfo:
    from benchmarking.specs.run_info import INTERACTIVE_COMMIT, RunInfo, Version, read_run_info

    if options.info is not None:
        return read_run_info(options.info)
    return RunInfo(treatment=Version(commit=INTERACTIVE_COMMIT, commit_time=int(time.time())))


def _plan(
    options: HarnessOptions, info: RunInfo, frameworks: Sequence[FrameworkBase], command: tuple[str, ...]
) -> RunPlan:
    from benchmarking.driver.plan import RunPlan

    run_type = options.run_type or info.run_type or "benchmark"
    regressed_types = options.regressed_types or tuple(info.regressed_types)
    if run_type == "regress" and not regressed_types:
        raise UsageError("--run_type regress confirms a regression: give its types with --regressed_types")
    if options.regressed_types and run_type == "benchmark":
        raise UsageError("--regressed_types needs --run_type verify or regress")
    backends = backend_choice.several(options, info, run_type)
    framework = frameworks[0]
    if backends and options.compares_frameworks:
        backends = _with_contenders(backends, options, info, frameworks)
        framework, treatment = backends.contenders[0].framework, backends.contenders[0].arm
    else:
        treatment = _arm("treatment", info.treatment, options, framework)
    return RunPlan(
        framework=framework,
        treatment=treatment,
        control=_arm("control", info.control, options, framework) if info.control else None,
        command=command,
        secrets=(TOKEN_VARIABLE,),
        seed=secrets.randbits(32) if options.seed is None else options.seed,
        comparing=_comparing(options),
        shared_libraries=tuple(
            _existing_file("--shared_libs", text) for text in options.shared_libs or info.shared_libs
        ),
        backend=None if backends else options.backend,
        backends=backends,
        allow_code=options.allow_code,
        timeout_s=options.timeout,
        run_type=run_type,
        regressed_types=regressed_types,
        cooldown_s=options.cooldown,
        user_meta=info.meta,
    )


def _with_contenders(
    backends: ManyBackends, options: HarnessOptions, info: RunInfo, frameworks: Sequence[FrameworkBase]
) -> ManyBackends:
    """Those frameworks whose programs can be had; of the others it is known why they cannot.

    Raises:
        UsageError: there is none.
    """
    from benchmarking.driver.plan import Contender

    contenders: list[Contender] = []
    unusable: dict[str, str] = {}
    for framework in frameworks:
        try:
            arm = _arm("treatment", info.treatment, options, framework)
        except ModuleNotFoundError as error:
            unusable[framework.name] = _why_missing(error)
        except UsageError as error:
            unusable[framework.name] = str(error)
        else:
            contenders.append(Contender(framework, arm))
    if not contenders:
        reasons = "; ".join(f"{name}: {why}" for name, why in unusable.items())
        raise UsageError(f"no framework that runs this can be used here: {reasons}")
    return replace(backends, contenders=tuple(contenders), unusable=unusable)


def _why_missing(error: ModuleNotFoundError) -> str:
    """
    Raises:
        ModuleNotFoundError: the module is ours, which is a bug.
    """
    reason = missing_package(error)
    if reason is None:
        raise error
    return reason


def _comparing(options: HarnessOptions) -> Comparing:
    from benchmarking.driver.plan import Comparing
    from benchmarking.statistics.sequential import MOST_PAIRS, SequentialPlan

    if (options.ab_pairs or 0) > MOST_PAIRS:
        raise UsageError(f"--ab_pairs {options.ab_pairs}: at most {MOST_PAIRS} pairs are judged")
    plan = SequentialPlan.for_target(
        options.target_change,
        minimum_effect=options.minimum_effect,
        max_pairs=options.max_pairs,
        alpha=options.alpha,
        beta=options.beta,
    )
    return Comparing(
        plan=plan,
        mode=options.ab_mode,
        fixed_pairs=options.ab_pairs,
        max_seconds=options.max_seconds,
        clock=options.clock,
        canary=options.canary == "on",
    )


def _arm(name: str, version: Version, options: HarnessOptions, framework: FrameworkBase) -> Arm:
    from benchmarking.driver.plan import Arm
    from benchmarking.specs.run_info import program_commit

    program, environment = _program(name, version, options, framework)
    if version.commit is not None and version.commit_time is not None:
        about = version.branch, version.author, version.subject
        return Arm(version.commit, version.commit_time, program, version.position, *about)
    try:
        commit = program_commit(program.path, environment)
        return Arm(commit, int(time.time()), program)
    except OSError as error:
        raise UsageError(f"--info: $.{name}.program: cannot read it: {error}") from error


def _program(
    name: str, version: Version, options: HarnessOptions, framework: FrameworkBase
) -> tuple[Program, str]:
    """The program, and the environment that runs it, if the user names one; empty if no program is named."""
    where, python = f"--info: $.{name}.python", version.python
    if python is None:
        where, python = "--python", options.python
    if python is None:
        return _program_file(name, version, options, framework), ""
    program = _program_file(name, version, replace(options, python=python), framework)
    return _in_environment(program, python, where, options)


def _in_environment(
    program: Program, python: str, where: str, options: HarnessOptions
) -> tuple[Program, str]:
    """
    Raises:
        UsageError: it is not a Python that can run the program.
    """
    from benchmarking.programs.python_environment import examine

    if not program.needs_python:
        raise UsageError(f"{where}: {program.path.name} is not run by Python: remove this setting")
    if _is_remote(options):
        return replace(program, python=python), python
    path = Path(python).expanduser()
    # Not resolved, because an environment is identified by its own link to the interpreter.
    found = shutil.which(str(path.absolute()) if path.is_file() else python)
    if found is None:
        raise UsageError(f"{where}: there is no program {quoted(python)}")
    environment = examine(found, program.python_modules, where)
    return replace(program, python=found), f"{environment.name}-{environment.content}"


def _program_file(name: str, version: Version, options: HarnessOptions, framework: FrameworkBase) -> Program:
    from benchmarking.programs.command import Program

    if version.program is not None:
        path = _existing_file(f"--info: $.{name}.program", version.program)
    elif options.program is not None:
        path = _existing_file("--program", str(options.program))
    else:
        return _with_its_packages(framework.default_program(), options)
    return Program(path, needs_python=path.suffix in PYTHON_SUFFIXES)


def _with_its_packages(program: Program, options: HarnessOptions) -> Program:
    """
    Raises:
        ModuleNotFoundError: the program would run in this very Python, which lacks a package of it.
    """
    if options.python is None and not _is_remote(options):
        require(*program.python_modules)
    return program


def _is_remote(options: HarnessOptions) -> bool:
    from benchmarking.platforms.platforms import find_platform
    from benchmarking.platforms.remote.remote_platform import RemotePlatform

    return issubclass(find_platform(options.platform), RemotePlatform)


def _existing_file(option: str, text: str) -> Path:
    with suppress(
        OSError, RuntimeError, ValueError
    ):  # its name is too long, or its home directory or the file itself cannot exist
        path = Path(text).expanduser()
        if path.is_file():
            return path.resolve()
    raise UsageError(f"{option}: there is no file {quoted(text)}")


def _regression_check(options: HarnessOptions, info: RunInfo) -> RegressionCheck:
    from benchmarking.driver.regression_check import RegressionCheck

    if not info.regression_commits:
        if options.detector is not None:
            logger.warning("--detector: --info has no regression_commits by which it could judge")
        return RegressionCheck()
    return RegressionCheck(saved_results(options), tuple(info.regression_commits), options.detector)


def saved_results(options: HarnessOptions) -> History:
    """
    Raises:
        UsageError: nobody said where they are.
    """
    from benchmarking.records.tree import History

    if options.local_reporter is None:
        raise UsageError(
            "--info: regression_commits are looked up in the results of --local_reporter: give its directory"
        )
    return History(options.local_reporter)


def make_reporters(options: HarnessOptions, cancellation: Cancellation) -> list[ReporterBase]:
    """Opens every destination, so that a wrong destination is reported before anything is measured."""
    reporters: list[ReporterBase] = []
    local_directory = options.local_reporter
    if not options.names_a_reporter:
        local_directory = default_results()
    if local_directory is not None:
        from benchmarking.reporters.local_reporter import LocalReporter

        reporters.append(LocalReporter(local_directory))
    if options.remote_reporter is None:
        for name in ("remote_access_token", "allow_http"):
            if getattr(options, name):
                logger.warning("--%s has no effect: without --remote_reporter nothing is sent", name)
    else:
        from benchmarking.reporters.remote_reporter import RemoteReporter

        reporters.append(
            RemoteReporter(
                options.remote_reporter,
                access_token=access_token(options),
                allow_http=options.allow_http,
                spool_directory=user_directory("state") / "spool",
                cancellation=cancellation,
            )
        )
    if options.junit is not None:
        from benchmarking.reporters.junit_reporter import JUnitReporter

        reporters.append(JUnitReporter(options.junit))
    if options.markdown is not None:
        from benchmarking.reporters.markdown_reporter import MarkdownReporter

        reporters.append(MarkdownReporter(options.markdown, operators=options.operators or 0))
    if options.export:
        from benchmarking.reporters.exports import ExportReporter

        reporters += [ExportReporter(one) for one in options.export]
    if options.plot is not None:
        require("matplotlib")
        from benchmarking.reporters.backend_plot import BackendPlotReporter

        reporters.append(BackendPlotReporter(options.plot))
    if options.json:
        from benchmarking.reporters.json_reporter import JsonReporter

        reporters.append(JsonReporter(streams.standard_output()))
    if options.json_lines:
        if options.json:
            raise UsageError("--json and --json_lines both write to stdout: choose one")
        from benchmarking.reporters.json_lines_reporter import JsonLinesReporter

        reporters.append(JsonLinesReporter(streams.standard_output()))
    if options.screen_reporter or not options.names_a_reporter:
        from benchmarking.reporters.screen_reporter import ScreenReporter
        from benchmarking.reporters.settings import USUAL_COUNT

        # Last, so that it can report where the others left the results; stdout belongs to the JSON.
        stream = sys.stderr if options.json or options.json_lines else streams.standard_output()
        reporters.append(
            ScreenReporter(stream, operators=USUAL_COUNT if options.operators is None else options.operators)
        )
    else:
        from benchmarking.reporters.log_reporter import LogReporter

        reporters.append(LogReporter())
    return reporters


if __name__ == "__main__":
    start.harness()
