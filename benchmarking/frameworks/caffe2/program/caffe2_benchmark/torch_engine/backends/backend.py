"""What computes the operators of a net: the kernels of a library or of a device."""

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
    """Add a subclass to the table in ``__init__.py``. Host tensors are torch's, in main memory."""

    name = ""
    operators: Mapping[str, Registration] = {}
    """Its own kernels by type; they win over those of ``OPERATORS``, whose types they are of.

    An own kernel may lay its output over an input only where that of ``OPERATORS`` does so.
    """
    covers = "operators"
    """What it is meant for, as summaries call it; those of ``covered_types`` are counted."""
    covered_types: Optional[Sequence[str]] = None
    """None: every type."""

    uses_onednn = True
    """Whether torch may take oneDNN's kernels for what the host computes."""
    observes_mkl = False
    """Whether MKL has to tell which of its kernels run."""
    profiles = False
    """Whether ``observe`` starts a profiler of torch's; the host is not profiled then, as two cannot run."""
    options: Sequence[str] = ()
    """Switches that --backend_options may name."""

    def __init__(self, threads: int) -> None:  # noqa: B027
        """Only where ``why_unavailable`` has nothing against it.

        Raises:
            UsageError: it cannot be used all the same; says how to get it.
        """

    @classmethod
    def why_unavailable(cls) -> str:
        """In a line that also says how to get it; empty: it is there. Cheap, and starts no thread."""
        return ""

    def switch_on(self, options: Sequence[str]) -> None:  # noqa: B027
        """Some of ``options``; before anything is uploaded."""

    def facts(self) -> Mapping[str, Fact]:
        return {}

    @property
    def is_device(self) -> bool:
        """Whether its operators take other blobs than host tensors; if not, nothing is called around them."""
        return type(self).download is not Backend.download

    def upload(self, tensor: Any) -> Any:
        """Makes what its operators take of a host tensor of any type."""
        return tensor

    def download(self, blob: Any) -> Any:
        return blob

    def start(self) -> None:  # noqa: B027
        """Before the first operator of a run, on a device."""

    def synchronise(self) -> None:  # noqa: B027
        """Returns when all that was started is done; called at the end of a run, on a device."""

    def device_ns(self) -> Optional[int]:
        """Nanoseconds of the last run by the device's own clock; None: it has none."""
        return None

    @contextmanager
    def observe(self) -> Iterator[List[str]]:
        """The names of the kernels that run meanwhile are in the list when it ends.

        What runs on the host (torch's operators, kernels of oneDNN and MKL) is observed anyway.
        """
        yield []

    def is_own(self, kernel: str) -> bool:
        """Whether that is a kernel of this backend."""
        return False


def on_host(backend: Backend, compute: Compute, held: Sequence[Any]) -> Compute:
    """A function of host tensors as one of the device's blobs.

    ``held``: for each input the host tensor where it is the same in every run, else None.
    """
    download: Callable[[Any], Any] = backend.download
    upload: Callable[[Any], Any] = backend.upload

    def run(*blobs: Any) -> Any:
        tensors = [download(blob) if kept is None else kept for blob, kept in zip(blobs, held)]
        result = compute(*tensors)
        return tuple(map(upload, result)) if isinstance(result, (tuple, list)) else upload(result)

    return run
