"""The engine: blobs in a dictionary, operators as prepared functions."""

from __future__ import annotations

import time
from collections import Counter
from typing import (
    AbstractSet,
    Any,
    Callable,
    Collection,
    Dict,
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

from .. import messages
from ..costs import BlobFacts, OperatorFacts
from ..engine import Engine, Fact, LoadedNet
from ..errors import NetError
from ..net_check import label, listed, require_fed, require_known_types
from . import fusion
from .arguments import Arguments
from .operators import OPERATORS
from .plan import PlannedOperator, as_written, blobs_read, inner_nets, written_blobs
from .registry import Compute, Operator


class Step(NamedTuple):
    """One operator of a net, ready to run."""

    label: str
    """As in ``operator 3, Conv 'conv1'``, for messages."""
    name: str
    compute: Compute
    inputs: Tuple[str, ...]
    outputs: Tuple[str, ...]
    released: Optional[str]
    """The blob of the iteration before that it writes anew: its memory, still in the cache, is free again."""
    takes: Optional[Sequence[Any]]
    """As in ``Registration``."""


class TorchEngine(Engine):
    name = "torch"
    backends = ("builtin", "default")
    optimizations = ("none", "fuse")

    def __init__(self, threads: int, seed: int, backend: str, optimize: str = "none") -> None:
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        self._seed = seed
        self._fuses = optimize == "fuse"

    def facts(self) -> Mapping[str, Fact]:
        return {"engine": self.name, "engine_version": torch.__version__, "numpy": np.__version__}

    def load(
        self, init_net: Any, net: Any, inputs: Dict[str, Any], wanted: AbstractSet[str] = frozenset()
    ) -> LoadedNet:
        workspace: Dict[str, Any] = {}
        if init_net is not None:
            check(init_net, workspace)
            TorchNet(as_written(init_net), workspace, self._seed).run()
        weights: AbstractSet[str] = frozenset(workspace) - frozenset(inputs)
        for name, array in inputs.items():
            workspace[name] = torch.from_numpy(np.array(array))
        check(net, workspace)
        why_not = fusion.why_not(net, workspace.keys()) if self._fuses else None
        if self._fuses and why_not is None:
            plan, weights = self._fuse(net, workspace, weights, wanted)
        else:
            plan = as_written(net)
        facts: Dict[str, Fact] = {"operators_run": len(plan)}
        if why_not is not None:
            facts["not_fused"] = why_not
        loaded = TorchNet(plan, workspace, self._seed, weights - written_blobs(net), facts)
        loaded.rehearse()
        return loaded

    def _fuse(
        self, net: Any, workspace: Dict[str, Any], weights: AbstractSet[str], wanted: AbstractSet[str]
    ) -> Tuple[List[PlannedOperator], AbstractSet[str]]:
        """The plan and the names of its constants; the workspace is left with these and the inputs."""

        def compute_once(inner: Any) -> Dict[str, Any]:
            constants.update(workspace)
            TorchNet(as_written(inner, overwrites=False), constants, self._seed).run()
            return {name: constants[name] for one in inner.op for name in one.output}

        constants: Dict[str, Any] = {}
        known = {name: workspace[name] for name in weights}
        plan, read = fusion.fused(net, known, wanted, compute_once)
        for name in weights:
            del workspace[name]
        workspace.update(read)
        return plan, read.keys()


class TorchNet(LoadedNet):
    def __init__(
        self,
        plan: Sequence[PlannedOperator],
        workspace: Dict[str, Any],
        seed: int,
        constants: AbstractSet[str] = frozenset(),
        facts: Optional[Mapping[str, Fact]] = None,
    ) -> None:
        """``constants``: the blobs that are the same in every run."""
        self._plan = plan
        self._workspace = workspace
        self._constants = constants
        self._facts = facts or {}
        self._operators: List[OperatorFacts] = []
        self._written = written_blobs(_net_of(plan))
        self._steps = _Preparation(plan, workspace, seed, constants).steps(plan, set(workspace))

    @property
    def operator_names(self) -> Sequence[str]:
        return [step.name for step in self._steps]

    @property
    def facts(self) -> Mapping[str, Fact]:
        return self._facts

    def rehearse(self) -> None:
        """One run on copies of what it writes: operators work out what hangs on shapes, and pack weights."""
        workspace = self._workspace
        saved = {name: workspace[name] for name in self._written if name in workspace}
        workspace.update({name: blob.clone() for name, blob in saved.items()})
        with torch.inference_mode():
            for step, planned in zip(self._steps, self._plan):
                _check_type(step, workspace)
                inputs = self._blob_facts(step.inputs)
                _run([step], workspace)
                arguments, outputs = planned.definition.arg, self._blob_facts(step.outputs)
                self._operators.append(OperatorFacts(step.name, planned.types, arguments, inputs, outputs))
        for name in self._written:
            workspace.pop(name, None)
        workspace.update(saved)

    def run(self) -> None:
        with torch.inference_mode():
            _run(self._steps, self._workspace)

    def run_operators(self) -> List[int]:
        with torch.inference_mode():
            return _run_timed(self._steps, self._workspace)

    def operators(self) -> Sequence[OperatorFacts]:
        return self._operators

    def _blob_facts(self, names: Sequence[str]) -> List[BlobFacts]:
        """Of those that there are: an operator may leave an output unwritten."""
        there = [(name, self._workspace[name]) for name in names if name in self._workspace]
        return [
            BlobFacts(name, tuple(blob.shape), blob.element_size(), name in self._constants)
            for name, blob in there
        ]

    def blob_names(self) -> Sequence[str]:
        return sorted(self._workspace)

    def blob(self, name: str) -> Any:
        if name not in self._workspace:
            raise NetError("there is no blob %r; there are %s" % (name, listed(self.blob_names())))
        blob = self._workspace[name]
        return (blob.to_dense() if blob.is_mkldnn else blob).contiguous().numpy()


_FAILURES = (NetError, RuntimeError, ValueError, IndexError, TypeError)


def _run(steps: Sequence[Step], workspace: Dict[str, Any]) -> None:
    step = None
    try:
        for step in steps:
            _, _, compute, inputs, outputs, released, _ = step
            if released is not None:
                workspace[released] = None
            result = compute(*[workspace[name] for name in inputs])
            if len(outputs) == 1:
                workspace[outputs[0]] = result
            else:
                workspace.update(zip(outputs, result))
    except _FAILURES as error:
        raise _failure(step, workspace, error) from error


def _run_timed(steps: Sequence[Step], workspace: Dict[str, Any]) -> List[int]:
    """As ``_run``; the nanoseconds of each step."""
    clock = time.perf_counter_ns
    times_ns = []
    step = None
    try:
        for step in steps:
            _, _, compute, inputs, outputs, released, _ = step
            start = clock()
            if released is not None:
                workspace[released] = None
            result = compute(*[workspace[name] for name in inputs])
            times_ns.append(clock() - start)
            if len(outputs) == 1:
                workspace[outputs[0]] = result
            else:
                workspace.update(zip(outputs, result))
    except _FAILURES as error:
        raise _failure(step, workspace, error) from error
    return times_ns


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
    return NetError("%s, failed: %s (inputs: %s)" % (step.label, reason, shapes or "none"))


def check(net: Any, blobs: Collection[str]) -> None:
    """Everything that can be known to be wrong before anything runs.

    Raises:
        NetError: an operator is unknown or has the wrong number of blobs, or a blob is fed by nobody.
    """
    require_known_types(net, OPERATORS, TorchEngine.name)
    for index, one in enumerate(net.op):
        problem = OPERATORS[one.type].check(one)
        if problem:
            raise NetError("%s: %s" % (label(index, one), problem))
    require_fed(net, blobs)


def _released(definition: Any) -> Optional[str]:
    """Not where the blob is read, nor where a net inside may leave it as it is."""
    if not definition.output or definition.output[0] in definition.input:
        return None
    return None if inner_nets(messages.NetDef(op=[definition])) else str(definition.output[0])


def _net_of(plan: Sequence[PlannedOperator]) -> Any:
    return messages.NetDef(op=[one.definition for one in plan])


class _Preparation:
    """Makes the steps of a net, and of the nets in its arguments."""

    def __init__(
        self,
        plan: Sequence[PlannedOperator],
        workspace: Dict[str, Any],
        seed: int,
        constants: AbstractSet[str],
    ) -> None:
        reads = Counter(blobs_read(_net_of(plan)))
        self._read_by_others = {name for name, count in reads.items() if count > 1}
        self._workspace = workspace
        self._seed = seed
        self._constants = constants

    def steps(self, plan: Sequence[PlannedOperator], known: Set[str]) -> List[Step]:
        """``known``: the blobs that there are when it runs; its own are added."""
        result = []
        for number, one in enumerate(plan):
            result.append(self._step(number, one, known))
            known.update(one.definition.output)
        return result

    def _step(self, number: int, planned: PlannedOperator, known: Set[str]) -> Step:
        definition = planned.definition
        place = Operator(
            type=definition.type,
            arguments=Arguments(definition.arg),
            inputs=tuple(definition.input),
            outputs=tuple(definition.output),
            workspace=self._workspace,
            seed=self._seed + number,
            constants=self._constants,
            read_by_others=self._read_by_others,
            overwrites=planned.overwrites,
            prepare_net=lambda net: self._inner_net(net, known),
        )
        registration = OPERATORS[definition.type]
        try:
            compute = registration.prepare(place)
        except NetError as error:
            raise NetError("%s: %s" % (planned.label, error)) from error
        return Step(
            label=planned.label,
            name=planned.name,
            compute=compute,
            inputs=place.inputs,
            outputs=place.outputs,
            released=_released(definition),
            takes=registration.takes,
        )

    def _inner_net(self, net: Any, known: Set[str]) -> Callable[[], None]:
        """What it overwrites may be shared with the outer net: nothing is written in place."""
        check(net, known)
        steps = self.steps(as_written(net, overwrites=False), set(known))
        return lambda: _run(steps, self._workspace)
