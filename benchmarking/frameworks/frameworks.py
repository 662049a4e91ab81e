"""The table of frameworks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarking.registry import Registry

if TYPE_CHECKING:
    from benchmarking.frameworks.framework_base import FrameworkBase

FRAMEWORKS: Registry[FrameworkBase] = Registry(
    {
        "caffe2": "benchmarking.frameworks.caffe2.caffe2:Caffe2",
        "executorch": "benchmarking.frameworks.executorch.executorch:ExecuTorch",
        "generic": "benchmarking.frameworks.generic.generic:Generic",
        "litert": "benchmarking.frameworks.litert.litert:LiteRt",
        "onnxruntime": "benchmarking.frameworks.onnxruntime.onnxruntime:OnnxRuntime",
        "openvino": "benchmarking.frameworks.openvino.openvino:OpenVino",
        "pytorch": "benchmarking.frameworks.pytorch.pytorch:PyTorch",
    }
)


def framework_names() -> tuple[str, ...]:
    return tuple(FRAMEWORKS)


def make_framework(name: str) -> FrameworkBase:
    return FRAMEWORKS[name]()
