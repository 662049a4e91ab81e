"""The engine: blobs in a dictionary, operators as prepared functions."""

from __future__ import annotations

import time
from typing import (
    AbstractSet,
    Any,
    Callable,
    Collection,
    Dict,
    FrozenSet,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Set,
    Tuple,
)

import numpy as np
import torch

from ..engine import Engine, Fact, LoadedNet
from ..errors import NetError
from ..net_check import label, listed, operator_name, require_fed, require_known_types
from .arguments import Arguments
from .operators import OPERATORS
from .registry import Compute, Operator


class Step(NamedTuple):
    """One operator of a net, ready to run."""

    label: str
    """As in ``operator 3, Conv 'conv1'``, for messages."""
    name: str
    compute: Compute
    inputs: Tuple[str, ...]
    outputs: Tuple[str, ...]
    takes: Optional[Sequence[Any]]
    """As in ``Registration``."""


class TorchEngine(Engine):
    name = "torch"
    backends = ("builtin", "default")

    def __init__(self, threads: int, seed: int, backend: str) -> None:
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        self._seed = seed

    def facts(self) -> Mapping[str, Fact]:
        return {"engine": self.name, "engine_version": torch.__version__, "numpy": np.__version__}

    def load(self, init_net: Any, net: Any, inputs: Dict[str, Any]) -> LoadedNet:
        workspace: Dict[str, Any] = {}
        if init_net is not None:
            TorchNet(init_net, workspace, self._seed).run()
        weights = frozenset(workspace) - frozenset(inputs)
        for name, array in inputs.items():
            workspace[name] = torch.from_numpy(np.array(array))
        loaded = TorchNet(net, workspace, self._seed, weights)
        loaded.rehearse()
        return loaded


class TorchNet(LoadedNet):
    def __init__(
        self, net: Any, workspace: Dict[str, Any], seed: int, weights: AbstractSet[str] = frozenset()
    ) -> None:
        """``weights``: the blobs that are there before and are not inputs."""
        _check(net, workspace)
        self._workspace = workspace
        self._written = _written(net)
        self._steps = _Preparation(workspace, seed, weights - self._written).steps(
            net, _exclusive_overwrites(net), set(workspace)
        )

    @property
    def operator_names(self) -> Sequence[str]:
        return [step.name for step in self._steps]

    def rehearse(self) -> None:
        """One run on copies of what it writes: operators work out what hangs on shapes, and pack weights."""
        workspace = self._workspace
        saved = {name: workspace[name] for name in self._written if name in workspace}
        workspace.update({name: blob.clone() for name, blob in saved.items()})
        with torch.inference_mode():
            for step in self._steps:
                _check_type(step, workspace)
                _run([step], workspace)
        for name in self._written:
            workspace.pop(name, None)
        workspace.update(saved)

    def run(self) -> None:
        with torch.inference_mode():
            _run(self._steps, self._workspace)

    def run_operators(self) -> List[int]:
        workspace = self._workspace
        clock = time.perf_counter_ns
        times_ns = []
        with torch.inference_mode():
            for _, _, compute, inputs, outputs, _ in self._steps:
                start = clock()
                result = compute(*[workspace[name] for name in inputs])
                times_ns.append(clock() - start)
                if len(outputs) == 1:
                    workspace[outputs[0]] = result
                else:
                    workspace.update(zip(outputs, result))
        return times_ns

    def blob_names(self) -> Sequence[str]:
        return sorted(self._workspace)

    def blob(self, name: str) -> Any:
        if name not in self._workspace:
            raise NetError("there is no blob %r; the net's blobs: %s" % (name, listed(self.blob_names())))
        blob = self._workspace[name]
        return (blob.to_dense() if blob.is_mkldnn else blob).contiguous().numpy()


def _run(steps: Sequence[Step], workspace: Dict[str, Any]) -> None:
    step = None
    try:
        for step in steps:
            _, _, compute, inputs, outputs, _ = step
            result = compute(*[workspace[name] for name in inputs])
            if len(outputs) == 1:
                workspace[outputs[0]] = result
            else:
                workspace.update(zip(outputs, result))
    except (NetError, RuntimeError, ValueError, IndexError, TypeError) as error:
        raise _failure(step, workspace, error) from error


def _check_type(step: Step, workspace: Mapping[str, Any]) -> None:
    if step.takes is None or not step.inputs:
        return
    name, found = step.inputs[0], workspace[step.inputs[0]].dtype
    if found not in step.takes:
        raise NetError(
            "%s cannot have %r of type %s; it takes %s"
            % (step.label, name, _type_name(found), ", ".join(map(_type_name, step.takes)))
        )


def _type_name(dtype: Any) -> str:
    return str(dtype).replace("torch.", "")


def _failure(step: Any, workspace: Mapping[str, Any], error: Exception) -> NetError:
    shapes = ", ".join(
        "%s %s %s" % (name, _type_name(blob.dtype), list(blob.shape))
        for name, blob in ((name, workspace[name]) for name in step.inputs)
    )
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return NetError("%s failed: %s (inputs: %s)" % (step.label, reason, shapes or "none"))


def _check(net: Any, blobs: Collection[str]) -> None:
    """Everything that can be known to be wrong before anything runs."""
    require_known_types(net, OPERATORS, TorchEngine.name)
    for index, one in enumerate(net.op):
        problem = OPERATORS[one.type].check(one)
        if problem:
            raise NetError("%s: %s" % (label(index, one), problem))
    require_fed(net, blobs)


def _written(net: Any) -> FrozenSet[str]:
    """The blobs that a net writes, those of the nets in its arguments included."""
    names = {name for one in net.op for name in one.output}
    inner = (argument.n for one in net.op for argument in one.arg if argument.HasField("n"))
    return frozenset(names.union(*map(_written, inner)))


def _exclusive_overwrites(net: Any) -> FrozenSet[int]:
    """The operators that may write their first output over the input of the same name.

    That is so where no other blob can lie in the same memory.
    """
    shared: Set[str] = set()
    result = set()
    for index, one in enumerate(net.op):
        if not one.output:
            continue
        target = one.output[0]
        if list(one.input).count(target) == 1 and target not in shared:
            result.add(index)
        if not OPERATORS[one.type].shares_memory:
            shared.difference_update(set(one.output) - set(one.input))
        elif target not in one.input:
            shared.update(one.input, one.output)
    return frozenset(result)


class _Preparation:
    """Makes the steps of a net, and of the nets in its arguments."""

    def __init__(self, workspace: Dict[str, Any], seed: int, constants: AbstractSet[str]) -> None:
        self._workspace = workspace
        self._seed = seed
        self._constants = constants

    def steps(self, net: Any, overwriting: AbstractSet[int], known: Set[str]) -> List[Step]:
        """``known``: the blobs that there are when it runs; its own are added."""
        result = []
        for index, definition in enumerate(net.op):
            result.append(self._step(index, definition, index in overwriting, known))
            known.update(definition.output)
        return result

    def _step(self, index: int, definition: Any, overwrites: bool, known: Set[str]) -> Step:
        place = Operator(
            type=definition.type,
            arguments=Arguments(definition.arg),
            inputs=tuple(definition.input),
            outputs=tuple(definition.output),
            workspace=self._workspace,
            seed=self._seed + index,
            constants=self._constants,
            overwrites=overwrites,
            prepare_net=lambda net: self._inner_net(net, known),
        )
        registration = OPERATORS[definition.type]
        try:
            compute = registration.prepare(place)
        except NetError as error:
            raise NetError("%s: %s" % (label(index, definition), error)) from error
        name = operator_name(index, definition)
        return Step(label(index, definition), name, compute, place.inputs, place.outputs, registration.takes)

    def _inner_net(self, net: Any, known: Set[str]) -> Callable[[], None]:
        """What it overwrites may be shared with the outer net: nothing is written in place."""
        _check(net, known)
        steps = self.steps(net, frozenset(), set(known))
        return lambda: _run(steps, self._workspace)
