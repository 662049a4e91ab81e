"""A model in sessions of ONNX Runtime: one that is timed, others that are profiled."""

from __future__ import annotations

import ctypes
import math
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Mapping, Sequence, Set

from benchmarking.frameworks.kit import tensors
from benchmarking.frameworks.kit.costs import OperatorFacts
from benchmarking.frameworks.kit.errors import ModelError
from benchmarking.frameworks.kit.kernels import Fact, Kernel, Observation
from benchmarking.frameworks.kit.onnx_file import OnnxFile
from benchmarking.frameworks.kit.program import LoadedModel
from benchmarking.frameworks.kit.signature import require_computed

from . import operator_costs
from .backends import CPU, LEVELS, Backend
from .profile import Profile, ProfileFile

MOST_EVENTS = 50_000
"""The number of operators in a profile, each of which takes half a kilobyte; then another profile is begun.
"""


_READ = frozenset(
    "tensor(%s)" % name
    for name in (
        *("float", "double", "float16", "bool", "string", "int8", "int16", "int32", "int64"),
        *("uint8", "uint16", "uint32", "uint64"),
    )
)
"""The types of outputs that NumPy has too."""


class _Bound:
    """Inputs that the session already has, and outputs that it may keep."""

    def __init__(self, session: Any, binding: Any) -> None:
        self._session = session
        self._binding = binding

    def run(self) -> None:
        self._session.run_with_iobinding(self._binding)

    def output(self, place: int) -> Any:
        return _array(self._binding.get_outputs()[place])


def _array(value: Any) -> Any:
    """
    Raises:
        ModelError: NumPy has no such type.
    """
    import numpy as np

    type_ = value.data_type()
    if type_ == "tensor(bfloat16)":
        shape = tuple(value.shape())
        bits = (ctypes.c_uint16 * math.prod(shape)).from_address(value.data_ptr())
        return tensors.from_bfloat16(np.ctypeslib.as_array(bits).reshape(shape))
    if type_ not in _READ:  # several in a byte, or bytes of which NumPy would make other numbers
        raise ModelError("an output is of the type %s, which cannot be read" % type_)
    return value.numpy()


class _Unbound:
    """Strings cannot be bound: each run converts them."""

    def __init__(self, session: Any, inputs: Mapping[str, Any]) -> None:
        self._session = session
        self._inputs = dict(inputs)
        self._outputs: Sequence[Any] = ()

    def run(self) -> None:
        self._outputs = self._session.run(None, self._inputs)

    def output(self, place: int) -> Any:
        return self._outputs[place]


class OnnxModel(LoadedModel):
    operators_later = True

    def __init__(
        self, runtime: Any, file: OnnxFile, backend: Backend, threads: int, inputs: Dict[str, Any]
    ) -> None:
        self._runtime = runtime
        self._file = file
        self._backend = backend
        self._threads = threads
        self._inputs = file.signature.feed(inputs)
        self._session = self._make_session()
        self._binding = self._bind(self._session)
        self._profile: _Profiled | None = None
        self._times_ns: List[Dict[str, int]] = []
        self._names: Sequence[str] = ()

    # --- the timed session ----------------------------------------------------------------------------------

    def run(self) -> None:
        with self._one_line():
            self._binding.run()

    def output_names(self) -> Sequence[str]:
        return self._file.signature.outputs

    def output(self, name: str) -> Any:
        place = self._file.signature.find_outputs({name})[name]
        return require_computed(name, self._binding.output(place))

    @property
    def facts(self) -> Mapping[str, Fact]:
        return {"providers": ",".join(self._session.get_providers())}

    def _make_session(self, profile_prefix: str = "", **entries: str) -> Any:
        runtime, backend = self._runtime, self._backend
        options = runtime.SessionOptions()
        options.log_severity_level = 3  # errors
        options.graph_optimization_level = getattr(runtime.GraphOptimizationLevel, LEVELS[backend.level])
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        spinning = {"session.%s_op.allow_spinning" % kind: "0" for kind in ("intra", "inter")}
        for name, value in {**spinning, **entries}.items():
            options.add_session_config_entry(name, value)
        for name, sizes in self._sizes_by_name().items():
            if len(sizes) == 1:  # some exporters give all open dimensions the name "?"
                options.add_free_dimension_override_by_name(name, *sizes)
        if profile_prefix:
            options.enable_profiling = True
            options.profile_file_prefix = profile_prefix
        providers = [(backend.provider, backend.options)] if backend.options else [backend.provider]
        with self._one_line():
            return runtime.InferenceSession(self._file.path, options, providers=providers)

    def _sizes_by_name(self) -> Dict[str, Set[int]]:
        """Of the open dimensions."""
        sizes: Dict[str, Set[int]] = {}
        for one in self._file.signature.inputs:
            for known, size in zip(one.shape or (), self._inputs[one.name].shape):
                if isinstance(known, str) and known:
                    sizes.setdefault(known, set()).add(size)
        return sizes

    def _bind(self, session: Any) -> _Bound | _Unbound:
        if any(array.dtype == object for array in self._inputs.values()):
            return _Unbound(session, self._inputs)
        binding = session.io_binding()
        with self._one_line():
            for name, array in self._inputs.items():
                binding.bind_cpu_input(name, array)
            for name in self._file.signature.outputs:
                binding.bind_output(name)
        return _Bound(session, binding)

    @contextmanager
    def _one_line(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            # A run with bound inputs raises RuntimeError itself, all else its own classes; a message with a
            # name from the file may not be UTF-8.
            known = type(error) in (RuntimeError, UnicodeDecodeError)
            if not known and not type(error).__module__.startswith("onnxruntime"):
                raise
            text = " ".join(str(error).split(" : ", 3)[-1].split())
            raise ModelError(
                "ONNX Runtime %s cannot run %s (%s): %s"
                % (self._runtime.__version__, self._file.signature.model, self._file.versions, text)
            ) from error

    # --- operator by operator -------------------------------------------------------------------------------

    @property
    def operator_names(self) -> Sequence[str]:
        return self._names

    def run_operators(self) -> List[int]:
        if self._backend.provider != CPU:
            raise ModelError(
                "operators are not timed on %s: ONNX Runtime's profile says when they were launched,"
                " not how long they computed; leave run_individual out" % self._backend.provider
            )
        if self._profile is None:
            self._profile = _Profiled(self)
            self._profile.run()  # not counted: it fills the memory pools
        self._profile.run()
        if self._profile.runs * max(len(self._names), self._file.operators) > MOST_EVENTS:
            self._end_profile()
        return []

    def take_operator_times(self) -> Mapping[str, List[int]]:
        self._end_profile()
        times, self._times_ns = self._times_ns, []
        return {name: [run[name] for run in times] for name in self._names}

    def _end_profile(self) -> None:
        if self._profile is not None:
            profile, self._profile = self._profile.end(), None
            self._names = [operator.name for operator in profile.operators]
            self._times_ns += profile.times_ns[1:]

    def observe(self) -> Observation:
        operators = self._observed().operators
        self._names = [operator.name for operator in operators]
        return Observation(
            {one.name: Kernel(one.kernel, one.provider == self._backend.provider) for one in operators},
            "operators",
            self._names,
        )

    def operators(self) -> Sequence[OperatorFacts]:
        return [operator_costs.facts(operator) for operator in self._observed().operators]

    def _observed(self) -> Profile:
        """The operators of one run. Weights that are packed beforehand would be missing, and their shapes are
        not recorded anywhere else.
        """
        profiled = _Profiled(self, **{"session.disable_prepacking": "1"})
        profiled.run()
        return profiled.end()


class _Profiled:
    """A separate session, because profiling makes a run slower by several percent."""

    def __init__(self, model: OnnxModel, **entries: str) -> None:
        self._model = model
        self._file = ProfileFile()
        self._session = model._make_session(self._file.prefix, **entries)
        self._file.opened()
        self._binding = model._bind(self._session)
        self.runs = 0

    def run(self) -> None:
        with self._model._one_line():
            self._binding.run()
        self.runs += 1

    def end(self) -> Profile:
        self._session.end_profiling()
        return self._file.read(self.runs, self._model._file.positions)
