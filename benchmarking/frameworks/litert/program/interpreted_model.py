"""A model in LiteRT's interpreter, which is timed; its operators come from a profile in another session."""

from __future__ import annotations

from contextlib import contextmanager
from typing import AbstractSet, Any, Iterator, List, Mapping, Optional, Sequence

from benchmarking.frameworks.kit import printed
from benchmarking.frameworks.kit.costs import OperatorFacts
from benchmarking.frameworks.kit.errors import ModelError
from benchmarking.frameworks.kit.kernels import Fact, Kernel, Observation
from benchmarking.frameworks.kit.program import LoadedModel
from benchmarking.frameworks.kit.signature import require_computed, require_values
from benchmarking.frameworks.kit.tflite_file import TfliteFile

from . import profiler
from .executed_operators import ExecutedOperator, Graph, executed

XNNPACK = "xnnpack"


class LiteRtModel(LoadedModel):
    def __init__(
        self,
        runtime: Any,
        file: TfliteFile,
        backend: str,
        threads: int,
        inputs: Mapping[str, Any],
        wanted: AbstractSet[str],
    ) -> None:
        self._runtime = runtime
        self._file = file
        self._backend = backend
        self._threads = threads
        self._places = file.signature.find_outputs(wanted, file.signature.is_renamed(inputs))
        self._inputs = list(file.signature.feed(inputs).values())
        self._interpreter = self._make_interpreter(backend)
        with self._one_line():  # names that are not UTF-8 are ValueErrors
            outputs = self._interpreter.get_output_details()
        self._outputs = [entry["index"] for entry in outputs]
        for name, entry in zip(file.signature.outputs, outputs):
            if any(array.size == 0 for array in self._inputs):
                require_values(name, entry["shape"].tolist())
        self._profile: Optional[profiler.ProfiledModel] = None
        self._operators: Sequence[ExecutedOperator] = ()

    def _make_interpreter(self, backend: str) -> Any:
        types = self._runtime.OpResolverType
        resolver = types.AUTO if backend == XNNPACK else types.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        with self._one_line(), printed.captured(printed.STDOUT, printed.STDERR):
            interpreter = self._runtime.Interpreter(
                model_path=self._file.path,
                num_threads=self._threads,
                experimental_op_resolver_type=resolver,
            )
            entries = interpreter.get_input_details()
            for entry, array in zip(entries, self._inputs):
                if tuple(entry["shape"]) != array.shape:
                    interpreter.resize_tensor_input(entry["index"], array.shape, strict=True)
            interpreter.allocate_tensors()
            for entry, array in zip(entries, self._inputs):
                interpreter.set_tensor(entry["index"], array)
        return interpreter

    # --- whole ----------------------------------------------------------------------------------------------

    def run(self) -> None:
        with self._one_line():
            self._interpreter.invoke()

    def output_names(self) -> Sequence[str]:
        return self._file.signature.outputs

    def output(self, name: str) -> Any:
        if name not in self._places:
            self._file.signature.find_outputs({name})  # the message lists the available tensors
        return require_computed(name, self._interpreter.get_tensor(self._outputs[self._places[name]]))

    @property
    def facts(self) -> Mapping[str, Fact]:
        return {"precision": self._graph(self._interpreter).precision}

    def _graph(self, interpreter: Any) -> Graph:
        with self._one_line():
            return Graph.of(interpreter)

    @contextmanager
    def _one_line(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, ValueError) as error:
            text = " ".join(str(error).split())
            raise ModelError("LiteRT cannot run %s: %s" % (self._file.signature.model, text)) from error

    # --- operator by operator -------------------------------------------------------------------------------

    def _profiled(self) -> profiler.ProfiledModel:
        """Raises:
        ModelError: this version of LiteRT has no profile that can be read.
        """
        if self._profile is None:
            arrays = {entry.name: array for entry, array in zip(self._file.signature.inputs, self._inputs)}
            make = profiler.Maker(self._file.path, arrays, self._threads, self._backend == XNNPACK)
            profiler.require_readable(make)
            with printed.captured(printed.STDERR):
                self._profile = make()
            self._profile.run()  # not counted, because it fills the memory pools
        return self._profile

    def _executed(self) -> Sequence[ExecutedOperator]:
        """Empty if operators cannot be reported."""
        if not (self._operators or self.operators_missing):
            try:
                self._operators = executed(self._graph(self._interpreter), self._profiled().run())
            except profiler.UnreadableProfileError as error:
                self.operators_missing = str(error)
        return self._operators

    @property
    def operator_names(self) -> Sequence[str]:
        return [one.name for one in self._operators]

    def run_operators(self) -> List[int]:
        operators = self._executed()
        if self.operators_missing:
            self.run()
            return []
        events = self._profiled().run()
        if len(events) != len(operators):
            raise ModelError(
                "LiteRT's profile has %d operators instead of %d as before" % (len(events), len(operators))
            )
        return [event.duration_ns for event in events]

    def observe(self) -> Observation:
        operators = self._executed()
        own = {one.name: one.by_xnnpack == (self._backend == XNNPACK) for one in operators}
        return Observation(
            {one.name: Kernel(one.kernel, own[one.name]) for one in operators}, "operators", list(own)
        )

    def operators(self) -> Sequence[OperatorFacts]:
        if self.operators_missing:
            return ()
        shaped = self._graph(
            self._make_interpreter("builtin")
        )  # others keep shapes of the file inside XNNPACK
        return [one.facts(shaped) for one in self._executed()]
