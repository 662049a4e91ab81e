"""The model as a table."""

from __future__ import annotations

from collections.abc import Sequence

from .costs import Cost, OperatorFacts, TensorFacts, cost, total

_HEADING = ("operator", "inputs", "outputs", "parameters", "FLOPs", "bytes")
_NAMES = 3
"""The columns with names come first; the others contain numbers."""


def table(operators: Sequence[OperatorFacts]) -> str:
    rows = [
        [
            operator.name,
            _shapes([tensor for tensor in operator.inputs if not tensor.is_weight]),
            _shapes(operator.outputs),
            *_numbers(cost(operator)),
        ]
        for operator in operators
    ]
    return _aligned([list(_HEADING), *rows, ["all %d" % len(rows), "", "", *_numbers(total(operators))]])


def _shapes(tensors: Sequence[TensorFacts]) -> str:
    return " ".join("x".join(map(str, tensor.shape)) or "scalar" for tensor in tensors)


def _numbers(one: Cost) -> list[str]:
    return [_readable(value) for value in one]


def _readable(value: int) -> str:
    """Formats a value with three digits and a power of a thousand: ``42.6 M``."""
    for power, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * power:  # 999,600 has three digits as 1 M
            return "%.3g %s" % (value / power, letter)
    return str(value)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADING))]
    lines = [
        "  ".join(
            cell.ljust(width) if column < _NAMES else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    ]
    return "\n".join(lines)
