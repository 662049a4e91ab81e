"""The types of tensors, by their names in specifications."""

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
"""Maps the same types to the names that programs are given. The oldest names are those of C++."""

ALIASES: Mapping[str, str] = MappingProxyType(
    {name: ours for ours, name in NUMPY_NAMES.items() if ours != "string"} | {"int32_t": "int"}
)
"""Other names of the same types: NumPy's."""

_LARGEST_FLOAT = {"float16": 65504.0, "float": 3.4028234663852886e38, "double": 1.7976931348623157e308}
_SIGNED_BITS = {"int8_t": 8, "int16_t": 16, "int": 32, "int64_t": 64}
RANGES: Mapping[str, tuple[int | float, int | float]] = MappingProxyType(
    {name: (-largest, largest) for name, largest in _LARGEST_FLOAT.items()}
    | {name: (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for name, bits in _SIGNED_BITS.items()}
    | {"uint8_t": (0, 2**8 - 1), "uint16_t": (0, 2**16 - 1), "bool": (0, 1)}
)
"""The smallest and the largest value of each numeric type."""


def is_whole(name: str) -> bool:
    """Whether a type has whole numbers only."""
    return name in RANGES and name not in _LARGEST_FLOAT
