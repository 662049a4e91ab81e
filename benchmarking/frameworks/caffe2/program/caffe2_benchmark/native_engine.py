"""Runs nets in real Caffe2, which is in torch up to 1.10.2 for Python 3.6 to 3.9."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from typing import AbstractSet, Any, Dict, Iterator, List, Mapping, Optional, Sequence

import numpy as np
import torch
from caffe2.proto import caffe2_pb2
from caffe2.python import workspace

from .costs import BlobFacts, OperatorFacts
from .engine import Engine, Fact, LoadedNet
from .errors import NetError
from .net_check import label, listed, operator_name, require_fed, require_known_types

_OPERATOR_ENGINES = {"builtin": None, "default": None, "eigen": "EIGEN", "nnpack": "NNPACK"}
"""--backend to the engine that each operator of the net is given; None: as the net says."""
_WARNINGS_AND_WORSE = 1
_END_OF_REASON = re.compile(r"\(Error from operator|Operator def:|: input: |\n")
_NET_NAME = "caffe2_benchmark_net"


class NativeEngine(Engine):
    name = "native"
    backends = tuple(_OPERATOR_ENGINES)

    def __init__(self, threads: int, seed: int, backend: str, optimize: str = "none") -> None:
        """Caffe2 has no seed for what its fill operators draw without one in the net."""
        options = ["omp_num_threads=%d" % threads, "mkl_num_threads=%d" % threads]
        options.append("log_level=%d" % _WARNINGS_AND_WORSE)
        with _quiet(sys.stderr):  # it complains about every instruction set that it was not compiled for
            workspace.GlobalInit(["caffe2_benchmark", *["--caffe2_" + option for option in options]])
        self._operator_engine = _OPERATOR_ENGINES[backend]

    def facts(self) -> Mapping[str, Fact]:
        version = "Caffe2 of torch %s" % torch.__version__
        return {"engine": self.name, "engine_version": version, "numpy": np.__version__}

    def load(
        self, init_net: Any, net: Any, inputs: Dict[str, Any], wanted: AbstractSet[str] = frozenset()
    ) -> LoadedNet:
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
        definition = _as_caffe2(net)
        definition.name = _NET_NAME
        if self._operator_engine is not None:
            for operator in definition.op:
                operator.engine = self._operator_engine
        return NativeNet(definition, weights)


class NativeNet(LoadedNet):
    def __init__(self, definition: Any, weights: AbstractSet[str]) -> None:
        """``weights``: the blobs that are there before and are not inputs."""
        self._definition = definition
        self._weights = weights - {name for one in definition.op for name in one.output}
        with _told(definition):
            workspace.CreateNet(definition)

    @property
    def operator_names(self) -> Sequence[str]:
        return [operator_name(index, one) for index, one in enumerate(self._definition.op)]

    def run(self) -> None:
        try:
            workspace.C.run_net(_NET_NAME, 1, False)
        except RuntimeError as error:
            raise _failure(error, self._definition) from error

    def run_operators(self) -> List[int]:
        """Caffe2's own benchmark runs the net once more before it runs it operator by operator."""
        with _quiet(sys.stdout):
            _, *milliseconds = workspace.BenchmarkNet(_NET_NAME, 0, 1, True)
        return [round(one * 1e6) for one in milliseconds]

    def operators(self) -> Sequence[OperatorFacts]:
        """Runs each operator once more: the blob that it writes may be written again, in another shape."""
        result = []
        known = {name: _blob_facts(name, True) for name in self._weights}
        for index, one in enumerate(self._definition.op):
            inputs = [known.get(name) or _blob_facts(name, False) for name in one.input]
            with _told(self._definition):
                workspace.RunOperatorOnce(one)
            outputs = [_blob_facts(name, False) for name in one.output]
            result.append(
                OperatorFacts(
                    operator_name(index, one),
                    (one.type,),
                    one.arg,
                    [blob for blob in inputs if blob is not None],
                    [blob for blob in outputs if blob is not None],
                )
            )
        return result

    def blob_names(self) -> Sequence[str]:
        return sorted(name for name in workspace.Blobs() if isinstance(workspace.FetchBlob(name), np.ndarray))

    def blob(self, name: str) -> Any:
        value = workspace.FetchBlob(name) if workspace.HasBlob(name) else None
        if not isinstance(value, np.ndarray):
            raise NetError("there is no blob %r; the net's blobs: %s" % (name, listed(self.blob_names())))
        return value


def _as_caffe2(net: Any) -> Any:
    return caffe2_pb2.NetDef.FromString(net.SerializeToString())


def _blob_facts(name: str, is_weight: bool) -> Optional[BlobFacts]:
    """None: it is no tensor, or holds none."""
    value = workspace.FetchBlob(name)
    if not isinstance(value, np.ndarray):
        return None
    return BlobFacts(name, value.shape, value.itemsize, is_weight)


@contextlib.contextmanager
def _told(definition: Any) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise _failure(error, definition) from error


def _failure(error: RuntimeError, definition: Any) -> NetError:
    """Caffe2's message without the place in its sources, the operator's definition and the stack."""
    text = _END_OF_REASON.split(str(error), maxsplit=1)[0]
    reason = text.split("] ", 1)[-1].strip(" .")
    position = workspace.C.Workspace.current._last_failed_op_net_position()
    if 0 <= position < len(definition.op):
        return NetError("%s, failed: %s" % (label(position, definition.op[position]), reason))
    return NetError("the net %r cannot be made: %s" % (definition.name, reason))


@contextlib.contextmanager
def _quiet(stream: Any) -> Iterator[None]:
    """What Caffe2's C++ prints does not pass Python's streams: the descriptor itself is turned away."""
    stream.flush()
    kept = os.dup(stream.fileno())
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, stream.fileno())
        yield
    finally:
        os.dup2(kept, stream.fileno())
        os.close(kept)
        os.close(nowhere)
