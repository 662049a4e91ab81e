"""What ExecuTorch records while it runs: its own operators, and those inside of backends."""

from __future__ import annotations

import re
import warnings
from typing import List, NamedTuple, Sequence, Tuple

from benchmarking.frameworks.kit.errors import ModelError

_WHOLE = ("DELEGATE_CALL", "Method::", "Program::")
"""Events that others are part of."""
_NUMBER = re.compile(r" #\d+$")


class Operator(NamedTuple):
    name: str
    """``ID_<place>_<type>_<type>``: an operator in a backend has no name of its own."""
    kernel: str
    """As the backend calls it: ``Convolution (NHWC, F32) IGEMM``."""
    times_ns: Tuple[int, ...]
    """By run."""


def read(path: str) -> Sequence[Operator]:
    """
    Raises:
        ModelError: the record cannot be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from executorch.devtools import Inspector

            blocks = Inspector(etdump_path=path).event_blocks
    except Exception as error:  # its reader has no errors of its own
        raise ModelError("ExecuTorch's record of its operators cannot be read: %s" % error) from error
    events = [event for block in blocks if block.name == "Execute" for event in block.events]
    operators: List[Operator] = []
    for event in events:
        if event.name.startswith(_WHOLE) or event.perf_data is None:
            continue
        kernel = _NUMBER.sub("", event.name)
        words = re.findall(r"[A-Za-z0-9]+", kernel.partition(" (")[0])
        type_ = "".join(word.capitalize() for word in words)
        times = tuple(round(milliseconds * 1e6) for milliseconds in event.perf_data.raw)
        operators.append(Operator("ID_%d_%s_%s" % (len(operators), type_, type_), kernel, times))
    return operators
