"""Normalization."""

from __future__ import annotations

from typing import Any, Sequence, Tuple

import torch
import torch.nn.functional as functional

from ..arguments import Arguments
from ..registry import ANY, FLOAT, Compute, Operator, by_shape, operator, require
from .geometry import is_channels_last, to_channels_first, to_channels_last
from .linear import canonical_axis

LEAST_NORM = 1e-12


@operator("LRN", outputs=(1, 2), takes=FLOAT)
def local_response_normalization(op: Operator) -> Compute:
    """scale = bias + alpha / size * sum of x^2 over ``size`` channels; y = x * scale^-beta."""
    size = op.arguments.integer("size", 0)
    alpha = op.arguments.number("alpha", 0.0)
    beta = op.arguments.number("beta", 0.0)
    bias = op.arguments.number("bias", 1.0)
    channels_last = is_channels_last(op.arguments)
    require(size > 0, "size must be above 0")
    before = (size - 1) // 2

    def compute(x: Any) -> Any:
        if channels_last:
            x = to_channels_first(x)
        squares = functional.pad(x * x, (0, 0) * (x.dim() - 2) + (before, size - 1 - before))
        scale = _sums_of_neighbours(squares, size, x.shape[1]).mul_(alpha / size).add_(bias)
        y = _negative_power(scale, beta).mul_(x)
        if channels_last:
            y, scale = to_channels_last(y), to_channels_last(scale)
        return y if op.output_count == 1 else (y, scale)

    return compute


def _sums_of_neighbours(x: Any, size: int, count: int) -> Any:
    """(N, count + size - 1, ...) to (N, count, ...): each channel and the ``size`` - 1 behind it, added up.

    By doubling: the sums over 1, 2, 4 ... channels are those over half as many, added to themselves shifted.
    """
    total, taken, width, doubled = None, 0, 1, x
    while True:
        if size & width:
            part = doubled[:, taken : taken + count]
            total = part.clone() if total is None else total.add_(part)
            taken += width
        if 2 * width > size:
            return total
        doubled = doubled[:, :-width] + doubled[:, width:]
        width *= 2


def _negative_power(x: Any, exponent: float) -> Any:
    """x ** -exponent; a square root of a square root is a good deal faster than a power."""
    if exponent == 0.75:
        root = x.rsqrt()
        return root.sqrt().mul_(root)
    return x.pow(-exponent)


@operator("SpatialBN", inputs=(5, ANY), outputs=(1, 5), in_place=((0, 0),), takes=FLOAT)
def spatial_batch_normalization(op: Operator) -> Compute:
    """Inputs: x, scale, bias, mean, variance. Only in test mode, with the given mean and variance."""
    epsilon = op.arguments.number("epsilon", 1e-5)
    channels_last = is_channels_last(op.arguments)
    require_test_mode(op.arguments)
    constants = [op.constant(index) for index in range(1, 5)]
    require(op.output_count == 1, "with is_test = 1 it has one output")
    known = None if any(one is None for one in constants) else factor_and_offset(constants, epsilon)

    def prepare(x: Any, *parameters: Any) -> Compute:
        require(
            all(one.numel() == x.shape[1] for one in parameters[:4]),
            "the parameters do not fit %d channels" % x.shape[1],
        )
        if known is not None and x.is_contiguous(memory_format=torch.channels_last):
            return affine_per_channel(*known, x.dim(), op.overwrites)
        if any(one.dim() != 1 for one in parameters[:4]):
            return lambda x, *parameters: affine_per_channel(
                *factor_and_offset(parameters[:4], epsilon), x.dim(), op.overwrites
            )(x)
        return lambda x, scale, bias, mean, variance, *_: functional.batch_norm(
            x, mean, variance, scale, bias, training=False, eps=epsilon
        )

    if not channels_last:
        return by_shape(prepare)

    def compute(x: Any, *parameters: Any) -> Any:
        scale, bias, mean, variance = (one.reshape(-1) for one in parameters[:4])
        y = functional.batch_norm(
            to_channels_first(x), mean, variance, scale, bias, training=False, eps=epsilon
        )
        return to_channels_last(y)

    return compute


def require_test_mode(arguments: Arguments) -> None:
    require(arguments.boolean("is_test", False), "only is_test = 1 is supported: this program does not train")


def factor_and_offset(parameters: Sequence[Any], epsilon: float) -> Tuple[Any, Any]:
    """Of y = factor * x + offset, which a batch normalization with known statistics is.

    ``parameters``: scale, bias, mean, variance.
    """
    scale, bias, mean, variance = (one.reshape(-1) for one in parameters)
    factor = scale / torch.sqrt(variance + epsilon)
    return factor, bias - mean * factor


def affine_per_channel(factor: Any, offset: Any, dimensions: int, overwrites: bool) -> Compute:
    """Takes (N, C, ...) and, ignored, whatever else the operator reads."""
    shape = (-1,) + (1,) * (dimensions - 2)
    factor, offset = factor.reshape(shape), offset.reshape(shape)
    if overwrites:
        return lambda x, *_: torch.addcmul(offset, x, factor, out=x)
    return lambda x, *_: torch.addcmul(offset, x, factor)


@operator("InstanceNorm", inputs=(3, 3), outputs=(1, 3), in_place=((0, 0),), takes=FLOAT)
def instance_normalization(op: Operator) -> Compute:
    """Further outputs: mean and inverse standard deviation of each image's channels, shape (N, C)."""
    epsilon = op.arguments.number("epsilon", 1e-5)
    channels_last = is_channels_last(op.arguments)
    require(epsilon >= 0, "epsilon must be 0 or above")

    def compute(x: Any, scale: Any, bias: Any) -> Any:
        if channels_last:
            x = to_channels_first(x)
        shape_of_x = x.shape
        if x.dim() == 2:  # each value is an image of its own
            x = x.unsqueeze(2)
        spatial = tuple(range(2, x.dim()))
        shape = (-1,) + (1,) * len(spatial)
        mean = x.mean(spatial, keepdim=True)
        y = x - mean
        inverse = (y * y).mean(spatial, keepdim=True).add_(epsilon).rsqrt_()
        y = y.mul_(inverse * scale.reshape(shape)).add_(bias.reshape(shape)).reshape(shape_of_x)
        if channels_last:
            y = to_channels_last(y)
        if op.output_count == 1:
            return y
        return (y, mean.flatten(1), inverse.flatten(1))[: op.output_count]

    return compute


@operator("GroupNorm", inputs=(3, 3), outputs=(1, 3), takes=FLOAT)
def group_normalization(op: Operator) -> Compute:
    """Further outputs: mean and inverse standard deviation of each image's groups, shape (N, group)."""
    group = op.arguments.integer("group", 32)
    epsilon = op.arguments.number("epsilon", 1e-5)
    channels_last = is_channels_last(op.arguments)
    require(op.output_count != 2, "it has 2 outputs, not 1 or 3")

    def compute(x: Any, scale: Any, bias: Any) -> Any:
        if channels_last:
            x = to_channels_first(x)
        require(x.shape[1] % group == 0, "%d channels are not a multiple of %d groups" % (x.shape[1], group))
        y = functional.group_norm(x, group, scale.reshape(-1), bias.reshape(-1), epsilon)
        if channels_last:
            y = to_channels_last(y)
        if op.output_count == 1:
            return y
        columns = x.shape[1:].numel() // group
        variance, mean = torch.var_mean(x.reshape(x.shape[0], group, columns), dim=2, unbiased=False)
        return (y, mean, (variance + epsilon).rsqrt())[: op.output_count]

    return compute


@operator("LayerNorm", inputs=(1, 3), outputs=(3, 3), takes=FLOAT)
def layer_normalization(op: Operator) -> Compute:
    """Over everything from ``axis`` on; further outputs: mean and standard deviation, shape (..., 1)."""
    axis = op.arguments.integer("axis", 1)
    epsilon = op.arguments.number("epsilon", 1e-5)
    is_affine = op.arguments.boolean("elementwise_affine", False)
    require(not is_affine or op.input_count == 3, "elementwise_affine needs a scale and a bias")
    require(op.input_count != 2, "it has 2 inputs, not 1 or 3")

    def compute(x: Any, scale: Any = None, bias: Any = None) -> Any:
        require(x.dim() >= 2, "the input has fewer than two dimensions")
        place = canonical_axis(axis, x.dim())
        variance, mean = torch.var_mean(x.flatten(place), dim=place, unbiased=False, keepdim=True)
        deviation = (variance + epsilon).sqrt()
        inner = [1] * (x.dim() - place - 1)
        y = (x - mean.reshape(*mean.shape, *inner)) / deviation.reshape(*deviation.shape, *inner)
        if is_affine:
            y = y * scale.reshape(x.shape[place:]) + bias.reshape(x.shape[place:])
        return y, mean, deviation

    return compute


@operator("Normalize", takes=FLOAT)
def normalize(op: Operator) -> Compute:
    """To length 1 along ``axis`` (-1)."""
    axis = op.arguments.integer("axis", -1)
    return lambda x: functional.normalize(x, dim=canonical_axis(axis, x.dim()), eps=LEAST_NORM)


@operator("NormalizeL1", takes=FLOAT)
def normalize_sum(op: Operator) -> Compute:
    """To a sum of absolute values of 1 along ``axis`` (-1); zeros stay."""
    axis = op.arguments.integer("axis", -1)

    def compute(x: Any) -> Any:
        total = x.abs().sum(canonical_axis(axis, x.dim()), keepdim=True)
        return x / torch.where(total > 0, total, torch.ones_like(total))

    return compute


@operator("AffineChannel", inputs=(3, 3), in_place=((0, 0),), takes=FLOAT, same_type=True)
def affine_channel(op: Operator) -> Compute:
    """y = x * scale + bias, channel by channel."""
    channels_last = is_channels_last(op.arguments)
    require(
        not op.arguments.boolean("is_learnable", False) or op.inputs[0] not in op.outputs,
        "it cannot write in place with is_learnable",
    )
    scale, bias = op.constant(1), op.constant(2)
    if scale is not None and bias is not None and not channels_last:
        return by_shape(lambda x, *_: affine_per_channel(scale, bias, x.dim(), op.overwrites))

    def compute(x: Any, scale: Any, bias: Any) -> Any:
        shape = (-1,) + (1,) * (0 if channels_last else x.dim() - 2)
        return torch.addcmul(bias.reshape(shape), x, scale.reshape(shape))

    return compute
