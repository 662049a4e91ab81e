"""Observes the kernels on the host: torch's profiler reports its operators, oneDNN and MKL their
own kernels.
"""

from __future__ import annotations

import contextlib
import warnings
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import torch

from benchmarking.frameworks.kit import printed

from .. import library_kernels

NOTHING = "none"
"""The name for an operator that runs no kernel."""
_MARK = "caffe2_benchmark operator "
_BOOKKEEPING_NAMES = """
    empty empty_like empty_strided new_empty zeros zeros_like zero_ fill_ resize_ set_ item is_nonzero
    view reshape _reshape_alias _unsafe_view as_strided as_strided_ expand permute transpose t select
    slice narrow unsqueeze squeeze flatten unflatten alias detach split unbind chunk contiguous to
    _to_copy clone copy_ _local_scalar_dense resolve_conj resolve_neg _nnpack_available
"""
_BOOKKEEPING = frozenset("aten::" + name for name in _BOOKKEEPING_NAMES.split())
"""None of these is the main work of an operator, unless there is nothing else."""


class HostKernels:
    """The kernels of a run, operator by operator."""

    def __init__(self) -> None:
        self._kernels: Dict[int, List[str]] = {}

    @contextlib.contextmanager
    def recorded(self, with_mkl: bool, with_torch: bool) -> Iterator[Callable[[int], Any]]:
        """Returns a context manager for each operator, by its number.

        ``with_mkl``: MKL measures the clock before it reports anything, which takes a tenth of a second.
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
        for number, names in _torch_kernels(events).items():
            self._kernels[number] += names

    def of(self, number: int) -> List[str]:
        """First the kernels of oneDNN and MKL, with reorders last; then torch's. There is at least one."""
        return self._kernels[number] or [NOTHING]


@contextlib.contextmanager
def _verbose(with_mkl: bool) -> Iterator[None]:
    """Does nothing if torch is too old to switch it on (before 1.13)."""
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
    """The list contains the events afterwards. This is the old profiler, because the new one needs a second
    to start.
    """
    events: List[Any] = []
    if not wanted:
        yield events
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with torch.autograd.profiler.profile(use_kineto=False) as profile:
            yield events
        events += profile.function_events


def _torch_kernels(events: List[Any]) -> Dict[int, List[str]]:
    """Maps each operator to torch's kernels: the innermost kernel that took longest first, then all others
    that compute.
    """
    ran: Dict[int, Dict[str, Tuple[bool, bool, float]]] = {}
    for event in events:
        if event.name.startswith(_MARK):
            ran.setdefault(int(event.name[len(_MARK) :]), {})
            continue
        number = _operator_of(event)
        if number is not None:
            computes = event.name not in _BOOKKEEPING
            is_innermost = all(child.name in _BOOKKEEPING for child in event.cpu_children)
            rank = (computes, is_innermost, event.self_cpu_time_total)
            ranks = ran.setdefault(number, {})
            ranks[event.name] = max(rank, ranks.get(event.name, rank))
    result = {}
    for number, ranks in ran.items():
        main, *others = sorted(ranks, key=lambda name: ranks[name], reverse=True) or [NOTHING]
        result[number] = [main, *(name for name in others if name not in _BOOKKEEPING)]
    return result


def _operator_of(event: Any) -> Optional[int]:
    while event is not None and not event.name.startswith(_MARK):
        event = event.cpu_parent
    return int(event.name[len(_MARK) :]) if event is not None else None
