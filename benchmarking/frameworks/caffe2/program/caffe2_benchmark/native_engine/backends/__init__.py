"""The backends of real Caffe2."""

from __future__ import annotations

from typing import Dict, Type

from .backend import NativeBackend
from .builtin import Builtin, Default
from .cuda import Cuda
from .mkl import Mkl
from .operator_engine import Eigen, Nnpack

BACKENDS: Dict[str, Type[NativeBackend]] = {
    one.name: one for one in (Builtin, Default, Eigen, Nnpack, Mkl, Cuda)
}
