"""The engine: blobs in a dictionary, operators as prepared functions."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import contextmanager
from typing import (
    AbstractSet,
    Any,
    Callable,
    Collection,
    Dict,
    Iterator,
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

from benchmarking.frameworks.kit.costs import OperatorFacts, TensorFacts
from benchmarking.frameworks.kit.errors import UsageError
from benchmarking.frameworks.kit.kernels import Fact, Kernel, Observation
from benchmarking.frameworks.kit.program import LoadedModel

from .. import messages, operator_costs
from ..engine import Engine, usable_options
from ..errors import NetError
from ..net_check import inner_nets, label, listed, require_fed, require_known_types, require_written
from . import compiled, fusion
from .allocator import keep_freed_memory
from .arguments import Arguments
from .backends import BACKENDS, backend_class
from .backends.backend import Backend, NoKernelError, on_host
from .compiled import Part
from .host_kernels import HostKernels
from .onednn_library import Library, OnednnError
from .operators import OPERATORS
from .plan import PlannedOperator, as_written, blobs_read, written_blobs
from .registry import Compute, Operator, Registration

_WARNINGS = {
    "not_fused": "--optimize fuse leaves the net as it is: %s",
    "not_compiled_together": "--optimize fuse computes operators one by one: %s",
}
"""What is said of facts by these names."""


class Step(NamedTuple):
    """One operator of a net, ready to run."""

    label: str
    """As in ``operator 3, Conv 'conv1'``, for messages."""
    name: str
    compute: Compute
    inputs: Tuple[str, ...]
    outputs: Tuple[str, ...]
    released: Optional[str]
    """The blob of the previous iteration that it writes again: its memory, still in the cache, is free again.
    """
    frees: Tuple[str, ...]
    """The blobs that nobody reads after it."""
    registration: Registration


class TorchEngine(Engine):
    name = "torch"
    backends = tuple(BACKENDS)
    optimizations = ("none", "fuse")

    def __init__(
        self,
        threads: int,
        seed: int,
        backend: str,
        optimize: str = "none",
        backend_options: Sequence[str] = (),
    ) -> None:
        keep_freed_memory()
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        self._threads = threads
        self._seed = seed
        self._fuses = optimize == "fuse"
        problem = self.why_unavailable(backend)
        if problem:
            raise UsageError("--backend %s: %s" % (backend, problem))
        options, self.unused_options = usable_options(backend_class(backend).options, backend_options)
        self._backend = backend_class(backend)(threads)
        self._backend.switch_on(options)
        torch._C._set_mkldnn_enabled(self._backend.uses_onednn)
        # Without oneDNN, torch uses NNPACK for batches of 16 and more, which older versions cannot disable.
        if hasattr(torch._C, "_set_nnpack_enabled"):
            torch._C._set_nnpack_enabled(self._backend.uses_onednn)

    @classmethod
    def why_unavailable(cls, backend: str) -> str:
        return backend_class(backend).why_unavailable()

    def facts(self) -> Mapping[str, Fact]:
        versions = {"engine": self.name, "engine_version": torch.__version__, "numpy": np.__version__}
        return {**versions, "precision": "f32", **self._backend.facts()}

    def load(
        self, init_net: Any, net: Any, inputs: Dict[str, Any], wanted: AbstractSet[str] = frozenset()
    ) -> LoadedModel:
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
        if self._backend.is_device:
            workspace.update({name: self._backend.upload(tensor) for name, tensor in workspace.items()})
        constants = weights - written_blobs(_net_of(plan))  # not of the net: some are computed already
        loaded = TorchNet(plan, workspace, self._seed, constants, facts, self._backend)
        loaded.rehearse()
        if self._fuses and why_not is None and self._backend.compiles_parts:
            loaded.compile_parts(self._threads)
        return loaded

    def _fuse(
        self, net: Any, workspace: Dict[str, Any], weights: AbstractSet[str], wanted: AbstractSet[str]
    ) -> Tuple[List[PlannedOperator], AbstractSet[str]]:
        """The plan and the names of its constants; afterwards the workspace has only these and the inputs."""

        def compute_once(planned: PlannedOperator) -> Dict[str, Any]:
            TorchNet([planned], constants, self._seed).run()
            return {name: constants[name] for name in planned.definition.output if name in constants}

        constants = dict(workspace)
        known = {name: workspace[name] for name in weights}
        plan, read = fusion.fused(net, known, wanted, compute_once)
        for name in weights:
            del workspace[name]
        workspace.update(read)
        return plan, read.keys()


class TorchNet(LoadedModel):
    def __init__(
        self,
        plan: Sequence[PlannedOperator],
        workspace: Dict[str, Any],
        seed: int,
        constants: AbstractSet[str] = frozenset(),
        facts: Optional[Mapping[str, Fact]] = None,
        backend: Optional[Backend] = None,
    ) -> None:
        """``constants``: the blobs that are the same in every run; ``backend``: None means host tensors."""
        self._plan = plan
        self._workspace = workspace
        self._constants = constants
        self._facts = facts or {}
        self._operators: List[OperatorFacts] = []
        self._written = written_blobs(_net_of(plan))
        self._backend = backend or backend_class("builtin")(1)
        self._is_device = self._backend.is_device
        self._preparation = _Preparation(plan, workspace, seed, constants, self._backend)
        self._steps = self._preparation.steps(plan, set(workspace))
        self._known: Dict[str, Any] = {}
        """A tensor without values for each blob that is read or written, if parts can be compiled."""
        self._parts: Dict[int, Part] = {}
        """By the number of its step."""
        self._operator_steps: Optional[List[Step]] = self._steps
        """Operator by operator; None: to be prepared when operators are timed."""

    @property
    def operator_names(self) -> Sequence[str]:
        return [planned.name for planned in self._plan]

    @property
    def facts(self) -> Mapping[str, Fact]:
        together = sum(len(part.operators) for part in self._parts.values())
        return {**self._facts, **({"operators_compiled_together": together} if together else {})}

    @property
    def warnings(self) -> Sequence[str]:
        return [text % self._facts[name] for name, text in _WARNINGS.items() if name in self._facts]

    def rehearse(self) -> None:
        """One run on copies of the blobs that it writes: operators compute everything that depends on shapes,
        and pack weights.
        """
        with self._on_copies():
            for number, planned in enumerate(self._plan):
                step = self._steps[number]
                inputs = self._blob_facts(step.inputs)
                self._rehearse_step(number, planned)
                if self._backend.compiles_parts:
                    self._note(planned)
                arguments, outputs = planned.definition.arg, self._blob_facts(planned.definition.output)
                self._operators.append(
                    operator_costs.facts(step.name, planned.types, arguments, inputs, outputs)
                )
            self._backend.synchronise()

    def compile_parts(self, threads: int) -> None:
        """After the rehearsal: from now on, parts of the net that oneDNN computes are one step of a run."""
        workspace, operators = self._workspace, self._steps
        constants = {name: workspace[name] for name in self._constants}
        try:
            library = Library(threads)
            found = compiled.parts(library, self._plan, self._known, constants)
        except OnednnError as error:
            self._facts = {**self._facts, "not_compiled_together": str(error)}
            return
        by_first = {part.first: part for part in found}
        self._steps = []
        with self._on_copies():
            number = 0
            while number < len(operators):
                part = by_first.get(number)
                steps = operators[number : number + (len(part.operators) if part else 1)]
                number += len(steps)
                if part is not None and self._is_right(part, steps):
                    steps = [_part_step(part)]
                    self._parts[len(self._steps)] = part
                _run(steps, workspace)
                self._steps += steps
        if self._parts:
            self._facts = {**self._facts, "onednn_version": library.version}
            self._operator_steps = None  # what the rehearsal has compiled for each operator takes memory

    def _is_right(self, part: Part, operators: Sequence[Step]) -> bool:
        """Whether it computes what its operators compute."""
        inputs = {name: self._workspace[name].clone() for name in part.inputs}

        def run_operators(blobs: Dict[str, Any]) -> None:
            workspace = {**self._workspace, **blobs}
            _run(operators, workspace)
            blobs.update(workspace)

        wrong = compiled.wrong_output(part, inputs, run_operators)
        if wrong is not None:
            problem = "%s to %s: %r would be wrong" % (part.operators[0].name, part.operators[-1].name, wrong)
            self._facts = {**self._facts, "not_compiled_together": problem}
        return wrong is None

    @contextmanager
    def _on_copies(self) -> Iterator[None]:
        """Blobs that are written in this context are removed afterwards."""
        workspace = self._workspace
        saved = {name: workspace[name] for name in self._written if name in workspace}
        workspace.update({name: blob.clone() for name, blob in saved.items()})
        with torch.inference_mode():
            yield
        for name in self._written:
            workspace.pop(name, None)
        workspace.update(saved)

    def observe(self) -> Observation:
        backend, host = self._backend, HostKernels()
        named: List[List[str]] = []
        with self._on_copies(), host.recorded(backend.observes_mkl, not backend.profiles) as operator:
            for number, step in enumerate(self._steps):
                with operator(number), backend.observe() as names:
                    _run([step], self._workspace)
                    backend.synchronise()
                named.append(names)
        kernels: Dict[str, Kernel] = {}
        for number, (step, names) in enumerate(zip(self._steps, named)):
            if number in self._parts:
                chosen = self._parts[number].kernels
                kernels.update({name: _kernel(backend, names) for name, names in chosen.items()})
            else:
                kernels[step.name] = _kernel(backend, [*names, *host.of(number)])
        types = backend.covered_types
        covered = [one.name for one in self._plan if types is None or one.definition.type in types]
        return Observation(kernels, backend.covers, covered, self._preparation.reasons)

    def _rehearse_step(self, number: int, planned: PlannedOperator) -> None:
        """If the backend turns out to have no kernel for the input, the host takes over permanently."""
        if number in self._preparation.own:
            try:
                if self._runs_own(self._steps[number]):
                    return
                reason = "its kernel is for other types of elements"
            except NetError as error:
                if not isinstance(error.__cause__, NoKernelError):
                    raise
                reason = str(error.__cause__)
            self._preparation.reasons[planned.name] = reason
            self._steps[number] = self._preparation.host_step(number, planned, set(self._workspace))
        problem = _wrong_type(self._steps[number], self._workspace)
        if problem is not None:
            raise NetError("%s %s" % (planned.label, problem))
        _run([self._steps[number]], self._workspace)

    def _runs_own(self, step: Step) -> bool:
        """False: the backend's kernel is for other types of elements; nothing was run."""
        if _wrong_type(step, self._workspace) is not None:
            return False
        _run([step], self._workspace)
        return True

    def run(self) -> None:
        with torch.inference_mode():
            if self._is_device:
                self._backend.start()
            _run(self._steps, self._workspace)
            if self._is_device:
                self._backend.synchronise()

    def device_ns(self) -> Optional[int]:
        return self._backend.device_ns()

    def run_operators(self) -> List[int]:
        with torch.inference_mode():
            synchronise = self._backend.synchronise if self._is_device else None
            if self._operator_steps is None:
                self._operator_steps = self._preparation.steps(self._plan, set(self._workspace))
                _run(self._operator_steps, self._workspace)
            return _run_timed(self._operator_steps, self._workspace, synchronise)

    def operators(self) -> Sequence[OperatorFacts]:
        return self._operators

    def _note(self, planned: PlannedOperator) -> None:
        for name in (*planned.definition.input, *planned.definition.output):
            if name in self._workspace:
                blob = self._workspace[name]
                self._known[name] = torch.empty(blob.shape, dtype=blob.dtype, device="meta")

    def _blob_facts(self, names: Sequence[str]) -> List[TensorFacts]:
        """The facts of the blobs that exist: an operator may leave an output unwritten."""
        there = [(name, self._workspace[name]) for name in names if name in self._workspace]
        return [
            TensorFacts(name, tuple(blob.shape), blob.element_size(), name in self._constants)
            for name, blob in there
        ]

    def output_names(self) -> Sequence[str]:
        return sorted(self._workspace)

    def output(self, name: str) -> Any:
        if name not in self._workspace:
            raise NetError("there is no blob %r; known are %s" % (name, listed(self.output_names())))
        blob = self._backend.download(self._workspace[name])
        # A copy: the next run may write the result into the same memory.
        return np.array((blob.to_dense() if blob.is_mkldnn else blob).numpy(), order="C")


def _kernel(backend: Backend, names: Sequence[str]) -> Kernel:
    """The first kernel that belongs to the backend, or otherwise the first."""
    own = next((name for name in names if backend.is_own(name)), None)
    return Kernel(names[0], False) if own is None else Kernel(own, True)


def _run(steps: Sequence[Step], workspace: Dict[str, Any]) -> None:
    step: Any = None
    try:
        for step in steps:
            _, _, compute, inputs, outputs, released, frees, _ = step
            if released is not None:
                workspace[released] = None
            result = compute(*[workspace[name] for name in inputs])
            if len(outputs) == 1:
                workspace[outputs[0]] = result
            else:
                workspace.update(zip(outputs, result))
            for name in frees:
                workspace.pop(name, None)
    except Exception as error:
        raise _failure(step.label, step.inputs, workspace, error) from error


def _run_timed(
    steps: Sequence[Step], workspace: Dict[str, Any], synchronise: Optional[Callable[[], None]] = None
) -> List[int]:
    """As ``_run``, but returns the nanoseconds of each step. ``synchronise`` waits for the device."""
    clock = time.perf_counter_ns
    times_ns = []
    step: Any = None
    try:
        for step in steps:
            _, _, compute, inputs, outputs, released, frees, _ = step
            start = clock()
            if released is not None:
                workspace[released] = None
            result = compute(*[workspace[name] for name in inputs])
            if synchronise is not None:
                synchronise()
            times_ns.append(clock() - start)
            if len(outputs) == 1:
                workspace[outputs[0]] = result
            else:
                workspace.update(zip(outputs, result))
            for name in frees:
                workspace.pop(name, None)
    except Exception as error:
        raise _failure(step.label, step.inputs, workspace, error) from error
    return times_ns


def _wrong_type(step: Step, workspace: Mapping[str, Any]) -> Optional[str]:
    """The problem with the types of its inputs; None: there is none."""
    types = [(name, workspace[name].dtype) for name in step.inputs if name in workspace]
    takes = step.registration.takes
    for name, found in types[:1]:
        if takes is not None and found not in takes:
            wanted = ", ".join(map(_type_name, takes))
            return "does not accept %r of type %s; it accepts %s" % (name, _type_name(found), wanted)
    for name, found in types if step.registration.same_type else []:
        if found != types[0][1]:
            return "does not accept %r of type %s together with %r of type %s" % (
                name,
                _type_name(found),
                types[0][0],
                _type_name(types[0][1]),
            )
    return None


def _type_name(dtype: Any) -> str:
    return str(dtype).replace("torch.", "")


def _failure(label: str, inputs: Sequence[str], workspace: Mapping[str, Any], error: Exception) -> NetError:
    """Converts any exception of an operator: its arguments and inputs come from the net."""
    if isinstance(error, KeyError) and error.args[0] in inputs and error.args[0] not in workspace:
        return NetError("%s, reads %r, which no operator has written" % (label, error.args[0]))
    shapes = ", ".join(
        "%s %s %s" % (name, _type_name(workspace[name].dtype), list(workspace[name].shape))
        for name in inputs
        if name in workspace
    )
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return NetError("%s, failed: %s (inputs: %s)" % (label, reason, shapes or "none"))


def check(net: Any, blobs: Collection[str]) -> None:
    """Checks everything that can be known before anything runs.

    Raises:
        NetError: an operator is unknown or has the wrong number of blobs, or a blob is fed by nobody.
    """
    require_known_types(net, OPERATORS, TorchEngine.name)
    for index, one in enumerate(net.op):
        problem = OPERATORS[one.type].check(one)
        if problem:
            raise NetError("%s: %s" % (label(index, one), problem))
    require_fed(net, blobs)
    require_written(net)


def _released(definition: Any) -> Optional[str]:
    """Not if the blob is read, nor if a nested net may leave it unchanged."""
    if not definition.output or definition.output[0] in definition.input:
        return None
    return None if inner_nets(messages.NetDef(op=[definition])) else str(definition.output[0])


def _net_of(plan: Sequence[PlannedOperator]) -> Any:
    return messages.NetDef(op=[one.definition for one in plan])


class _HostView(Dict[str, Any]):
    """Presents the blobs as host tensors, for an operator that the host computes for a device."""

    def __init__(self, blobs: Dict[str, Any], backend: Backend) -> None:
        super().__init__()
        self._blobs = blobs
        self._backend = backend

    def __contains__(self, name: object) -> bool:
        return name in self._blobs

    def __getitem__(self, name: str) -> Any:
        return self._backend.download(self._blobs[name])

    def __setitem__(self, name: str, tensor: Any) -> None:
        self._blobs[name] = self._backend.upload(tensor)


class _Preparation:
    """Creates the steps of a net, and of the nets in its arguments."""

    def __init__(
        self,
        plan: Sequence[PlannedOperator],
        workspace: Dict[str, Any],
        seed: int,
        constants: AbstractSet[str],
        backend: Backend,
    ) -> None:
        reads = Counter(blobs_read(_net_of(plan)))
        self._read_by_others = {name for name, count in reads.items() if count > 1}
        self._workspace = workspace
        self._seed = seed
        self._constants = constants
        self._backend = backend
        self.own: Set[int] = set()
        """The positions of the steps that the backend has kernels for, as far as this is known before they
        run.
        """
        self.reasons: Dict[str, str] = {}
        """The reasons why the host computes operators that the backend has a kernel for."""

    def steps(self, plan: Sequence[PlannedOperator], known: Set[str]) -> List[Step]:
        """``known``: the blobs that exist when it runs; its own blobs are added."""
        result = []
        for number, one in enumerate(plan):
            result.append(self._own_step(number, one, known) or self.host_step(number, one, known))
            known.update(one.definition.output)
        return result

    def _own_step(self, number: int, planned: PlannedOperator, known: Set[str]) -> Optional[Step]:
        registration = self._backend.operators.get(planned.definition.type)
        if registration is None:
            return None
        if planned.aliases:
            self.reasons[planned.name] = "its output has another name, whose blob changes with it"
            return None
        place = self._place(number, planned, known, self._workspace, self._read_by_others)
        if self._backend.is_device and registration.prepare is not OPERATORS[planned.definition.type].prepare:
            # An error in an operator's arguments is the same on every device.
            self.host_step(number, planned, known)
        try:
            step = _step(planned, place, registration)
        except NoKernelError as error:
            self.reasons[planned.name] = str(error)
            return None
        self.own.add(number)
        return step

    def host_step(self, number: int, planned: PlannedOperator, known: Set[str]) -> Step:
        """A step on host tensors; for a device, including the transfers."""
        registration = OPERATORS[planned.definition.type]
        if not self._backend.is_device:
            place = self._place(number, planned, known, self._workspace, self._read_by_others)
            return _step(planned, place, registration)
        # What it would repack is a blob of the device: it has to keep that form to itself.
        nothing_to_repack = frozenset(planned.definition.input)
        view = _HostView(self._workspace, self._backend)
        place = self._place(number, planned, known, view, nothing_to_repack)
        step = _step(planned, place, registration)
        held = [place.constant(index) for index in range(place.input_count)]
        return step._replace(compute=on_host(self._backend, step.compute, held))

    def _place(
        self,
        number: int,
        planned: PlannedOperator,
        known: Set[str],
        workspace: Dict[str, Any],
        read_by_others: AbstractSet[str],
    ) -> Operator:
        definition = planned.definition
        return Operator(
            type=definition.type,
            arguments=Arguments(definition.arg),
            inputs=tuple(definition.input),
            outputs=tuple(definition.output),
            workspace=workspace,
            seed=self._seed + number,
            constants=self._constants,
            read_by_others=read_by_others,
            overwrites=planned.overwrites,
            prepare_net=lambda net: self._inner_net(net, known),
        )

    def _inner_net(self, net: Any, known: Set[str]) -> Callable[[], None]:
        """It may overwrite blobs that it shares with the outer net, so nothing is written in place.

        It may be run never or later than the rehearsal, when the backend cannot give way any more: its
        operators are the host's.
        """
        check(net, known)
        inner = set(known)
        steps = []
        for number, one in enumerate(as_written(net, overwrites=False)):
            steps.append(self.host_step(number, one, inner))
            inner.update(one.definition.output)
        return lambda: _run(steps, self._workspace)


def _part_step(part: Part) -> Step:
    first, last = part.operators[0], part.operators[-1]
    freed = {name for one in part.operators for name in one.frees}
    return Step(
        label="%s to %s" % (first.label, last.label),
        name=first.name,
        compute=part.compute,
        inputs=part.inputs,
        outputs=part.outputs,
        released=None,
        frees=tuple(freed.intersection(part.inputs)),
        registration=OPERATORS[first.definition.type],
    )


def _step(planned: PlannedOperator, place: Operator, registration: Registration) -> Step:
    try:
        compute = registration.prepare(place)
    except NoKernelError:
        raise
    except NetError as error:
        raise NetError("%s: %s" % (planned.label, error)) from error
    except Exception as error:
        raise _failure(planned.label, place.inputs, place.workspace, error) from error
    outputs = place.outputs
    if inner_nets(messages.NetDef(op=[planned.definition])):
        outputs = ()  # the nets write them
    elif planned.aliases:
        compute = _with_aliases(compute, len(outputs), planned.aliases, place.workspace)
        outputs = (*(name for _, name in planned.aliases), *outputs)
    return Step(
        label=planned.label,
        name=planned.name,
        compute=compute,
        inputs=place.inputs,
        outputs=outputs,
        released=_released(planned.definition),
        frees=planned.frees,
        registration=registration,
    )


def _with_aliases(
    compute: Compute, count: int, aliases: Sequence[Tuple[int, str]], workspace: Mapping[str, Any]
) -> Compute:
    """Gives each alias its new blob before the ``count`` outputs: the same values in the alias's own shape.

    If the result has another size or type, the alias stays unchanged. (Caffe2 overwrites a part of it if the
    result is smaller.)
    """

    def seen_by(name: str, result: Any) -> Any:
        blob = workspace[name]
        if result.dtype != blob.dtype or result.numel() != blob.numel():
            return blob
        return result if result.shape == blob.shape else result.reshape(blob.shape)

    def with_aliases(*inputs: Any) -> Tuple[Any, ...]:
        results = compute(*inputs) if count > 1 else (compute(*inputs),)
        return (*(seen_by(name, results[number]) for number, name in aliases), *results)

    return with_aliases
