"""Another engine for operators."""

from __future__ import annotations

from typing import AbstractSet, Any

from caffe2.proto import caffe2_pb2
from caffe2.python import core

from benchmarking.frameworks.kit.kernels import Kernel

from .backend import HOST, NativeBackend, Prepared, inputs_kept, part_of, require_run, runs


class _OperatorEngine(NativeBackend):
    engine = ""

    def prepare(self, definition: Any, wanted: AbstractSet[str]) -> Prepared:
        parts = []
        with inputs_kept(definition):
            for index, one in enumerate(definition.op):
                operator = self._with_engine(one)
                if self._may_try(one) and runs(operator):
                    kernel = Kernel("caffe2:" + self.engine.lower(), True)
                else:
                    operator, kernel = one, Kernel(HOST, False)
                    require_run(index, one)
                parts.append(part_of(index, one, operator, [], kernel))
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
        """With dilation it does not refuse the operator but crashes the process."""
        dilations = [
            value
            for one in definition.arg
            if one.name.startswith("dilation")
            for value in (one.i, *one.ints)
            if value > 1
        ]
        return super()._may_try(definition) and not dilations
