"""Turns flags into an exit status."""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn

from . import flags
from .errors import BenchmarkProgramError
from .flags import Settings
from .output import Observer
from .program import LoadedModel, Program


def run(program: Program[Any], arguments: Sequence[str]) -> int:
    """Runs the program. Returns 0; 1 if the model or its data are wrong; 2 if the flags are wrong or a
    package is missing. Bugs raise.
    """
    try:
        settings = flags.parse(program.settings, arguments)
        if settings.help:
            print(flags.help_text(program.settings, "%s: %s" % (program.name, program.description)))
        elif settings.version:
            print(program.name + " " + program.version)
        elif settings.list_backends:
            print(json.dumps({"backends": program.backends()}))
        else:
            flags.require_given(settings)
            program.require(settings)
            # A garbage collection during an iteration would be timed with it. While a runtime is imported,
            # collections take a tenth of the time and find nothing.
            gc.disable()
            if settings.worker != "false":
                from . import worker

                return worker.main(program, settings)
            _benchmark(program, settings)
    except BrokenPipeError:  # the reader has seen enough, as with | head -1
        return 0
    except BenchmarkProgramError as error:
        print("%s: error: %s" % (program.name, error), file=sys.stderr)
        return error.exit_status
    except ModuleNotFoundError as error:
        package = (error.name or "benchmarking").partition(".")[0]
        if package == "benchmarking":
            raise
        extra = program.name.replace("_benchmark", "")
        advice = "run: pip install 'ml-benchmark-platform[%s]'" % extra
        message = "%s: error: %s lacks the package %s; %s"
        print(message % (program.name, sys.executable, package, advice), file=sys.stderr)
        return 2
    return 0


def leave(status: int) -> NoReturn:
    """Ends the process at once: all files are closed, and the clean-up of a runtime takes a third of a
    second.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(BrokenPipeError):
            stream.flush()
    os._exit(status)


def _benchmark(program: Program[Any], settings: Settings) -> None:
    # Heavy imports wait until the flags are known to be right.
    from . import costs, counters, summary
    from .job import Job

    job = Job(program, settings)
    loaded = job.load(observes=False)
    if settings.summary:
        print(summary.table(loaded.operators()))
        return
    first_ns = job.warm_up(loaded)
    # Not of the second session that observing may take, if the model has run already.
    peak_bytes = None if first_ns is None else counters.peak_resident_bytes()
    job.observe(loaded)  # not earlier: the first iteration is the first
    observer = Observer(sys.stderr, program.name)
    first = {} if first_ns is None else {"first_ns": first_ns}
    observer.facts({**job.facts, "load_ns": job.load_ns, **first})
    observer.model_name(job.model_name)
    for name, kernel in job.kernels.items():
        observer.kernel(name, kernel)
    for text in job.warnings:
        observer.warning(text)
    for name, reason in job.fallbacks.items():
        observer.fallback(name, settings.backend, reason)
    _run(loaded, settings, observer)
    if settings.output and settings.iter + settings.warmup == 0:
        loaded.run()
    observer.facts({"peak_rss_bytes": peak_bytes or counters.peak_resident_bytes()})
    job.write_outputs(loaded)
    if job.reports_costs:
        peak = job.peak()
        if peak:
            observer.facts(peak)
        operators = loaded.operators()
        if operators:
            observer.costs("NET_DELAY", costs.total(operators))
        for operator in operators:
            observer.costs(operator.name, costs.cost(operator))


def _run(loaded: LoadedModel, settings: Settings, observer: Observer) -> None:
    clock = time.perf_counter_ns
    for _ in range(settings.iter):
        start = clock()
        loaded.run()
        end = clock()
        observer.net_iteration(end - start)
        device_ns = loaded.device_ns()
        if device_ns is not None:
            observer.device_iteration(device_ns)
        if settings.run_individual and not loaded.operators_later:
            operators_ns = loaded.run_operators()
            if not loaded.operators_missing:
                observer.operator_iteration(list(zip(loaded.operator_names, operators_ns)))
    if settings.run_individual and loaded.operators_later:
        # Not between the others: it may be another session, whose memory takes theirs out of the caches.
        for _ in range(settings.iter):
            loaded.run_operators()
        times_ns = loaded.take_operator_times()
        for iteration in zip(*times_ns.values()):
            observer.operator_iteration(list(zip(times_ns, iteration)))
