"""Importing it fills the table of operators."""

from __future__ import annotations

from ..registry import OPERATORS
from . import (
    activation,
    comparison,
    control,
    convolution,
    detection,
    elementwise,
    fill,
    indexing,
    layout,
    linear,
    multiplication,
    normalization,
    pooling,
    proposals,
    reduction,
    resizing,
    shape,
    stylizer,
    transposed_convolution,
)

__all__ = [
    "OPERATORS",
    "activation",
    "comparison",
    "control",
    "convolution",
    "detection",
    "elementwise",
    "fill",
    "indexing",
    "layout",
    "linear",
    "multiplication",
    "normalization",
    "pooling",
    "proposals",
    "reduction",
    "resizing",
    "shape",
    "stylizer",
    "transposed_convolution",
]
