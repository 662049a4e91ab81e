"""From flags to an exit status."""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from typing import TYPE_CHECKING, NoReturn, Sequence

from . import __version__, flags
from .errors import BenchmarkProgramError, UsageError
from .flags import Settings

if TYPE_CHECKING:
    from .engine import LoadedNet
    from .observer import Observer


def main(arguments: Sequence[str]) -> int:
    """0; 1: the net or its data are wrong; 2: the flags are. A bug raises."""
    try:
        settings = flags.parse(arguments)
        if settings.help:
            print(flags.help_text())
        elif settings.version:
            print("caffe2_benchmark " + __version__)
        elif settings.list_backends:
            from . import engines

            print(json.dumps({"backends": engines.backends()}))
        elif not settings.net:
            raise UsageError("--net is missing: the NetDef file to run")
        else:
            # A collection in the middle of an iteration would be timed with it; while torch is imported,
            # collections take a tenth of the time and find nothing.
            gc.disable()
            if settings.worker != "false":
                from . import worker

                return worker.main(settings)
            _benchmark(settings)
    except BenchmarkProgramError as error:
        print("caffe2_benchmark: error: %s" % error, file=sys.stderr)
        return error.exit_status
    return 0


def leave(status: int) -> NoReturn:
    """Ends the process at once: all files are closed, and torch tidies itself up for a third of a second."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _benchmark(settings: Settings) -> None:
    # Heavy imports wait until the flags are known to be right.
    from . import costs, peak, summary
    from .job import Job
    from .observer import Observer

    job = Job(settings)
    loaded = job.load()
    if settings.summary:
        print(summary.table(loaded.operators()))
        return
    observer = Observer(sys.stderr)
    observer.facts(job.facts)
    observer.net_name(job.net.name)
    for name, kernel in job.kernels.items():
        observer.kernel(name, kernel)
    for name, reason in job.fallbacks.items():
        observer.fallback(name, settings.backend, reason)
    _run(loaded, settings, observer)
    if settings.output and settings.iter + settings.warmup == 0:
        loaded.run()
    job.write_outputs(loaded)
    if settings.run_individual:
        observer.facts(peak.measure())
        operators = loaded.operators()
        observer.costs("NET_DELAY", costs.total(operators))
        for one in operators:
            observer.costs(one.name, costs.cost(one))


def _run(loaded: LoadedNet, settings: Settings, observer: Observer) -> None:
    for _ in range(settings.warmup):
        loaded.run()
    clock = time.perf_counter_ns
    for _ in range(settings.iter):
        start = clock()
        loaded.run()
        end = clock()
        observer.net_iteration(end - start)
        device_ns = loaded.device_ns()
        if device_ns is not None:
            observer.device_iteration(device_ns)
        if settings.run_individual:
            operators_ns = loaded.run_operators()
            observer.operator_iteration(list(zip(loaded.operator_names, operators_ns)))
