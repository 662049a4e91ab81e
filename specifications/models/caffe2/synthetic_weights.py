"""Init nets of a few kilobytes that fill all weights of a net with what looks like noise.

Nothing is drawn when an init net runs, and nothing is added up in an order that engines may choose: every
engine gets the same weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
from net_builder import NetBuilder

Shape = tuple[int, ...]

LEAST_NOISE_VALUES = 1000
LARGEST_PIECE = 2**22
"""Larger weights are made in place: a piece that is cut from the noise lies in memory beside its copy."""
PATTERN_VALUES = 64
BIAS_SCALE = 0.05
NORMALIZATION = {"scale": (1.0, 0.2), "bias": (0.0, 0.2), "mean": (0.0, 0.2), "variance": (1.0, 0.1)}
"""Of each role: centre and spread. The noise goes to about 4, so variances stay above 0."""


def synthetic_init_net(
    predict: NetBuilder,
    gain: float = 1.0,
    last_gain: float = 1.0,
    given: Mapping[str, list[float]] | None = None,
) -> NetBuilder:
    """Weights cut from one tiled piece of seeded noise and scaled as He et al. (2015) do; biases from it too.

    Args:
        gain: multiplies the weights of all layers but the last; keeps the activations of deep nets in bounds.
        last_gain: multiplies the last layer's weight and bias; keeps softmax from saturating.
        given: the values of parameters that are no weights, and of further blobs.
    """
    given = given or {}
    cut = {
        name: shape
        for name, shape in predict.parameters.items()
        if name not in predict.normalization and name not in given
    }
    normalization = _by_role(predict)
    init = NetBuilder("synthetic_weights", "", 0)
    period = _add_noise(init, cut, max(_longest_pieces(cut, normalization)))
    for number, (name, shape) in enumerate(cut.items()):
        start = 37 * number % period
        scale = _scale(shape, gain, last_gain, is_last=number >= len(cut) - 2)
        add = _add_cut if math.prod(shape) <= LARGEST_PIECE else _add_patterned
        add(init, name, shape, start, scale)
    for role, shapes in normalization.items():
        _add_normalization(init, role, shapes)
    for name, values in given.items():
        shape = predict.parameters.get(name, (len(values),))
        init.operator("GivenTensorFill", [], [name], {"shape": list(shape), "values": values})
    init.net.external_output.extend([*cut, *predict.normalization, *given])
    return init


def _add_noise(init: NetBuilder, cut: Mapping[str, Shape], longest: int) -> int:
    """Adds the blob ``tiled_noise``, long enough for a piece of ``longest`` from anywhere in a period.

    Returns the period: a prime above every layer's number of outputs, so that no two rows are the same.
    """
    period = max(LEAST_NOISE_VALUES, *(_matrix(shape)[0] for shape in cut.values())) + 1
    while any(period % divisor == 0 for divisor in range(2, math.isqrt(period) + 1)):
        period += 1
    noise = np.random.RandomState(20180301).standard_normal(period).astype(np.float32).tolist()
    init.operator("GivenTensorFill", [], ["noise"], {"shape": [period], "values": noise})
    init.operator("Tile", ["noise"], ["tiled_noise"], {"tiles": -(-longest // period) + 1, "axis": 0})
    return period


def _scale(shape: Shape, gain: float, last_gain: float, *, is_last: bool) -> float:
    if len(shape) == 1:
        return BIAS_SCALE * (last_gain if is_last else 1)
    return math.sqrt(2 / _matrix(shape)[1]) * (last_gain if is_last else gain)


def _matrix(shape: Shape) -> tuple[int, int]:
    """Outputs of a layer, and inputs of each. Two leading dimensions of 1 are not counted."""
    shape = shape[2:] if shape[:2] == (1, 1) else shape
    return shape[0], math.prod(shape[1:])


def _by_role(predict: NetBuilder) -> dict[str, dict[str, Shape]]:
    roles: dict[str, dict[str, Shape]] = {}
    for name, role in predict.normalization.items():
        roles.setdefault(role, {})[name] = predict.parameters[name]
    return roles


def _longest_pieces(cut: Mapping[str, Shape], normalization: Mapping[str, dict[str, Shape]]) -> Iterator[int]:
    for shape in cut.values():
        size = math.prod(shape)
        yield size if size <= LARGEST_PIECE else size // PATTERN_VALUES
    for shapes in normalization.values():
        yield sum(map(math.prod, shapes.values()))


def _add_cut(init: NetBuilder, name: str, shape: Shape, start: int, scale: float) -> None:
    end = start + math.prod(shape)
    init.operator("Slice", ["tiled_noise"], ["piece"], {"starts": [start], "ends": [end]})
    init.operator("Reshape", ["piece"], ["piece", "old_shape"], {"shape": list(shape)})
    _constant(init, "scale", scale)
    init.operator("Mul", ["piece", "scale"], [name], {"broadcast": 1})


def _add_patterned(init: NetBuilder, name: str, shape: Shape, start: int, scale: float) -> None:
    """A pattern, which has to fit a whole number of times, each time multiplied by another number."""
    repeats = math.prod(shape) // PATTERN_VALUES
    ends = {"pattern": start + PATTERN_VALUES, "factors": start + repeats}
    for piece, end in ends.items():
        init.operator("Slice", ["tiled_noise"], [piece], {"starts": [start], "ends": [end]})
    _constant(init, "scale", scale)
    init.operator("Mul", ["factors", "scale"], ["factors"], {"broadcast": 1})
    init.operator("Tile", ["pattern"], [name], {"tiles": repeats, "axis": 0})
    init.operator("Reshape", [name], [name, "old_shape"], {"shape": [repeats, PATTERN_VALUES]})
    init.operator("Mul", [name, "factors"], [name], {"broadcast": 1, "axis": 0})
    init.operator("Reshape", [name], [name, "old_shape"], {"shape": list(shape)})


def _add_normalization(init: NetBuilder, role: str, shapes: Mapping[str, Shape]) -> None:
    """All parameters of a role at once: some nets have hundreds."""
    centre, spread = NORMALIZATION[role]
    sizes = [math.prod(shape) for shape in shapes.values()]
    start = 101 * list(NORMALIZATION).index(role)
    init.operator("Slice", ["tiled_noise"], ["piece"], {"starts": [start], "ends": [start + sum(sizes)]})
    _constant(init, "spread", spread)
    init.operator("Mul", ["piece", "spread"], ["piece"], {"broadcast": 1})
    _constant(init, "centre", centre)
    init.operator("Add", ["piece", "centre"], ["piece"], {"broadcast": 1})
    init.operator("Split", ["piece"], list(shapes), {"axis": 0, "split": sizes})


def _constant(init: NetBuilder, blob: str, value: float) -> None:
    init.operator("ConstantFill", [], [blob], {"shape": [1], "value": value})
