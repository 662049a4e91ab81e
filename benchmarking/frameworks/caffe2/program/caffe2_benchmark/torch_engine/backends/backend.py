"""Backends compute the operators of a net, with the kernels of a library or of a device."""

from __future__ import annotations

from abc import ABC
from contextlib import contextmanager
from typing import Any, Callable, Iterator, List, Mapping, Optional, Sequence

from benchmarking.frameworks.kit.kernels import Fact

from ...errors import NetError
from ..registry import Compute, Registration


class NoKernelError(NetError):
    """The backend has no kernel for an operator of this kind or shape; the host computes it.

    Raised by an operator function of a backend, or at its first run, before it has computed anything.
    """


class Backend(ABC):  # noqa: B024, what it has beyond a name is up to it
    """Base class: add a subclass to the table in ``__init__.py``. Host tensors are torch tensors in main
    memory.
    """

    name = ""
    operators: Mapping[str, Registration] = {}
    """Its own kernels by type; they take precedence over those of ``OPERATORS``, which must have the same
    types. Such a kernel may overwrite an input only if that of ``OPERATORS`` does so.

    An own kernel may lay its output over an input only where that of ``OPERATORS`` does so.
    """
    covers = "operators"
    """The kind of operators that it is meant for, as named in summaries; operators of ``covered_types`` are
    counted.
    """
    covered_types: Optional[Sequence[str]] = None
    """None: every type."""

    uses_onednn = True
    """Whether torch may use oneDNN's kernels for operators that the host computes."""
    observes_mkl = False
    """Whether MKL has to report which of its kernels run."""
    profiles = False
    """Whether ``observe`` starts one of torch's profilers; the host is not profiled then, because only one
    can run.
    """
    compiles_parts = False
    """Whether oneDNN may compile operators together that could be computed one by one."""
    options: Sequence[str] = ()
    """The options that --backend_options may name."""

    def __init__(self, threads: int) -> None:  # noqa: B027
        """Only called if ``why_unavailable`` returns an empty reason.

        Raises:
            UsageError: it cannot be used all the same; says how to get it.
        """

    @classmethod
    def why_unavailable(cls) -> str:
        """One line that also says how to get it; empty: it is available. Cheap, and does not
        start a thread.
        """
        return ""

    def switch_on(self, options: Sequence[str]) -> None:  # noqa: B027
        """Switches on some of ``options``, before anything is uploaded."""

    def facts(self) -> Mapping[str, Fact]:
        return {}

    @property
    def is_device(self) -> bool:
        """Whether its operators take blobs other than host tensors; if not, the methods below are
        not called.
        """
        return type(self).download is not Backend.download

    def upload(self, tensor: Any) -> Any:
        """Converts a host tensor of any type to the blobs that its operators take."""
        return tensor

    def download(self, blob: Any) -> Any:
        return blob

    def start(self) -> None:  # noqa: B027
        """Called before the first operator of a run, on a device."""

    def synchronise(self) -> None:  # noqa: B027
        """Returns when everything that was started is finished; called at the end of a run, on a device."""

    def device_ns(self) -> Optional[int]:
        """The nanoseconds of the last run by the device's own clock; None: it has no clock."""
        return None

    @contextmanager
    def observe(self) -> Iterator[List[str]]:
        """The list contains the names of the kernels that ran when the context ends.

        Kernels on the host (torch's operators, kernels of oneDNN and MKL) are always observed.
        """
        yield []

    def is_own(self, kernel: str) -> bool:
        """Whether the kernel belongs to this backend."""
        return False


def on_host(backend: Backend, compute: Compute, held: Sequence[Any]) -> Compute:
    """Adapts a function of host tensors to blobs of the device.

    ``held``: for each input its host tensor if it is the same in every run, otherwise None.
    """
    download: Callable[[Any], Any] = backend.download
    upload: Callable[[Any], Any] = backend.upload

    def run(*blobs: Any) -> Any:
        tensors = [download(blob) if kept is None else kept for blob, kept in zip(blobs, held)]
        result = compute(*tensors)
        return tuple(map(upload, result)) if isinstance(result, (tuple, list)) else upload(result)

    return run
