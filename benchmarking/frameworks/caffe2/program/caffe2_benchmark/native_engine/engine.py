"""Runs nets in real Caffe2, which is in torch up to 1.10.2 for Python 3.6 to 3.9."""

from __future__ import annotations

import contextlib
from typing import AbstractSet, Any, Dict, Iterator, List, Mapping, Optional, Sequence

import numpy as np
import torch
from caffe2.proto import caffe2_pb2
from caffe2.python import workspace

from benchmarking.frameworks.kit import printed
from benchmarking.frameworks.kit.costs import OperatorFacts, TensorFacts
from benchmarking.frameworks.kit.errors import UsageError
from benchmarking.frameworks.kit.kernels import Fact, Kernel, Observation
from benchmarking.frameworks.kit.program import LoadedModel

from .. import operator_costs
from ..engine import Engine, usable_options
from ..errors import NetError
from ..net_check import label, listed, require_fed, require_known_types, require_written
from .backends import BACKENDS
from .backends.backend import NativeBackend, Part, is_helper, reason

_WARNINGS_AND_WORSE = 1
_NET_NAME = "caffe2_benchmark_net"


class NativeEngine(Engine):
    name = "native"
    backends = tuple(BACKENDS)

    def __init__(
        self,
        threads: int,
        seed: int,
        backend: str,
        optimize: str = "none",
        backend_options: Sequence[str] = (),
    ) -> None:
        """Caffe2 has no seed for fill operators without a seed in the net."""
        options = ["omp_num_threads=%d" % threads, "mkl_num_threads=%d" % threads]
        options.append("log_level=%d" % _WARNINGS_AND_WORSE)
        with printed.captured(
            printed.STDERR
        ):  # it complains about every instruction set that it was not compiled for
            workspace.GlobalInit(["caffe2_benchmark", *["--caffe2_" + option for option in options]])
        self.unused_options = usable_options((), backend_options)[1]
        problem = self.why_unavailable(backend)
        if problem:
            raise UsageError("--backend %s: %s" % (backend, problem))
        self._backend = BACKENDS[backend]()

    @classmethod
    def why_unavailable(cls, backend: str) -> str:
        return BACKENDS[backend].why_unavailable()

    def facts(self) -> Mapping[str, Fact]:
        version = "Caffe2 of torch %s" % torch.__version__
        return {
            "engine": self.name,
            "engine_version": version,
            "numpy": np.__version__,
            "precision": "f32",
        }

    def load(
        self, init_net: Any, net: Any, inputs: Dict[str, Any], wanted: AbstractSet[str] = frozenset()
    ) -> LoadedModel:
        kernel_of = self._backend.proven(lambda: self._load(init_net, net, inputs, wanted).parts)
        loaded = self._load(init_net, net, inputs, wanted)
        loaded.kernels = {part.name: kernel_of(part) for part in loaded.parts}
        return loaded

    def _load(self, init_net: Any, net: Any, inputs: Dict[str, Any], wanted: AbstractSet[str]) -> "NativeNet":
        types = frozenset(workspace.RegisteredOperators())
        if init_net is not None:
            require_known_types(init_net, types, self.name)
            require_fed(init_net, ())
            definition = _as_caffe2(init_net)
            with _told(definition):
                workspace.RunNetOnce(definition)
        weights = frozenset(workspace.Blobs()) - frozenset(inputs)
        for name, array in inputs.items():
            workspace.FeedBlob(name, array)
        require_known_types(net, types, self.name)
        require_fed(net, workspace.Blobs())
        require_written(net)
        definition = _as_caffe2(net)
        definition.name = _NET_NAME
        return NativeNet(definition, weights, self._backend, wanted)


class NativeNet(LoadedModel):
    def __init__(
        self, definition: Any, weights: AbstractSet[str], backend: NativeBackend, wanted: AbstractSet[str]
    ) -> None:
        """``weights``: the blobs that exist before and are not inputs."""
        self._weights = weights - {name for one in definition.op for name in one.output}
        self._backend = backend
        self.parts, self._on_device = backend.prepare(definition, wanted | set(definition.external_output))
        self.kernels: Mapping[str, Kernel] = {}
        self._definition = _definition_of(definition, self.parts)
        self._labels = [
            label(index, part.source) for index, part in enumerate(self.parts) for _ in part.operators
        ]
        with self._told():
            workspace.CreateNet(self._definition)

    @property
    def operator_names(self) -> Sequence[str]:
        return [part.name for part in self.parts]

    def run(self) -> None:
        try:
            workspace.C.run_net(_NET_NAME, 1, False)
        except (RuntimeError, IndexError) as error:
            raise self._failure(error) from error

    def run_operators(self) -> List[int]:
        """Caffe2's own benchmark runs the net once more before it runs it operator by operator.

        The time of an operator includes the copies that it needs.
        """
        with printed.captured(printed.STDOUT):
            _, *milliseconds = workspace.BenchmarkNet(_NET_NAME, 0, 1, True)
        times_ns = iter([round(one * 1e6) for one in milliseconds])
        return [sum(next(times_ns) for _ in part.operators) for part in self.parts]

    def observe(self) -> Observation:
        types = self._backend.covered_types
        covered = [part.name for part in self.parts if types is None or part.source.type in types]
        return Observation(self.kernels, self._backend.covers, covered)

    def operators(self) -> Sequence[OperatorFacts]:
        """Runs each operator once more, because the blob that it writes may be written again, in another
        shape.
        """
        result = []
        for part in self.parts:
            one = part.operator if part.operator.type == part.source.type else part.source
            with self._told():
                for copy in part.copies:
                    workspace.RunOperatorOnce(copy)
            inputs = self._facts_of(part.source.input, one.input)
            with self._told():
                workspace.RunOperatorOnce(part.operator)
            outputs = self._facts_of(part.source.output, one.output)
            result.append(
                operator_costs.facts(part.name, (part.source.type,), part.source.arg, inputs, outputs)
            )
        return result

    def _facts_of(self, names: Sequence[str], places: Sequence[str]) -> List[TensorFacts]:
        """The facts of tensors that have values; ``places``: the names under which they are stored."""
        facts = [_blob_facts(name, place, name in self._weights) for name, place in zip(names, places)]
        return [one for one in facts if one is not None]

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, IndexError) as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> NetError:
        return _failure(error, self._definition.name, self._labels)

    def output_names(self) -> Sequence[str]:
        there = [name for name in workspace.Blobs() if isinstance(workspace.FetchBlob(name), np.ndarray)]
        return sorted({*(name for name in there if not is_helper(name)), *self._on_device})

    def output(self, name: str) -> Any:
        if name in self._on_device:
            self._backend.download(self._on_device[name], name)
        value = workspace.FetchBlob(name) if workspace.HasBlob(name) else None
        if not isinstance(value, np.ndarray):
            raise NetError("there is no blob %r; the net's blobs: %s" % (name, listed(self.output_names())))
        return value


def _as_caffe2(net: Any) -> Any:
    return caffe2_pb2.NetDef.FromString(net.SerializeToString())


def _definition_of(net: Any, parts: Sequence[Part]) -> Any:
    definition = caffe2_pb2.NetDef()
    definition.CopyFrom(net)
    del definition.op[:]
    definition.op.extend([one for part in parts for one in part.operators])
    if any(part.operator.device_option.device_type for part in parts):
        # They would have to name every blob of the device.
        del definition.external_input[:], definition.external_output[:]
    return definition


def _blob_facts(name: str, place: str, is_weight: bool) -> Optional[TensorFacts]:
    """None: it is not a tensor, or has no values."""
    value = workspace.FetchBlob(place)
    if not isinstance(value, np.ndarray):
        return None
    return TensorFacts(name, value.shape, value.itemsize, is_weight)


@contextlib.contextmanager
def _told(definition: Any) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, IndexError) as error:
        labels = [label(index, one) for index, one in enumerate(definition.op)]
        raise _failure(error, definition.name, labels) from error


def _failure(error: Exception, net: str, labels: Sequence[str]) -> NetError:
    """``labels``: for each operator that runs, the label of the operator in the net for which it runs."""
    position = workspace.C.Workspace.current._last_failed_op_net_position()
    if 0 <= position < len(labels):
        return NetError("%s, failed: %s" % (labels[position], reason(error)))
    return NetError("the net %r cannot be created: %s" % (net, reason(error)))
