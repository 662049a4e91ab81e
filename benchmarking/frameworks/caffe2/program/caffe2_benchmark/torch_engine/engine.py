"""The engine: blobs in a dictionary, operators as prepared functions."""

from __future__ import annotations

import time
from typing import Any, Dict, FrozenSet, List, Mapping, NamedTuple, Sequence, Set, Tuple

import numpy as np
import torch

from ..engine import Engine, Fact, LoadedNet
from ..errors import NetError
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
        self, net: Any, workspace: Dict[str, Any], seed: int, weights: FrozenSet[str] = frozenset()
    ) -> None:
        """``weights``: the blobs that are there before and are not inputs."""
        _check(net, workspace)
        self._workspace = workspace
        self._written = _written(net)
        constants = weights - self._written
        exclusive = _exclusive_overwrites(net)
        self._steps = [
            _prepare(index, definition, workspace, seed, constants, index in exclusive)
            for index, definition in enumerate(net.op)
        ]

    @property
    def operator_names(self) -> Sequence[str]:
        return [step.name for step in self._steps]

    def rehearse(self) -> None:
        """One run on copies of what it writes: operators work out what hangs on shapes, and pack weights."""
        workspace = self._workspace
        saved = {name: workspace[name] for name in self._written if name in workspace}
        workspace.update({name: blob.clone() for name, blob in saved.items()})
        self.run()
        for name in self._written:
            workspace.pop(name, None)
        workspace.update(saved)

    def run(self) -> None:
        workspace = self._workspace
        step = None
        try:
            with torch.inference_mode():
                for step in self._steps:
                    _, _, compute, inputs, outputs = step
                    result = compute(*[workspace[name] for name in inputs])
                    if len(outputs) == 1:
                        workspace[outputs[0]] = result
                    else:
                        workspace.update(zip(outputs, result))
        except (NetError, RuntimeError, ValueError, IndexError, TypeError) as error:
            raise self._failure(step, error) from error

    def run_operators(self) -> List[int]:
        workspace = self._workspace
        clock = time.perf_counter_ns
        times_ns = []
        with torch.inference_mode():
            for _, _, compute, inputs, outputs in self._steps:
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
            raise NetError("there is no blob %r; the net's blobs: %s" % (name, _listed(self.blob_names())))
        blob = self._workspace[name]
        return (blob.to_dense() if blob.is_mkldnn else blob).contiguous().numpy()

    def _failure(self, step: Any, error: Exception) -> NetError:
        shapes = ", ".join(
            "%s %s %s" % (name, str(blob.dtype).replace("torch.", ""), list(blob.shape))
            for name, blob in ((name, self._workspace[name]) for name in step.inputs)
        )
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return NetError("%s failed: %s (inputs: %s)" % (step.label, reason, shapes or "none"))


def _check(net: Any, workspace: Mapping[str, Any]) -> None:
    """Everything that can be known to be wrong before anything runs."""
    unknown = sorted({one.type for one in net.op if one.type not in OPERATORS})
    if unknown:
        raise NetError(
            "net %r has operators that the engine torch does not know: %s" % (net.name, ", ".join(unknown))
        )
    known = set(workspace)
    for index, one in enumerate(net.op):
        problem = OPERATORS[one.type].check(one)
        if problem:
            raise NetError("%s: %s" % (_label(index, one), problem))
        unfed = [name for name in one.input if name not in known]
        if unfed:
            raise NetError(
                "%s reads %s, which nobody feeds: name it in --input, or fill it in the init net"
                % (_label(index, one), _listed(unfed))
            )
        known.update(one.output)


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


def _prepare(
    index: int,
    definition: Any,
    workspace: Dict[str, Any],
    seed: int,
    constants: FrozenSet[str],
    overwrites: bool,
) -> Step:
    place = Operator(
        type=definition.type,
        arguments=Arguments(definition.arg),
        input_count=len(definition.input),
        output_count=len(definition.output),
        workspace=workspace,
        seed=seed + index,
        constants=tuple(name if name in constants else None for name in definition.input),
        overwrites=overwrites,
    )
    try:
        compute = OPERATORS[definition.type].prepare(place)
    except NetError as error:
        raise NetError("%s: %s" % (_label(index, definition), error)) from error
    name = "ID_%d_%s_%s" % (index, definition.type, _own_name(definition))
    return Step(_label(index, definition), name, compute, tuple(definition.input), tuple(definition.output))


def _own_name(definition: Any) -> str:
    return str(definition.name or (definition.output[0] if definition.output else ""))


def _label(index: int, definition: Any) -> str:
    return "operator %d, %s %r," % (index, definition.type, _own_name(definition))


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:10])
    return shown + (" and %d more" % (len(names) - 10) if len(names) > 10 else "")
