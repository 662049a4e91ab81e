"""What all ways of running a net have in common: its files, the net made of them, its outputs."""

from __future__ import annotations

import platform
from typing import Dict

from . import __version__, engines, net_file, tensor_file
from .engine import Fact, LoadedNet
from .flags import Settings


class Job:
    def __init__(self, settings: Settings) -> None:
        """Imports the engine and reads the files. Nothing runs yet, so no thread of the engine's is started.

        Raises:
            UsageError, NetError, TensorError: a flag, a net or an input is wrong.
        """
        self._settings = settings
        self._init_net = net_file.read(settings.init_net, "init_net") if settings.init_net else None
        self.net = net_file.read(settings.net, "net")
        self._inputs = tensor_file.inputs(settings)
        self._engine_class = engines.choose(settings.engine, settings.backend, settings.optimize)
        self.facts: Dict[str, Fact] = {}
        """Known once the net is loaded."""

    def load(self) -> LoadedNet:
        """Raises:
        NetError: the net cannot be run.
        """
        settings = self._settings
        engine = self._engine_class(settings.threads, settings.seed, settings.backend, settings.optimize)
        wanted = frozenset(filter(None, settings.output.split(",")))
        loaded = engine.load(self._init_net, self.net, self._inputs, wanted)
        self.facts = {
            "program": "caffe2_benchmark",
            "program_version": __version__,
            "python": platform.python_version(),
            "threads": settings.threads,
            "seed": settings.seed,
            "backend": settings.backend,
            "optimize": settings.optimize,
            "net": self.net.name,
            "operators": len(self.net.op),
            **engine.facts(),
            **loaded.facts,
        }
        return loaded

    def write_outputs(self, loaded: LoadedNet) -> None:
        """Those that --output names, as the last iteration has left them.

        Raises:
            NetError, TensorError: there is no such blob, or it cannot be written.
        """
        wanted = self._settings.output
        if wanted:
            names = loaded.blob_names() if wanted == "*" else wanted.split(",")
            tensor_file.write(self._settings, {name: loaded.blob(name) for name in names})
