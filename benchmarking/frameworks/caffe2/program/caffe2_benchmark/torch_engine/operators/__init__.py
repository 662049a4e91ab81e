"""Importing it fills the table of operators."""

from __future__ import annotations

from ..registry import OPERATORS
from . import convolution, elementwise, fill, linear, normalization, pooling, shape, stylizer

__all__ = [
    "OPERATORS",
    "convolution",
    "elementwise",
    "fill",
    "linear",
    "normalization",
    "pooling",
    "shape",
    "stylizer",
]
