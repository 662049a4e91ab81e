"""The types of tensors, by the names that specifications have for them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

NUMPY_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "float": "float32",
        "double": "float64",
        "float16": "float16",
        "int8_t": "int8",
        "int16_t": "int16",
        "int": "int32",
        "int64_t": "int64",
        "uint8_t": "uint8",
        "uint16_t": "uint16",
        "bool": "bool",
        "string": "str",
    }
)
"""Of the same types, by the names that programs are given. The first that there were are C++'s."""

ALIASES: Mapping[str, str] = MappingProxyType(
    {name: ours for ours, name in NUMPY_NAMES.items() if ours != "string"} | {"int32_t": "int"}
)
"""Other names of the same types: NumPy's."""
