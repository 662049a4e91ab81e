"""Normalization."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as functional

from ..registry import ANY, Compute, Operator, operator, require
from .geometry import is_channels_last, to_channels_first, to_channels_last


@operator("LRN", outputs=(1, 2))
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
        mean = functional.avg_pool2d(squares.flatten(2), (size, 1), stride=1).reshape(x.shape)
        scale = mean.mul_(alpha).add_(bias)
        y = x * scale.pow(-beta)
        if channels_last:
            y, scale = to_channels_last(y), to_channels_last(scale)
        return y if op.output_count == 1 else (y, scale)

    return compute


@operator("SpatialBN", inputs=(5, ANY), outputs=(1, 5), in_place=((0, 0),))
def spatial_batch_normalization(op: Operator) -> Compute:
    """Inputs: x, scale, bias, mean, variance. Only in test mode, with the given mean and variance."""
    epsilon = op.arguments.number("epsilon", 1e-5)
    channels_last = is_channels_last(op.arguments)
    require(
        op.arguments.boolean("is_test", False), "only is_test = 1 is supported: this program does not train"
    )

    def compute(x: Any, scale: Any, bias: Any, mean: Any, variance: Any) -> Any:
        if channels_last:
            x = to_channels_first(x)
        y = functional.batch_norm(x, mean, variance, scale, bias, training=False, eps=epsilon)
        return to_channels_last(y) if channels_last else y

    return compute


@operator("InstanceNorm", inputs=(3, 3), outputs=(1, 3), in_place=((0, 0),))
def instance_normalization(op: Operator) -> Compute:
    """Further outputs: mean and inverse standard deviation of each image's channels, shape (N, C)."""
    epsilon = op.arguments.number("epsilon", 1e-5)
    channels_last = is_channels_last(op.arguments)

    def compute(x: Any, scale: Any, bias: Any) -> Any:
        if channels_last:
            x = to_channels_first(x)
        y = functional.instance_norm(x, weight=scale, bias=bias, eps=epsilon)
        if channels_last:
            y = to_channels_last(y)
        if op.output_count == 1:
            return y
        variance, mean = torch.var_mean(x.flatten(2), dim=2, correction=0)
        return (y, mean, (variance + epsilon).rsqrt())[: op.output_count]

    return compute
