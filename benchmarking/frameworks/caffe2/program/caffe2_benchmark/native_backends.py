"""The backends of real Caffe2: another engine for its operators, or another device.

Each operator is tried once before the net is made: Caffe2 falls back without a word where an engine has no
kernel for an operator, and refuses the whole net where a device has none.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from abc import ABC, abstractmethod
from typing import (
    AbstractSet,
    Any,
    Callable,
    Dict,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Set,
    Tuple,
    Type,
)

import numpy as np
from caffe2.proto import caffe2_pb2
from caffe2.python import core, workspace

from . import library_kernels, printed
from .errors import NetError
from .kernels import Kernel
from .net_check import label, operator_name

_HOST = "caffe2:cpu"
_END_OF_REASON = re.compile(r"\(Error from operator|Operator def:|: input: |\n")
_REFUSED = "does not support the requested feature"
_ON_DEVICE, _ORDERED, _REFERENCE = "%s @device", "%s @ordered", "%s @reference"
_TOLERANCE = 1e-3
"""Of the largest value: by how much a device may differ from the host."""


_MOVING = ("Concat", "Split", "Slice", "Transpose", "Copy")
"""Operators whose whole work is to move data."""


class Part(NamedTuple):
    """One operator of the net, as it is run."""

    name: str
    source: Any
    """As it stands in the net."""
    operator: Any
    copies: Sequence[Any]
    """Operators that bring its inputs to its device."""
    kernel: Kernel

    @property
    def operators(self) -> List[Any]:
        return [*self.copies, self.operator]


class Prepared(NamedTuple):
    parts: Sequence[Part]
    on_device: Dict[str, str]
    """The blobs that lie on a device at the end only, with their names there."""


def is_helper(name: str) -> bool:
    """Whether it is a blob of a backend's, rather than of the net's."""
    return name.endswith((" @device", " @ordered", " @reference", " @read"))


def reason(error: RuntimeError) -> str:
    """Caffe2's message without the place in its sources, the operator's definition and the stack."""
    text = _END_OF_REASON.split(str(error), maxsplit=1)[0]
    return text.split("] ", 1)[-1].strip(" .")


def run_once(operator: Any) -> None:
    """Without the warnings that Caffe2's own function prints where it fails."""
    workspace.C.run_operator_once(operator.SerializeToString())


class NativeBackend(ABC):
    name = ""
    covers = "operators"
    covered_types: Optional[Sequence[str]] = None
    """None: every type."""

    @classmethod
    def why_unavailable(cls) -> str:
        """As in the engine torch."""
        return ""

    @abstractmethod
    def prepare(self, definition: Any, wanted: AbstractSet[str]) -> Prepared:
        """What is run in place of the net; may run its operators, whose inputs are all there.

        ``wanted``: the blobs that are read afterwards.
        """

    def download(self, source: str, target: str) -> None:
        """Copies a blob of the device to one of the host."""
        raise NotImplementedError

    def proven(self, load: Callable[[], Sequence[Part]]) -> Callable[[Part], Kernel]:
        """Tells which kernel an operator ran; before the net is loaded, which ``load`` does."""
        return lambda part: part.kernel


class Builtin(NativeBackend):
    """The engines that the net names."""

    name = "builtin"

    def prepare(self, definition: Any, wanted: AbstractSet[str]) -> Prepared:
        kernel = Kernel(_HOST, True)
        return Prepared([_part(index, one, one, [], kernel) for index, one in enumerate(definition.op)], {})


class Default(Builtin):
    name = "default"


class _OperatorEngine(NativeBackend):
    engine = ""

    def prepare(self, definition: Any, wanted: AbstractSet[str]) -> Prepared:
        parts = []
        with _inputs_kept(definition):
            for index, one in enumerate(definition.op):
                operator = self._with_engine(one)
                if self._may_try(one) and _runs(operator):
                    kernel = Kernel("caffe2:" + self.engine.lower(), True)
                else:
                    operator, kernel = one, Kernel(_HOST, False)
                    _require_run(index, one)
                parts.append(_part(index, one, operator, [], kernel))
        return Prepared(parts, {})

    def _with_engine(self, definition: Any) -> Any:
        operator = caffe2_pb2.OperatorDef()
        operator.CopyFrom(definition)
        operator.engine = self.engine
        return operator

    def _may_try(self, definition: Any) -> bool:
        return bool(core.IsOperatorWithEngine(definition.type, self.engine))


class Eigen(_OperatorEngine):
    name = "eigen"
    engine = "EIGEN"
    covers = "convolutions"
    covered_types = ("Conv", "Conv1D", "Conv2D", "Conv3D")


class Nnpack(_OperatorEngine):
    name = "nnpack"
    engine = "NNPACK"
    covers = "convolutions"
    covered_types = ("Conv", "Conv1D", "Conv2D", "Conv3D")

    def _may_try(self, definition: Any) -> bool:
        """With dilation it does not refuse, it ends the process."""
        dilations = [
            value
            for one in definition.arg
            if one.name.startswith("dilation")
            for value in (one.i, *one.ints)
            if value > 1
        ]
        return super()._may_try(definition) and not dilations


class _Device(NativeBackend):
    """Weights and inputs are brought there before the net runs, other blobs where they are needed."""

    device_type = 0
    kernel = ""
    """What its operators are called."""
    to_device, to_host = "", ""
    """Types of operators that copy."""

    def prepare(self, definition: Any, wanted: AbstractSet[str]) -> Prepared:
        with _inputs_kept(definition):
            placement = _Placement(self, definition, wanted)
            parts = [placement.part(index, one) for index, one in enumerate(definition.op)]
            placement.bring_back(parts)
            placement.tidy_up(parts)
        return Prepared(parts, placement.only_on_device())

    def on_device(self, definition: Any) -> Any:
        definition.device_option.device_type = self.device_type
        return definition

    def upload_operators(self, source: str, target: str) -> List[Any]:
        return [self.on_device(caffe2_pb2.OperatorDef(type=self.to_device, input=[source], output=[target]))]

    def download_operators(self, source: str, target: str) -> List[Any]:
        return [self.on_device(caffe2_pb2.OperatorDef(type=self.to_host, input=[source], output=[target]))]

    def download(self, source: str, target: str) -> None:
        for one in self.download_operators(source, target):
            run_once(one)

    def may_try(self, definition: Any) -> bool:
        return not any(one.HasField("n") for one in definition.arg)


class Mkl(_Device):
    """Caffe2's operators on oneDNN."""

    name = "mkl"
    device_type = caffe2_pb2.IDEEP
    kernel = "caffe2:ideep"
    to_device, to_host = "CopyCPUToIDEEP", "CopyIDEEPToCPU"
    never: Tuple[str, ...] = ("NCHW2NHWC", "NHWC2NCHW")
    """Operators that it has, but that compute something else than those of the host."""

    @classmethod
    def why_unavailable(cls) -> str:
        if workspace.C.use_mkldnn:
            return ""
        return "this Caffe2 was built without oneDNN; docs/caffe2.md says how to get one that has it"

    def may_try(self, definition: Any) -> bool:
        """Its operators take channels to come first, and some end the process where they do not."""
        orders = [one.s for one in definition.arg if one.name == "order"]
        return super().may_try(definition) and definition.type not in self.never and b"NHWC" not in orders

    def download_operators(self, source: str, target: str) -> List[Any]:
        """Its copy leaves channels innermost where they are; a transposition to the same order does not."""
        if getattr(workspace.FetchBlob(source), "ndim", 0) != 4:
            return super().download_operators(source, target)
        ordered = _ORDERED % target
        transposition = caffe2_pb2.OperatorDef(type="Transpose", input=[source], output=[ordered])
        transposition.arg.add(name="axes", ints=range(4))
        return [self.on_device(transposition), *super().download_operators(ordered, target)]

    def proven(self, load: Callable[[], Sequence[Part]]) -> Callable[[Part], Kernel]:
        """oneDNN tells what it runs if it finds an environment variable before it first runs: in a child."""
        told = _told_in_child(load)
        if told is None:
            return lambda part: part.kernel

        def kernel(part: Part) -> Kernel:
            names = told.get(part.name, [])
            if part.kernel.kernel != self.kernel or not names:
                return Kernel(part.kernel.kernel, False)
            return Kernel(names[0], library_kernels.is_onednn(names[0]) or part.source.type in _MOVING)

        return kernel


def _told_in_child(load: Callable[[], Sequence[Part]]) -> Optional[Dict[str, List[str]]]:
    """The kernels by operator; None: there was no way to learn them."""
    if not hasattr(os, "fork"):
        return None
    with tempfile.TemporaryFile("w+") as answer:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.environ.update(dict.fromkeys(("DNNL_VERBOSE", "MKLDNN_VERBOSE"), "1"))
                json.dump(_library_kernels(load), answer)
                answer.flush()
                status = 0
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            signal = os.WTERMSIG(status)
            raise NetError("--backend mkl: Caffe2's oneDNN operators ended the process by signal %d" % signal)
        answer.seek(0)
        text = answer.read()
    told: Dict[str, List[str]] = json.loads(text) if text else {}
    return told if any(told.values()) else None


def _library_kernels(load: Callable[[], Sequence[Part]]) -> Dict[str, List[str]]:
    result = {}
    with printed.captured(printed.STDOUT, printed.STDERR) as output:
        for part in load():
            for copy in part.copies:
                run_once(copy)
            printed.flush()
            start = output.seek(0, 2)
            run_once(part.operator)
            printed.flush()
            output.seek(start)
            result[part.name] = library_kernels.read(output.read().decode(errors="replace"))
    return result


class Cuda(_Device):
    name = "cuda"
    device_type = caffe2_pb2.CUDA
    kernel = "caffe2:cuda"
    to_device, to_host = "CopyCPUToGPU", "CopyGPUToCPU"

    @classmethod
    def why_unavailable(cls) -> str:
        if workspace.has_cuda_support and workspace.NumCudaDevices():
            return ""
        return "Caffe2 finds no CUDA device: it needs an NVIDIA GPU, its driver and torch 1.10.2 with CUDA"


BACKENDS: Dict[str, Type[NativeBackend]] = {
    one.name: one for one in (Builtin, Default, Eigen, Nnpack, Mkl, Cuda)
}


class _Placement:
    """Where the blobs are while the net runs: on the host under their names, on the device under others."""

    def __init__(self, device: _Device, definition: Any, wanted: AbstractSet[str]) -> None:
        self._device = device
        self._read = {name for one in definition.op for name in one.input} | wanted
        self._written = {name for one in definition.op for name in one.output}
        self._outside = {name for one in definition.op for name in one.input if workspace.HasBlob(name)}
        self._on_host: Set[str] = set(self._outside)
        self._on_device: Set[str] = set()

    def part(self, index: int, definition: Any) -> Part:
        copies: List[Any] = []
        if self._device.may_try(definition) and self._upload_all(definition.input, copies):
            operator = self._moved(definition)
            if self._agrees(definition, operator):
                return _part(index, definition, operator, copies, Kernel(self._device.kernel, True))
        for name in definition.input:
            if name not in self._on_host:
                self._add(copies, self._device.download_operators(_ON_DEVICE % name, name))
                self._on_host.add(name)
        _require_run(index, definition)
        self._on_host.update(definition.output)
        self._on_device.difference_update(definition.output)
        return _part(index, definition, definition, copies, Kernel(_HOST, False))

    def bring_back(self, parts: List[Part]) -> None:
        """What was there before and is written by the net: the next run reads it from where this one did."""
        for name in sorted((self._outside & self._written) - self._on_host):
            copies = self._device.download_operators(_ON_DEVICE % name, name)
            last = parts.pop()
            parts.append(
                last._replace(copies=[*last.copies, last.operator, *copies[:-1]], operator=copies[-1])
            )
            self._on_host.add(name)

    def tidy_up(self, parts: Sequence[Part]) -> None:
        """Of what was written only to be compared the memory is freed."""
        used = {name for part in parts for one in part.operators for name in (*one.input, *one.output)}
        for name in workspace.Blobs():
            if is_helper(name) and name not in used:
                workspace.ResetBlob(name)

    def only_on_device(self) -> Dict[str, str]:
        return {name: _ON_DEVICE % name for name in self._on_device - self._on_host}

    def _upload_all(self, names: Sequence[str], copies: List[Any]) -> bool:
        """False: one of them is nothing that can lie there."""
        for name in names:
            if name in self._on_device:
                continue
            if getattr(workspace.FetchBlob(name), "dtype", None) != np.float32:
                return False
            operators = self._device.upload_operators(name, _ON_DEVICE % name)
            if not all(map(_runs, operators)):
                return False
            if name not in self._outside or name in self._written:
                copies += operators
            self._on_device.add(name)
        return True

    def _add(self, copies: List[Any], operators: Sequence[Any]) -> None:
        for one in operators:
            run_once(one)
            copies.append(one)

    def _moved(self, definition: Any) -> Any:
        operator = caffe2_pb2.OperatorDef()
        operator.CopyFrom(definition)
        operator.input[:] = [_ON_DEVICE % name for name in definition.input]
        operator.output[:] = [_ON_DEVICE % name for name in definition.output]
        return self._device.on_device(operator)

    def _agrees(self, definition: Any, operator: Any) -> bool:
        """Runs it in both places, and notes where the outputs are: some, such as sizes, are on the host."""
        device, reference = self._device, caffe2_pb2.OperatorDef()
        reference.CopyFrom(definition)
        reference.input[:] = [_REFERENCE % name for name in definition.input]
        reference.output[:] = [_REFERENCE % name for name in definition.output]
        for name in set(definition.input):
            device.download(_ON_DEVICE % name, _REFERENCE % name)
        if not (_runs(operator) and _runs(reference)):
            return False
        there = []
        for position, name in enumerate(definition.output):
            expected, found = workspace.FetchBlob(_REFERENCE % name), self._fetch(name)
            if found is not None:
                there.append(name)
            else:
                found = workspace.FetchBlob(_ON_DEVICE % name)
                operator.output[position] = name
            if name in self._read and not _is_same(found, expected):
                return False
        if len(there) < len(definition.output) and not _runs(operator):
            return False
        self._on_device.difference_update(definition.output)
        self._on_device.update(there)
        self._on_host.update(definition.output)
        self._on_host.difference_update(there)
        return True

    def _fetch(self, name: str) -> Optional[Any]:
        """What lies on the device under that name; None: no tensor of the device."""
        target = "%s @read" % name
        if all(map(_runs, self._device.download_operators(_ON_DEVICE % name, target))):
            return workspace.FetchBlob(target)
        return None


def _is_same(found: Any, expected: Any) -> bool:
    """Of what is no tensor on the host nothing is asked: nothing was written."""
    if not isinstance(expected, np.ndarray):
        return True
    if not isinstance(found, np.ndarray) or (found.shape, found.dtype) != (expected.shape, expected.dtype):
        return False
    if expected.dtype != np.float32:
        return bool(np.array_equal(found, expected))
    atol = _TOLERANCE * float(np.nanmax(np.abs(expected), initial=0))
    return bool(np.allclose(found, expected, rtol=0, atol=atol, equal_nan=True))


def _part(index: int, source: Any, operator: Any, copies: Sequence[Any], kernel: Kernel) -> Part:
    return Part(operator_name(index, source), source, operator, copies, kernel)


def _runs(operator: Any) -> bool:
    """Whether there is such an operator for such inputs, and Caffe2 has taken no other in its place."""
    with printed.captured(printed.STDERR) as output:
        try:
            run_once(operator)
        except RuntimeError:
            return False
        printed.flush()
        output.seek(0)
        return _REFUSED not in output.read().decode(errors="replace")


def _require_run(index: int, definition: Any) -> None:
    with printed.captured(printed.STDERR):
        try:
            run_once(definition)
        except RuntimeError as error:
            raise NetError("%s, failed: %s" % (label(index, definition), reason(error))) from error


@contextlib.contextmanager
def _inputs_kept(definition: Any) -> Iterator[None]:
    """The blobs that are there before the net and that it writes."""
    written = {name for one in definition.op for name in one.output if workspace.HasBlob(name)}
    kept = {name: workspace.FetchBlob(name) for name in written}
    yield
    for name, value in kept.items():
        workspace.FeedBlob(name, value)
