"""The peaks of this machine with the threads of torch."""

from __future__ import annotations

import time
from typing import Any, Callable, Mapping

import torch

_REPEATS = 5
_CHANNELS = 256
_SIDE = 32
_MATRIX = 512
_COPY_VALUES = 12_000_000
"""Twice 48 MB: more than fits into caches."""


def measure() -> Mapping[str, float]:
    """Floating-point operations (of 32 bits) and bytes per second, each the best of several methods and
    attempts.

    These are what well-written kernels reach; an operator may be a few percent above.
    """
    image = torch.ones((1, _CHANNELS, _SIDE, _SIDE)).contiguous(memory_format=torch.channels_last)
    weight = torch.ones((_CHANNELS, _CHANNELS, 3, 3)).contiguous(memory_format=torch.channels_last)
    matrix = torch.ones((_MATRIX, _MATRIX))
    product = torch.empty_like(matrix)
    inner = _SIDE - 2
    convolution_flops = 2 * 9 * _CHANNELS**2 * inner**2
    flops_per_s = max(
        convolution_flops / _best_s(lambda: torch.conv2d(image, weight)),
        2 * _MATRIX**3 / _best_s(lambda: torch.mm(matrix, matrix, out=product)),
    )
    source = torch.ones(_COPY_VALUES)
    target = torch.empty_like(source)
    item_bytes = source.element_size()
    bytes_per_s = max(
        2 * item_bytes * _COPY_VALUES / _best_s(lambda: target.copy_(source)),
        item_bytes * _COPY_VALUES / _best_s(lambda: source.sum()),
    )
    return {"peak_flops_per_s": round(flops_per_s), "peak_bytes_per_s": round(bytes_per_s)}


def _best_s(run: Callable[[], Any]) -> float:
    run()
    times_ns = []
    for _ in range(_REPEATS):
        start = time.perf_counter_ns()
        run()
        times_ns.append(time.perf_counter_ns() - start)
    return min(times_ns) / 1e9
