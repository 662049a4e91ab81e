"""The common part of all ways to run a model: its files, the loaded model, its outputs."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from . import tensors
from .flags import Settings
from .kernels import Fact, Kernel, require_own
from .program import LoadedModel, Program

OPERATORS_MISSING = "operators_missing"
"""The fact that says why operators are not reported although they were asked for."""


class Job:
    def __init__(self, program: Program[Any], settings: Settings) -> None:
        """Imports the runtime and reads the files. Nothing runs yet, so no thread of the runtime is started.

        Raises:
            UsageError, ModelError, TensorError: a flag, a model or an input is wrong.
        """
        self._program = program
        self._settings = settings
        self._inputs = tensors.inputs(program, settings)
        self._preparation = program.prepare(settings)
        self.model_name = self._preparation.model_name
        self.load_ns = 0
        """The time to load the model, without the time to import the runtime and to read the files."""
        self.facts: dict[str, Fact] = {}
        """Available once the model is loaded."""
        self.warnings: Sequence[str] = ()
        """Available once the model is loaded."""
        self.reports_costs = settings.run_individual
        self.kernels: Mapping[str, Kernel] = {}
        """The kernel that ran each operator; available once the model is loaded."""
        self.fallbacks: Mapping[str, str] = {}
        """Maps the operator to the reason why the backend did not compute it."""

    def load(self, observes: bool = True) -> LoadedModel:
        """``observes``: find out which kernel computes each operator; otherwise this is neither reported nor
        required.

        Raises:
            ModelError: the model cannot be run, or not with the backend that was asked for.
        """
        settings = self._settings
        wanted = dict.fromkeys(filter(None, settings.output.split(","))).keys()
        start = time.perf_counter_ns()
        loaded = self._preparation.load(self._inputs, wanted)
        self.load_ns = time.perf_counter_ns() - start
        self.facts = {
            "program": self._program.name,
            "program_version": self._program.version,
            "python": platform.python_version(),
            "python_executable": sys.executable,
            "threads": settings.threads,
            "seed": settings.seed,
            "backend": settings.backend,
            "backend_options": settings.backend_options,
            "net": self.model_name,
            **self._preparation.facts,
            **loaded.facts,
        }
        self.warnings = loaded.warnings
        if observes:
            self.observe(loaded)
        return loaded

    def warm_up(self, loaded: LoadedModel) -> int | None:
        """The nanoseconds that the first iteration took; None: there was none."""
        first_ns = None
        for number in range(self._settings.warmup):
            start = time.perf_counter_ns()
            loaded.run()
            if number == 0:
                first_ns = time.perf_counter_ns() - start
        return first_ns

    def observe(self, loaded: LoadedModel) -> None:
        """Finds out which kernel computes each operator, for which the model runs once or more.

        Raises:
            ModelError: the backend that was asked for computed nothing.
        """
        backend = self._settings.backend
        observation = loaded.observe()
        require_own(observation, backend)
        self.kernels, self.fallbacks = observation.kernels, observation.reasons
        if loaded.operators_missing:
            self.warnings = (*self.warnings, loaded.operators_missing)
            self.facts[OPERATORS_MISSING] = loaded.operators_missing
        else:
            self.facts.update(observation.facts(backend))

    def peak(self) -> Mapping[str, float]:
        """The peaks of the device, with which costs are compared; empty if they are not needed."""
        return self._program.peak() if self.reports_costs else {}

    def write_outputs(self, loaded: LoadedModel) -> None:
        """Writes the outputs named by --output, as the last iteration left them.

        Raises:
            ModelError, TensorError: there is no such tensor, or it cannot be written.
        """
        wanted = self._settings.output
        if wanted:
            names = loaded.output_names() if wanted == "*" else wanted.split(",")
            arrays = {name: loaded.output(name) for name in names}
            tensors.write(self._program, self._settings, arrays)
