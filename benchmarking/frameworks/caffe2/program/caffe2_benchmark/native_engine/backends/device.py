"""Another device for blobs and operators."""

from __future__ import annotations

from typing import AbstractSet, Any, Dict, List, Optional, Sequence, Set

import numpy as np
from caffe2.proto import caffe2_pb2
from caffe2.python import workspace

from benchmarking.frameworks.kit.kernels import Kernel

from .backend import (
    HOST,
    NativeBackend,
    Part,
    Prepared,
    inputs_kept,
    is_helper,
    part_of,
    require_run,
    run_once,
    runs,
)

_ON_DEVICE, _REFERENCE = "%s @device", "%s @reference"
_TOLERANCE = 1e-3
"""The largest difference of a device from the host, relative to the largest value."""


class Device(NativeBackend):
    """Weights and inputs are copied there before the net runs, other blobs when they are needed."""

    device_type = 0
    kernel = ""
    """The name of its operators."""
    to_device, to_host = "", ""
    """The types of operators that copy."""

    def prepare(self, definition: Any, wanted: AbstractSet[str]) -> Prepared:
        with inputs_kept(definition):
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


class _Placement:
    """The places of blobs while the net runs: on the host under their names, on the device under
    other names.
    """

    def __init__(self, device: Device, definition: Any, wanted: AbstractSet[str]) -> None:
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
                return part_of(index, definition, operator, copies, Kernel(self._device.kernel, True))
        for name in definition.input:
            if name not in self._on_host:
                self._add(copies, self._device.download_operators(_ON_DEVICE % name, name))
                self._on_host.add(name)
        require_run(index, definition)
        self._on_host.update(definition.output)
        self._on_device.difference_update(definition.output)
        return part_of(index, definition, definition, copies, Kernel(HOST, False))

    def bring_back(self, parts: List[Part]) -> None:
        """Copies back the blobs that existed before and that the net writes, so that the next run reads the
        same.
        """
        for name in sorted((self._outside & self._written) - self._on_host):
            copies = self._device.download_operators(_ON_DEVICE % name, name)
            last = parts.pop()
            parts.append(
                last._replace(copies=[*last.copies, last.operator, *copies[:-1]], operator=copies[-1])
            )
            self._on_host.add(name)

    def tidy_up(self, parts: Sequence[Part]) -> None:
        """Frees the memory of blobs that were only written for the comparison."""
        used = {name for part in parts for one in part.operators for name in (*one.input, *one.output)}
        for name in workspace.Blobs():
            if is_helper(name) and name not in used:
                workspace.ResetBlob(name)

    def only_on_device(self) -> Dict[str, str]:
        return {name: _ON_DEVICE % name for name in self._on_device - self._on_host}

    def _upload_all(self, names: Sequence[str], copies: List[Any]) -> bool:
        """False: one of them cannot be on the device."""
        for name in names:
            if name in self._on_device:
                continue
            if getattr(workspace.FetchBlob(name), "dtype", None) != np.float32:
                return False
            operators = self._device.upload_operators(name, _ON_DEVICE % name)
            if not all(map(runs, operators)):
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
        """Runs the operator in both places, and records where the outputs are: some, such as sizes, are on
        the host.
        """
        device, reference = self._device, caffe2_pb2.OperatorDef()
        reference.CopyFrom(definition)
        reference.input[:] = [_REFERENCE % name for name in definition.input]
        reference.output[:] = [_REFERENCE % name for name in definition.output]
        for name in set(definition.input):
            device.download(_ON_DEVICE % name, _REFERENCE % name)
        if not (runs(operator) and runs(reference)):
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
        if len(there) < len(definition.output) and not runs(operator):
            return False
        self._on_device.difference_update(definition.output)
        self._on_device.update(there)
        self._on_host.update(definition.output)
        self._on_host.difference_update(there)
        return True

    def _fetch(self, name: str) -> Optional[Any]:
        """The value under this name on the device; None: it is not a tensor of the device."""
        target = "%s @read" % name
        if all(map(runs, self._device.download_operators(_ON_DEVICE % name, target))):
            return workspace.FetchBlob(target)
        return None


def _is_same(found: Any, expected: Any) -> bool:
    """A value that is not a tensor on the host is not compared, because nothing was written."""
    if not isinstance(expected, np.ndarray):
        return True
    if not isinstance(found, np.ndarray) or (found.shape, found.dtype) != (expected.shape, expected.dtype):
        return False
    if expected.dtype != np.float32:
        return bool(np.array_equal(found, expected))
    atol = _TOLERANCE * float(np.nanmax(np.abs(expected), initial=0))
    return bool(np.allclose(found, expected, rtol=0, atol=atol, equal_nan=True))
