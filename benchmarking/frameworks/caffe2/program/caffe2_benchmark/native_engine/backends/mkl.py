"""Caffe2's operators on oneDNN, which is its device IDEEP."""

from __future__ import annotations

import json
import os
import tempfile
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from caffe2.proto import caffe2_pb2
from caffe2.python import workspace

from benchmarking.frameworks.kit import printed
from benchmarking.frameworks.kit.kernels import Kernel

from ... import library_kernels
from ...errors import NetError
from .backend import Part, run_once
from .device import Device

_ORDERED = "%s @ordered"


_MOVING = ("Concat", "Split", "Slice", "Transpose", "Copy")
"""Operators that only move data."""


class Mkl(Device):
    """Caffe2's operators on oneDNN."""

    name = "mkl"
    device_type = caffe2_pb2.IDEEP
    kernel = "caffe2:ideep"
    to_device, to_host = "CopyCPUToIDEEP", "CopyIDEEPToCPU"
    never: Tuple[str, ...] = ("NCHW2NHWC", "NHWC2NCHW")
    """Its operators that do not compute the same as those of the host."""

    @classmethod
    def why_unavailable(cls) -> str:
        if workspace.C.use_mkldnn:
            return ""
        return "this Caffe2 was built without oneDNN; docs/caffe2.md says how to get Caffe2 with oneDNN"

    def may_try(self, definition: Any) -> bool:
        """Its operators expect channels first, and some crash the process otherwise."""
        orders = [one.s for one in definition.arg if one.name == "order"]
        return super().may_try(definition) and definition.type not in self.never and b"NHWC" not in orders

    def download_operators(self, source: str, target: str) -> List[Any]:
        """Its copy leaves channels innermost; a transposition to the same order does not."""
        if getattr(workspace.FetchBlob(source), "ndim", 0) != 4:
            return super().download_operators(source, target)
        ordered = _ORDERED % target
        transposition = caffe2_pb2.OperatorDef(type="Transpose", input=[source], output=[ordered])
        transposition.arg.add(name="axes", ints=range(4))
        return [self.on_device(transposition), *super().download_operators(ordered, target)]

    def proven(self, load: Callable[[], Sequence[Part]]) -> Callable[[Part], Kernel]:
        """oneDNN reports its kernels only if an environment variable is set before its first run; this is
        done in a child process.
        """
        reported = _observed_in_child(load)
        if reported is None:
            return lambda part: part.kernel

        def kernel(part: Part) -> Kernel:
            names = reported.get(part.name, [])
            if part.kernel.kernel != self.kernel or not names:
                return Kernel(part.kernel.kernel, False)
            return Kernel(names[0], library_kernels.is_onednn(names[0]) or part.source.type in _MOVING)

        return kernel


def _observed_in_child(load: Callable[[], Sequence[Part]]) -> Optional[Dict[str, List[str]]]:
    """The kernel of each operator; None: they could not be determined."""
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
    reported: Dict[str, List[str]] = json.loads(text) if text else {}
    return reported if any(reported.values()) else None


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
