"""Backends of real Caffe2: another engine for operators, or another device.

Each operator is tried once before the net is created: Caffe2 falls back silently if an engine has no kernel
for an operator, and refuses the whole net if a device has none.
"""

from __future__ import annotations

import contextlib
import re
from abc import ABC, abstractmethod
from typing import AbstractSet, Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence

from caffe2.python import workspace

from benchmarking.frameworks.kit import printed
from benchmarking.frameworks.kit.kernels import Kernel

from ...errors import NetError
from ...net_check import label, operator_name

HOST = "caffe2:cpu"
_END_OF_REASON = re.compile(r"\(Error from operator|Operator def:|: input: |\n")
_REFUSED = "does not support the requested feature"


class Part(NamedTuple):
    """One operator of the net, as it runs."""

    name: str
    source: Any
    """As it is in the net."""
    operator: Any
    copies: Sequence[Any]
    """Operators that copy its inputs to its device."""
    kernel: Kernel

    @property
    def operators(self) -> List[Any]:
        return [*self.copies, self.operator]


class Prepared(NamedTuple):
    parts: Sequence[Part]
    on_device: Dict[str, str]
    """The blobs that are only on the device at the end, with their names there."""


def is_helper(name: str) -> bool:
    """Whether the blob belongs to the backend rather than to the net."""
    return name.endswith((" @device", " @ordered", " @reference", " @read"))


def reason(error: Exception) -> str:
    """Caffe2's message without the source location, the definition of the operator and the stack."""
    text = _END_OF_REASON.split(str(error), maxsplit=1)[0]
    return text.split("] ", 1)[-1].strip(" .")


def run_once(operator: Any) -> None:
    """Avoids the warnings that Caffe2's own function prints if it fails."""
    workspace.C.run_operator_once(operator.SerializeToString())


class NativeBackend(ABC):
    name = ""
    covers = "operators"
    covered_types: Optional[Sequence[str]] = None
    """None: every type."""

    @classmethod
    def why_unavailable(cls) -> str:
        """As in the engine torch."""
        return ""

    @abstractmethod
    def prepare(self, definition: Any, wanted: AbstractSet[str]) -> Prepared:
        """The operators that run instead of the net; may run its operators, whose inputs all exist.

        ``wanted``: the blobs that are read afterwards.
        """

    def download(self, source: str, target: str) -> None:
        """Copies a blob from the device to a blob on the host."""
        raise NotImplementedError

    def proven(self, load: Callable[[], Sequence[Part]]) -> Callable[[Part], Kernel]:
        """Observes which kernel each operator ran; called before the net is loaded, which ``load`` does."""
        return lambda part: part.kernel


def part_of(index: int, source: Any, operator: Any, copies: Sequence[Any], kernel: Kernel) -> Part:
    return Part(operator_name(index, source), source, operator, copies, kernel)


def runs(operator: Any) -> bool:
    """Whether such an operator exists for these inputs, and Caffe2 did not replace it by another."""
    with printed.captured(printed.STDERR) as output:
        try:
            run_once(operator)
        except (RuntimeError, IndexError):
            return False
        printed.flush()
        output.seek(0)
        return _REFUSED not in output.read().decode(errors="replace")


def require_run(index: int, definition: Any) -> None:
    with printed.captured(printed.STDERR):
        try:
            run_once(definition)
        except (RuntimeError, IndexError) as error:
            raise NetError("%s, failed: %s" % (label(index, definition), reason(error))) from error


@contextlib.contextmanager
def inputs_kept(definition: Any) -> Iterator[None]:
    """The blobs that exist before the net runs and that it writes."""
    written = {name for one in definition.op for name in one.output if workspace.HasBlob(name)}
    kept = {name: workspace.FetchBlob(name) for name in written}
    yield
    for name, value in kept.items():
        workspace.FeedBlob(name, value)
