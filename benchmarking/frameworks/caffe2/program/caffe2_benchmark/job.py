"""What all ways of running a net have in common: its files, the net made of them, its outputs."""

from __future__ import annotations

import platform
from typing import Dict, Mapping

from . import __version__, engines, net_file, tensor_file
from .engine import LoadedNet
from .flags import Settings
from .kernels import Fact, Kernel, require_own
from .net_check import require_not_swapped


class Job:
    def __init__(self, settings: Settings) -> None:
        """Imports the engine and reads the files. Nothing runs yet, so no thread of the engine's is started.

        Raises:
            UsageError, NetError, TensorError: a flag, a net or an input is wrong.
        """
        self._settings = settings
        self._init_net = net_file.read(settings.init_net, "init_net") if settings.init_net else None
        self.net = net_file.read(settings.net, "net")
        if self._init_net is not None:
            require_not_swapped(self._init_net, self.net)
        self._inputs = tensor_file.inputs(settings)
        self._engine_class = engines.choose(settings.engine, settings.backend, settings.optimize)
        self.facts: Dict[str, Fact] = {}
        """Known once the net is loaded."""
        self.tells_costs = settings.run_individual
        self.kernels: Mapping[str, Kernel] = {}
        """Which ran, by operator; as ``facts``."""
        self.fallbacks: Mapping[str, str] = {}
        """Why the backend did not compute an operator."""

    def load(self, observes: bool = True) -> LoadedNet:
        """``observes``: what computes each operator; else nothing is told of that, and nothing demanded.

        Raises:
        NetError: the net cannot be run, or not with the backend that was asked for.
        """
        settings = self._settings
        options = tuple(filter(None, settings.backend_options.split(",")))
        engine = self._engine_class(
            settings.threads, settings.seed, settings.backend, settings.optimize, options
        )
        wanted = frozenset(filter(None, settings.output.split(",")))
        loaded = engine.load(self._init_net, self.net, self._inputs, wanted)
        self.facts = {
            "program": "caffe2_benchmark",
            "program_version": __version__,
            "python": platform.python_version(),
            "threads": settings.threads,
            "seed": settings.seed,
            "backend": settings.backend,
            "backend_options": settings.backend_options,
            **({"unused_backend_options": ",".join(engine.unused_options)} if engine.unused_options else {}),
            "optimize": settings.optimize,
            "net": self.net.name,
            "operators": len(self.net.op),
            **engine.facts(),
            **loaded.facts,
        }
        if observes:
            self._observe(loaded)
        return loaded

    def _observe(self, loaded: LoadedNet) -> None:
        backend = self._settings.backend
        observation = loaded.observe()
        require_own(observation, backend)
        self.kernels, self.fallbacks = observation.kernels, observation.reasons
        self.facts.update(observation.facts(backend))

    def write_outputs(self, loaded: LoadedNet) -> None:
        """Those that --output names, as the last iteration has left them.

        Raises:
            NetError, TensorError: there is no such blob, or it cannot be written.
        """
        wanted = self._settings.output
        if wanted:
            names = loaded.blob_names() if wanted == "*" else wanted.split(",")
            tensor_file.write(self._settings, {name: loaded.blob(name) for name in names})
