"""The output of oneDNN and MKL about the kernels that they run."""

from __future__ import annotations

import re
from typing import List

ONEDNN, MKL = "onednn:", "mkl:"
"""The prefix of the names of their kernels."""
_REORDER = ONEDNN + "reorder:"
_ONEDNN_LINE = re.compile(
    r"^(?:onednn|dnnl|mkldnn)_verbose,(?:v\d,)?(?:[\d.]+,)?(?:primitive,)?exec,\w+,(\w+),([^,]+),"
)
_MKL_LINE = re.compile(r"^MKL_VERBOSE ([A-Z]\w+)\(")


def read(text: str) -> List[str]:
    """The kernels in the order in which they ran; those that only move data come last."""
    computing: List[str] = []
    moving: List[str] = []
    for line in text.splitlines():
        onednn, mkl = _ONEDNN_LINE.match(line), _MKL_LINE.match(line)
        if onednn and onednn.group(1) == "reorder":
            moving.append(_REORDER + onednn.group(2))
        elif onednn:
            computing.append(ONEDNN + onednn.group(2))
        elif mkl and mkl.group(1) != "Intel":
            computing.append(MKL + mkl.group(1).lower())
    return computing + moving


def is_onednn(kernel: str) -> bool:
    """Whether oneDNN computed something, rather than moved it."""
    return kernel.startswith(ONEDNN) and not kernel.startswith(_REORDER)


def is_mkl(kernel: str) -> bool:
    return kernel.startswith(MKL)
