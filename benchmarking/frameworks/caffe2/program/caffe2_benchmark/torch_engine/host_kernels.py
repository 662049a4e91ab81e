"""Which kernels run on the host: torch's profiler tells its operators, oneDNN and MKL their own kernels."""

from __future__ import annotations

import contextlib
import warnings
from typing import Any, Callable, Dict, Iterator, List, Optional

import torch

from .. import library_kernels, printed

NOTHING = "none"
"""For an operator that runs no kernel."""
_MARK = "caffe2_benchmark operator "
_BOOKKEEPING = frozenset(
    "aten::" + name
    for name in (
        *(
            "empty",
            "empty_like",
            "empty_strided",
            "new_empty",
            "resize_",
            "_nnpack_available",
            "set_",
            "item",
        ),
        *("view", "reshape", "_reshape_alias", "as_strided", "expand", "permute", "transpose", "t", "select"),
        *("slice", "narrow", "unsqueeze", "squeeze", "flatten", "alias", "detach", "unflatten", "split"),
        *("contiguous", "to", "_to_copy", "clone", "copy_", "_local_scalar_dense", "_unsafe_view", "set_"),
        *("as_strided_", "resolve_conj", "resolve_neg", "zero_", "fill_", "unbind", "chunk", "is_nonzero"),
    )
)


class HostKernels:
    """Of a run, operator by operator."""

    def __init__(self) -> None:
        self._kernels: Dict[int, List[str]] = {}

    @contextlib.contextmanager
    def recorded(self, with_mkl: bool, with_torch: bool) -> Iterator[Callable[[int], Any]]:
        """Gives a context manager for each operator, by its number.

        ``with_mkl``: MKL measures the clock before it tells anything, which takes a tenth of a second.
        """
        turned = printed.captured(printed.STDOUT, printed.STDERR)
        with turned as output, _verbose(with_mkl), _profiled(with_torch) as events:

            @contextlib.contextmanager
            def operator(number: int) -> Iterator[None]:
                position = output.seek(0, 2)
                with torch.autograd.profiler.record_function(_MARK + str(number)):
                    yield
                printed.flush()
                output.seek(position)
                self._kernels[number] = library_kernels.read(output.read().decode(errors="replace"))

            yield operator
        for number, name in _main_kernels(events).items():
            self._kernels[number].append(name)

    def of(self, number: int) -> List[str]:
        """Those of oneDNN and MKL first; reorders of data come last of theirs. At least one."""
        return self._kernels[number] or [NOTHING]


@contextlib.contextmanager
def _verbose(with_mkl: bool) -> Iterator[None]:
    """Nothing where torch is too old to switch it on (before 1.13)."""
    package = getattr(torch._C, "_verbose", None)
    if package is None:
        yield
        return
    if torch._C._has_mkldnn:
        package.mkldnn_set_verbose(1)
    if with_mkl:
        package.mkl_set_verbose(1)
    try:
        yield
    finally:
        if torch._C._has_mkldnn:
            package.mkldnn_set_verbose(0)
        if with_mkl:
            package.mkl_set_verbose(0)


@contextlib.contextmanager
def _profiled(wanted: bool) -> Iterator[List[Any]]:
    """The events are in the list afterwards. The old profiler: the new one needs a second to begin."""
    events: List[Any] = []
    if not wanted:
        yield events
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with torch.autograd.profiler.profile(use_kineto=False) as profile:
            yield events
        events += profile.function_events


def _main_kernels(events: List[Any]) -> Dict[int, str]:
    """By operator, of torch's innermost ones that which took longest; ``none`` where there was none."""
    longest: Dict[int, Any] = {}
    result = {}
    for event in events:
        if event.name.startswith(_MARK):
            result[int(event.name[len(_MARK) :])] = NOTHING
            continue
        number = _operator_of(event)
        if number is None:
            continue
        computes = event.name not in _BOOKKEEPING
        is_innermost = all(child.name in _BOOKKEEPING for child in event.cpu_children)
        rank = (computes, is_innermost, event.self_cpu_time_total)
        if number not in longest or rank > longest[number][0]:
            longest[number] = (rank, event.name)
    result.update({number: name for number, (_, name) in longest.items()})
    return result


def _operator_of(event: Any) -> Optional[int]:
    while event is not None and not event.name.startswith(_MARK):
        event = event.cpu_parent
    return int(event.name[len(_MARK) :]) if event is not None else None
