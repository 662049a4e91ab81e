"""Functions of one number, applied to each element."""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, Optional

import torch
import torch.nn.functional as functional

from ..registry import FLOAT, FLOAT_OR_DOUBLE, NUMBER, Compute, Operator, by_shape, operator, require
from .geometry import is_channels_last

_SEPARATE: Dict[str, Callable[[Any], Any]] = {
    "Abs": torch.abs,
    "Acos": torch.acos,
    "Asin": torch.asin,
    "Atan": torch.atan,
    "Cos": torch.cos,
    "Cosh": torch.cosh,
    "Cube": lambda x: x * x * x,
    "Erf": torch.erf,
    "Sin": torch.sin,
    "Sinh": torch.sinh,
    "Swish": functional.silu,
    "Tan": torch.tan,
}
"""Functions that cannot be computed in place."""

_PLAIN: Dict[str, Callable[[Any], Any]] = {
    "Cbrt": lambda x: torch.sign(x) * x.abs().pow(1 / 3),
    "Ceil": torch.ceil,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "Log": torch.log,
    "Reciprocal": torch.reciprocal,
    "Rsqrt": torch.rsqrt,
    "Sigmoid": torch.sigmoid,
    "Softplus": functional.softplus,
    "Softsign": functional.softsign,
    "Sqr": torch.square,
    "Tanh": torch.tanh,
}


def _plain(function: Callable[[Any], Any]) -> Callable[[Operator], Compute]:
    return lambda op: function


for _type, _function in _SEPARATE.items():
    operator(_type, takes=NUMBER if _type == "Cube" else FLOAT)(_plain(_function))
for _type, _function in _PLAIN.items():
    operator(_type, in_place=((0, 0),), takes=FLOAT)(_plain(_function))
operator("Mish", takes=FLOAT_OR_DOUBLE)(_plain(lambda x: x * torch.tanh(functional.softplus(x))))
operator("Copy")(_plain(torch.clone))
operator("StopGradient", in_place=((0, 0),))(_plain(torch.clone))
operator("Negative", in_place=((0, 0),), takes=NUMBER)(_plain(torch.neg))
operator("Sign", takes=NUMBER)(_plain(torch.sign))
operator("Sqrt", in_place=((0, 0),), takes=FLOAT_OR_DOUBLE)(_plain(torch.sqrt))


@operator("Relu", in_place=((0, 0),), takes=FLOAT)
def relu(op: Operator) -> Compute:
    return torch.relu_ if op.overwrites else torch.relu


@operator("ReluN", in_place=((0, 0),), takes=FLOAT)
def relu_up_to(op: Operator) -> Compute:
    return _clip(op, 0.0, op.arguments.number("n", 6.0))


@operator("Clip", in_place=((0, 0),), takes=FLOAT)
def clip(op: Operator) -> Compute:
    lowest, highest = torch.finfo(torch.float32).min, torch.finfo(torch.float32).max
    return _clip(op, op.arguments.number("min", lowest), op.arguments.number("max", highest))


def _clip(op: Operator, low: float, high: float) -> Compute:
    clamp = torch.clamp_ if op.overwrites else torch.clamp
    return lambda x: clamp(x, low, high)


@operator("PRelu", inputs=(2, 2), in_place=((0, 0),), takes=FLOAT)
def parametric_relu(op: Operator) -> Compute:
    channels_last = is_channels_last(op.arguments)

    def prepare(x: Any, slope: Any) -> Compute:
        require(x.dim() > 1 or slope.numel() > 1, "a vector needs a slope for each value")
        if x.dim() > 1 and (channels_last or _has_channels_innermost(x)):
            return _parametric_relu_by_row(x.shape, channels_last, op.constant(1))
        if slope.dim() < 2 and x.dim() > 1:
            return functional.prelu
        if x.dim() == 1:
            return lambda x, slope: torch.where(x > 0, x, x * slope.reshape(-1))
        return lambda x, slope: functional.prelu(x, slope.reshape(-1))

    return by_shape(prepare)


def _has_channels_innermost(x: Any) -> bool:
    return x.dim() == 4 and bool(x.is_contiguous(memory_format=torch.channels_last))


def _parametric_relu_by_row(shape: Any, channels_last: bool, constant: Optional[Any]) -> Compute:
    """With the channels innermost: one slope for each value of a row of pixels, as a row is long."""
    row = shape[-2:] if channels_last else (shape[3], shape[1])
    width = row[0] * row[1]

    def of_row(slope: Any) -> Any:
        require(slope.numel() in (1, row[1]), "the number of slopes is not the number of channels")
        return slope.reshape(-1).expand(row).reshape(-1)

    known = None if constant is None else of_row(constant)

    def compute(x: Any, slope: Any) -> Any:
        pixels = x if channels_last else x.permute(0, 2, 3, 1)
        y = functional.prelu(pixels.reshape(-1, width), of_row(slope) if known is None else known)
        y = y.view(pixels.shape)
        return y if channels_last else y.permute(0, 3, 1, 2)

    return compute


@operator("LeakyRelu", in_place=((0, 0),), takes=FLOAT)
def leaky_relu(op: Operator) -> Compute:
    alpha = op.arguments.number("alpha", 0.01)
    return lambda x: functional.leaky_relu(x, alpha)


@operator("Elu", in_place=((0, 0),), takes=FLOAT)
def exponential_linear_unit(op: Operator) -> Compute:
    alpha = op.arguments.number("alpha", 1.0)
    return lambda x: functional.elu(x, alpha)


@operator("Selu", in_place=((0, 0),), takes=FLOAT)
def scaled_exponential_linear_unit(op: Operator) -> Compute:
    """Klambauer et al. (2017): scale * (x if x > 0 else alpha * (exp(x) - 1))."""
    alpha = op.arguments.number("alpha", 1.6732632423543772848170429916717)
    factor = op.arguments.number("scale", 1.0507009873554804934193349852946)
    require(factor > 1, "the scale must be above 1")
    return lambda x: functional.elu(x, alpha).mul_(factor)


@operator("Gelu", takes=FLOAT)
def gaussian_error_linear_unit(op: Operator) -> Compute:
    """With ``fast_gelu`` by the hyperbolic tangent (Hendrycks and Gimpel 2016)."""
    if not op.arguments.boolean("fast_gelu", False):
        return functional.gelu
    factor = math.sqrt(2 / math.pi)
    return lambda x: 0.5 * x * (1 + torch.tanh(factor * (x + 0.044715 * x * x * x)))


@operator("HardSigmoid", in_place=((0, 0),), takes=FLOAT)
def hard_sigmoid(op: Operator) -> Compute:
    alpha, beta = op.arguments.number("alpha", 0.2), op.arguments.number("beta", 0.5)
    return lambda x: x.mul(alpha).add_(beta).clamp_(0, 1)


@operator("Logit", in_place=((0, 0),), takes=FLOAT)
def logit(op: Operator) -> Compute:
    epsilon = op.arguments.number("eps", 1e-6)
    require(epsilon > 0, "eps must be above 0")
    return lambda x: torch.logit(x, epsilon)


@operator("Scale", in_place=((0, 0),), takes=FLOAT_OR_DOUBLE)
def scale(op: Operator) -> Compute:
    factor = op.arguments.number("scale", 1.0)
    return lambda x: x * factor
