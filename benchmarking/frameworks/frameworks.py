"""The frameworks that there are."""

from __future__ import annotations

from benchmarking.frameworks.caffe2.caffe2 import Caffe2
from benchmarking.frameworks.framework_base import FrameworkBase
from benchmarking.frameworks.onnxruntime.onnxruntime import OnnxRuntime

FRAMEWORKS: dict[str, type[FrameworkBase]] = {
    Caffe2.name: Caffe2,
    OnnxRuntime.name: OnnxRuntime,
}


def framework_names() -> tuple[str, ...]:
    return tuple(FRAMEWORKS)


def make_framework(name: str) -> FrameworkBase:
    return FRAMEWORKS[name]()
