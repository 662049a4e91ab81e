"""Importing it fills the table of the device's operators."""

from __future__ import annotations

from . import convolution, elementwise, linear, moving, normalization, pooling, stylizer
from .kernel import KERNELS

__all__ = [
    "KERNELS",
    "convolution",
    "elementwise",
    "linear",
    "moving",
    "normalization",
    "pooling",
    "stylizer",
]
