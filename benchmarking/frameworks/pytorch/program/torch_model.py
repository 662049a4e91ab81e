"""A model that torch calls: timed as a whole, and operator by operator."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import AbstractSet, Any, Callable, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import torch
from torch.utils import _pytree as pytree

from benchmarking.frameworks.kit.costs import OperatorFacts
from benchmarking.frameworks.kit.errors import BenchmarkProgramError, ModelError
from benchmarking.frameworks.kit.kernels import Fact, Observation
from benchmarking.frameworks.kit.program import LoadedModel
from benchmarking.frameworks.kit.signature import Signature, require_computed

from . import dispatched, model_file
from .backends import Backend

_COMPILED = "ID_0_compiled_model"
"""A model compiled by Inductor is one operator, because its kernels cannot be distinguished from outside."""

_RUNS_BEFORE = 3
"""Runs before operators are observed, because TorchScript optimizes a graph in its first runs."""

_PRECISIONS = {
    torch.float64: "f64",
    torch.float32: "f32",
    torch.float16: "f16",
    torch.bfloat16: "bf16",
    torch.qint8: "int8",
    torch.quint8: "int8",
}


class Call(NamedTuple):
    """The callable of a model."""

    function: Callable[..., Any]
    arguments: Tuple[Any, ...]
    keywords: Mapping[str, Any]
    outputs: Optional[Tuple[str, ...]]
    """None: known once the model has run."""
    renamed: bool
    """Whether inputs and outputs have other names than in the model, and are in its order."""
    weights: Sequence[Any] = ()
    labels: Sequence[str] = ()
    """The names of its operators, in the order in which they run, if they are known."""
    eager: Optional[Callable[..., Any]] = None
    """The same model before it was compiled."""


class TorchModel(LoadedModel):
    def __init__(self, name: str, call: Call, backend: Backend, wanted: AbstractSet[str]) -> None:
        self._name = name
        self._call = call
        self._backend = backend
        self._wanted = wanted
        self._result: Any = None
        self._seen: Optional[dispatched.Seen] = None
        on_gpu = backend.device == "cuda"
        self._events = [torch.cuda.Event(enable_timing=True) for _ in range(2)] if on_gpu else []
        self._synchronize: Callable[[], None] = torch.cuda.synchronize if on_gpu else _nothing
        if backend.way == "inductor":
            self.run()  # compiles

    def run(self) -> None:
        call, events = self._call, self._events
        with one_line(self._name), torch.inference_mode():
            if events:
                events[0].record()
            self._result = call.function(*call.arguments, **call.keywords)
            if events:
                events[1].record()
                events[1].synchronize()

    def device_ns(self) -> Optional[int]:
        return int(self._events[0].elapsed_time(self._events[1]) * 1e6) if self._events else None

    @property
    def facts(self) -> Mapping[str, Fact]:
        gpu = {"gpu": torch.cuda.get_device_name()} if self._events else {}
        return {**gpu, "precision": self._precision()}

    def _precision(self) -> str:
        """The precision of weights and inputs: torch computes in their types, unless reduced precision is
        allowed.
        """
        tensors = [*self._call.weights, *pytree.tree_leaves((self._call.arguments, self._call.keywords))]
        types = {one.dtype for one in tensors if isinstance(one, torch.Tensor)}
        names = [name for dtype, name in _PRECISIONS.items() if dtype in types]
        return "+".join("tf32" if name == "f32" and self._backend.tf32 else name for name in names)

    def output_names(self) -> Sequence[str]:
        return self._call.outputs or model_file.output_names(
            pytree.treespec_dumps(pytree.tree_structure(self._result))
        )

    def output(self, name: str) -> Any:
        names = tuple(self.output_names())
        places = Signature(self._name, (), names).find_outputs(
            {**dict.fromkeys(self._wanted), name: None}.keys(), self._call.renamed
        )
        value = pytree.tree_leaves(self._result)[places[name]]
        if not isinstance(value, torch.Tensor):
            value = torch.as_tensor(value)
        value = value.float() if value.dtype is torch.bfloat16 else value
        with one_line(self._name):  # of a type, or with a layout, that NumPy lacks
            return require_computed(name, value.detach().cpu().contiguous().numpy())

    # --- operator by operator -------------------------------------------------------------------------------

    @property
    def _is_compiled(self) -> bool:
        return self._backend.way == "inductor"

    @property
    def operator_names(self) -> Sequence[str]:
        if self._is_compiled:
            return [_COMPILED]
        return self._seen.names if self._seen else ()

    def run_operators(self) -> List[int]:
        if self._is_compiled:
            start = time.perf_counter_ns()
            self.run()
            return [time.perf_counter_ns() - start]
        if self._seen is None:
            self._see()
        with one_line(self._name), torch.inference_mode(), dispatched.Clock(self._synchronize) as clock:
            self._call.function(*self._call.arguments, **self._call.keywords)
        if len(clock.times_ns) != len(self.operator_names):
            raise ModelError(
                "the model %s does not run the same operators each time; leave run_individual out"
                % self._name
            )
        times: List[int] = clock.times_ns
        return times

    def observe(self) -> Observation:
        if self._is_compiled:
            return dispatched.compiled(_COMPILED)
        return self._see().observation(self._backend)

    def operators(self) -> Sequence[OperatorFacts]:
        seen = self._see()
        return [seen.together(_COMPILED)] if self._is_compiled else seen.facts()

    def _see(self) -> dispatched.Seen:
        """Runs the model once more, operator by operator, and observes each."""
        call = self._call
        function = call.eager or call.function
        if self._seen is None:
            with one_line(self._name), torch.inference_mode():
                for _ in range(0 if self._is_compiled else _RUNS_BEFORE):
                    function(*call.arguments, **call.keywords)
                self._seen = dispatched.see(
                    lambda: function(*call.arguments, **call.keywords), call.weights, call.labels
                )
        return self._seen


def _nothing() -> None:
    pass


@contextmanager
def one_line(name: str) -> Iterator[None]:
    """Converts errors of torch about a model, which have many types and many lines, to errors that the user
    can fix.
    """
    try:
        yield
    except BenchmarkProgramError:
        raise
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        # A TorchScript message includes a traceback, which ends like this.
        errors = [line for line in lines if line.startswith("RuntimeError: ")]
        text = (errors or lines or [type(error).__name__])[-1 if errors else 0]
        raise ModelError("PyTorch %s cannot run %s: %s" % (torch.__version__, name, text[:500])) from error
