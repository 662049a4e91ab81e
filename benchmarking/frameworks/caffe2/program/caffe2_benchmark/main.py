"""From flags to an exit status."""

from __future__ import annotations

import gc
import platform
import sys
import time
from typing import TYPE_CHECKING, Sequence

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
        else:
            _benchmark(settings)
    except BenchmarkProgramError as error:
        print("caffe2_benchmark: error: %s" % error, file=sys.stderr)
        return error.exit_status
    return 0


def _benchmark(settings: Settings) -> None:
    if not settings.net:
        raise UsageError("--net is missing: the NetDef file to run")
    # A collection in the middle of an iteration would be timed with it; while torch is imported, collections
    # take a tenth of the time and find nothing.
    gc.disable()
    # Heavy imports wait until the flags are known to be right.
    from . import costs, engines, net_file, peak, summary, tensor_file
    from .observer import Observer

    init_net = net_file.read(settings.init_net, "init_net") if settings.init_net else None
    net = net_file.read(settings.net, "net")
    inputs = tensor_file.inputs(settings)
    engine = engines.make(
        settings.engine, settings.threads, settings.seed, settings.backend, settings.optimize
    )
    wanted = frozenset(filter(None, settings.output.split(",")))
    loaded = engine.load(init_net, net, inputs, wanted)
    if settings.summary:
        print(summary.table(loaded.operators()))
        return
    observer = Observer(sys.stderr)
    observer.facts(
        {
            "program": "caffe2_benchmark",
            "program_version": __version__,
            "python": platform.python_version(),
            "threads": settings.threads,
            "seed": settings.seed,
            "backend": settings.backend,
            "optimize": settings.optimize,
            "net": net.name,
            "operators": len(net.op),
            **engine.facts(),
            **loaded.facts,
        }
    )
    observer.net_name(net.name)
    _run(loaded, settings, observer)
    if settings.output:
        if settings.iter + settings.warmup == 0:
            loaded.run()
        names = loaded.blob_names() if settings.output == "*" else settings.output.split(",")
        tensor_file.write(settings, {name: loaded.blob(name) for name in names})
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
        if settings.run_individual:
            operators_ns = loaded.run_operators()
            observer.operator_iteration(list(zip(loaded.operator_names, operators_ns)))
