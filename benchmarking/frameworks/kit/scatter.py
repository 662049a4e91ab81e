"""Gives a forked worker other addresses than its siblings, as fresh processes have by chance."""

from __future__ import annotations

import mmap
import os
import random
from typing import Any

_SMALL_BYTES, _SMALL_COUNT = 480, 20_000
"""Sizes for Python's own allocator, which has pools for each size up to 512 bytes."""
_MEDIUM_BYTES, _MEDIUM_COUNT = 100_000, 500
"""Sizes for the heap, which holds blocks below 128 kB."""
_LARGE_PAGES, _LARGE_COUNT = 2000, 20
"""Sizes for the address space that holds tensors; pages that are never touched take no memory."""


def scatter() -> list[Any]:
    """Allocates memory of random sizes, to be held as long as the worker lives, so that later allocations
    have other addresses.

    The memory layout makes a process faster or slower by about a percent for its whole life (Mytkowicz,
    Diwan, Hauswirth, Sweeney: Producing Wrong Data Without Doing Anything Obviously Wrong, 2009). Siblings
    would share this effect, and it would look like a difference between the programs; random layouts turn it
    into noise (Curtsinger, Berger: Stabilizer, 2013). ``benchmarks/worker_exchangeability.py`` has the
    figures.
    """
    draw = random.Random(os.urandom(16))  # noqa: S311
    small = [bytes(draw.randrange(_SMALL_BYTES)) for _ in range(draw.randrange(_SMALL_COUNT))]
    medium = [bytearray(draw.randrange(_MEDIUM_BYTES)) for _ in range(draw.randrange(_MEDIUM_COUNT))]
    large = [
        mmap.mmap(-1, mmap.PAGESIZE * draw.randrange(1, _LARGE_PAGES))
        for _ in range(draw.randrange(_LARGE_COUNT))
    ]
    return [small, medium, large]
