"""The operators of a model, the kernels that compute them, and their times.

Below ``inference_mode`` torch dispatches each operator of a graph once, whatever its parts are; a dispatch
mode sees them, in eager graphs and in TorchScript alike.
"""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Sequence

import torch
from torch.autograd import profiler
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarking.frameworks.kit import flops
from benchmarking.frameworks.kit.costs import OperatorFacts, TensorFacts
from benchmarking.frameworks.kit.kernels import Kernel, Observation

from .backends import Backend

_MARK = "operator "
_PREPARING = frozenset(
    "aten::" + name
    for name in (
        *("empty", "empty_strided", "resize_", "resolve_conj", "view"),
        *("as_strided", "as_strided_", "t", "transpose", "expand"),
    )
)
"""The other work of an operator besides computing."""


def is_operator(overload: Any) -> bool:
    """Queries of sizes in a graph are dispatched like operators."""
    return "::sym_" not in overload.name()


class Clock(TorchDispatchMode):
    """Times each operator."""

    def __init__(self, synchronize: Callable[[], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._synchronize = synchronize
        self.times_ns: List[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        keywords = kwargs or {}
        if not is_operator(func):
            return func(*args, **keywords)
        start = time.perf_counter_ns()
        result = func(*args, **keywords)
        self._synchronize()
        self.times_ns.append(time.perf_counter_ns() - start)
        return result


class _Operator(NamedTuple):
    kind: str
    inputs: Sequence[Any]
    outputs: Sequence[Any]
    moves: bool
    """Whether it reads and writes them; a view of a tensor counts as that tensor."""


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operators: List[_Operator] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not is_operator(func):
            return func(*args, **(kwargs or {}))
        with profiler.record_function(_MARK + str(len(self.operators))):
            result = func(*args, **(kwargs or {}))
        inputs, outputs = _tensors((args, kwargs)), _tensors(result)
        places = {one.untyped_storage().data_ptr() for one in inputs}
        moves = func._schema.is_mutable or not {one.untyped_storage().data_ptr() for one in outputs} <= places
        self.operators.append(_Operator(func._schema.name.partition("::")[2], inputs, outputs, moves))
        return result


def _tensors(tree: Any) -> List[Any]:
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


class Seen(NamedTuple):
    """The observation of one run of a model."""

    names: Sequence[str]
    """``ID_<place>_<type>_<label>``."""
    operators: Sequence[_Operator]
    kernels: Sequence[str]
    weights: Dict[int, str]
    """Maps the address to the name."""

    def observation(self, backend: Backend) -> Observation:
        own = [_is_own(operator, backend) for operator in self.operators]
        kernels = {
            name: Kernel(kernel, is_own) for name, kernel, is_own in zip(self.names, self.kernels, own)
        }
        if backend.way != "channels_last":
            return Observation(kernels, "operators", self.names)
        images = [name for name, one in zip(self.names, self.operators) if any(map(_is_image, one.outputs))]
        return Observation(kernels, "operators on images", images)

    def facts(self) -> List[OperatorFacts]:
        return [self._facts(name, one) for name, one in zip(self.names, self.operators)]

    def together(self, name: str) -> OperatorFacts:
        """Combines all operators into one, without the tensors that they pass to each other."""
        facts = self.facts()
        weights = {one.name: one for operator in facts for one in operator.inputs if one.is_weight}
        made = {one.name for operator in facts for one in operator.outputs}
        taken = {one.name: one for operator in facts for one in operator.inputs if one.name not in made}
        return OperatorFacts(
            name,
            sum(one.flops for one in facts),
            [*{**taken, **weights}.values()],
            facts[-1].outputs if facts else (),  # a model may only pass on what it takes
        )

    def _facts(self, name: str, operator: _Operator) -> OperatorFacts:
        inputs = [self._tensor(one, operator.moves) for one in operator.inputs]
        outputs = [self._tensor(one, operator.moves) for one in operator.outputs]
        return OperatorFacts(name, flops.count(operator.kind, inputs, outputs), inputs, outputs)

    def _tensor(self, tensor: Any, moves: bool) -> TensorFacts:
        address = tensor.data_ptr()
        name = self.weights.get(address, "")
        item_bytes = tensor.element_size() if moves else 0
        return TensorFacts(name or "tensor%d" % id(tensor), tuple(tensor.shape), item_bytes, bool(name))


def _is_own(operator: _Operator, backend: Backend) -> bool:
    if backend.way == "channels_last":
        return any(
            _is_image(one) and one.is_contiguous(memory_format=torch.channels_last)
            for one in operator.outputs
        )
    return all(bool(one.device.type == backend.device) for one in operator.outputs)


def _is_image(tensor: Any) -> bool:
    return bool(tensor.dim() == 4 and tensor.shape[1] > 1 and tensor.shape[2] * tensor.shape[3] > 1)


def compiled(name: str) -> Observation:
    return Observation({name: Kernel("Inductor", True)}, "operators", [name])


def see(run: Callable[[], Any], weights: Sequence[Any], labels: Sequence[str]) -> Seen:
    recorder = _Recorder()
    with profiler.profile(use_device="cuda" if torch.cuda.is_available() else None) as profiled, recorder:
        run()
    kinds = [one.kind for one in recorder.operators]
    labels = labels if len(labels) == len(kinds) else [""] * len(kinds)
    names = [
        "ID_%d_%s_%s" % (at, _type(kind), label or kind.strip("_"))
        for at, (kind, label) in enumerate(zip(kinds, labels))
    ]
    marks = {event.name: event for event in profiled.function_events if event.name.startswith(_MARK)}
    kernels = [_kernel(marks.get(_MARK + str(at)), "aten::" + kind) for at, kind in enumerate(kinds)]
    return Seen(
        names,
        recorder.operators,
        kernels,
        {one.data_ptr(): "weight%d" % at for at, one in enumerate(weights)},
    )


def _type(kind: str) -> str:
    """Converts ``max_pool2d`` to ``MaxPool2d``: an underscore ends a part of an operator's name."""
    return "".join(part[:1].upper() + part[1:] for part in kind.split("_"))


def _kernel(mark: Any, usual: str) -> str:
    """The longest step below an operator: a kernel of the GPU, or otherwise an operator of ATen."""
    below = list(_below(mark)) if mark else []
    on_gpu = [kernel for event in below for kernel in event.kernels]
    if on_gpu:
        return str(max(on_gpu, key=lambda kernel: kernel.duration).name)[:100]
    computing = [event for event in below if event.name not in _PREPARING and "::" in event.name]
    return str(max(computing, key=lambda event: event.self_cpu_time_total).name) if computing else usual


def _below(event: Any) -> Iterator[Any]:
    for child in event.cpu_children:
        yield child
        yield from _below(child)
