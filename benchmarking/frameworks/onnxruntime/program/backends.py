"""Runs a model on the CPU with a level of graph optimization, or on another execution provider."""

from __future__ import annotations

from typing import Dict, List, NamedTuple

from benchmarking.frameworks.kit.errors import UsageError

LEVELS = {
    "default": "ORT_ENABLE_ALL",
    "extended": "ORT_ENABLE_EXTENDED",
    "basic": "ORT_ENABLE_BASIC",
    "disabled": "ORT_DISABLE_ALL",
}
"""Maps the backend to the level of graph optimization; the graph then runs on the CPU."""
PROVIDERS = {
    "cuda": ("CUDAExecutionProvider", "onnxruntime-gpu"),
    "tensorrt": ("TensorrtExecutionProvider", "onnxruntime-gpu"),
    "openvino": ("OpenVINOExecutionProvider", "onnxruntime-openvino"),
    "coreml": ("CoreMLExecutionProvider", "onnxruntime on a Mac"),
    "xnnpack": ("XnnpackExecutionProvider", ""),
    "dnnl": ("DnnlExecutionProvider", ""),
}
"""Maps the backend to the execution provider, and to the package that has it; without a package it has to be
compiled.
"""
CPU = "CPUExecutionProvider"


class Backend(NamedTuple):
    level: str
    provider: str
    options: Dict[str, str]
    """The options of the provider."""


def choose(name: str, options: List[str], available: List[str]) -> Backend:
    """Chooses a backend.

    Raises:
        UsageError: there is no such backend, or it is not available, or it has no such option.
    """
    if name not in LEVELS and name not in PROVIDERS:
        raise UsageError("--backend: %r is not one of %s" % (name, ", ".join([*LEVELS, *PROVIDERS])))
    for option in options:
        if (name, option) != ("cuda", "tf32"):
            raise UsageError("--backend_options: the backend %s has no option %r" % (name, option))
    if name in LEVELS:
        return Backend(name, CPU, {})
    provider = PROVIDERS[name][0]
    if provider not in available:
        raise UsageError("--backend %s: %s" % (name, why_missing(name)))
    return Backend("default", provider, {"use_tf32": str(int("tf32" in options))} if name == "cuda" else {})


def why_missing(name: str) -> str:
    package = PROVIDERS[name][1]
    how = "use %s" % package if package else "compile onnxruntime with it"
    return "this onnxruntime has no execution provider %s; %s" % (name, how)
