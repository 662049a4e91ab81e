"""Operators that create tensors from arguments, of which init nets consist."""

from __future__ import annotations

import math
from typing import Any, Callable, List, Optional

import torch

from ...messages import TensorProto
from ..registry import ANY, Compute, Operator, operator, require
from .shape import torch_type


def _shape_of(op: Operator) -> Callable[[Optional[Any]], List[int]]:
    """The argument ``shape``, or the shape of the input (or its values), then ``extra_shape``."""
    given = op.arguments.integers("shape") or []
    extra = op.arguments.integers("extra_shape") or []
    as_values = op.arguments.boolean("input_as_shape", False)

    def shape(like: Optional[Any]) -> List[int]:
        if like is None:
            require(not extra, "extra_shape needs an input")
            return given
        require(not given, "the shape cannot be given by both an input and the argument shape")
        require(
            not as_values or (like.dtype == torch.int64 and like.dim() == 1 and like.numel() > 0),
            "the input that gives the shape is not a vector of int64",
        )
        return [*(like.tolist() if as_values else like.shape), *extra]

    return shape


@operator("ConstantFill", inputs=(0, 2))
def constant_fill(op: Operator) -> Compute:
    value = op.arguments.value("value", 0.0)
    default = TensorProto.FLOAT if isinstance(value, float) else TensorProto.INT64
    dtype = torch_type(
        op.arguments.integer("dtype", TensorProto.FLOAT if op.arguments.has("dtype") else default)
    )
    require(dtype != torch.float16, "Caffe2 has no FLOAT16 on the CPU")
    is_given = op.arguments.has("value")
    require(
        not is_given or isinstance(value, float) == dtype.is_floating_point,
        "the value %r does not fit the type %s" % (value, str(dtype).replace("torch.", "")),
    )
    shape = _shape_of(op)
    return lambda like=None, *_: torch.full(shape(like), value, dtype=dtype)


def _given(dtype: Any) -> Callable[[Operator], Compute]:
    def prepare(op: Operator) -> Compute:
        chosen = dtype
        if op.type == "GivenTensorFill" and op.arguments.integer("dtype", TensorProto.UNDEFINED):
            chosen = torch_type(op.arguments.integer("dtype", TensorProto.UNDEFINED))
        data, shape = torch.tensor(_values(op, chosen), dtype=chosen), _shape_of(op)

        def compute(like: Optional[Any] = None) -> Any:
            wanted = shape(like)
            count = math.prod(wanted)
            is_enough = data.numel() >= count if dtype == torch.uint8 else data.numel() == count
            require(is_enough, "%d values do not fill %s" % (data.numel(), wanted))
            return data[:count].reshape(wanted).clone()

        return compute

    return prepare


def _values(op: Operator, dtype: Any) -> List[Any]:
    if dtype == torch.uint8:
        return list(b"".join(op.arguments.texts("values") or []))
    given = op.arguments.numbers("values") if dtype.is_floating_point else op.arguments.integers("values")
    return given or []


for _type, _dtype in (
    ("GivenTensorFill", torch.float32),
    ("GivenTensorDoubleFill", torch.float64),
    ("GivenTensorIntFill", torch.int32),
    ("GivenTensorInt64Fill", torch.int64),
    ("GivenTensorBoolFill", torch.bool),
    ("GivenTensorByteStringToUInt8Fill", torch.uint8),
):
    operator(_type, inputs=(0, 1))(_given(_dtype))


def _random(op: Operator, fill: Callable[[Any, Any], Any]) -> Compute:
    """``fill`` takes an empty tensor and a generator. The same seed gives the same values in every run."""
    shape = _shape_of(op)

    def compute(like: Optional[Any] = None, *_: Any) -> Any:
        generator = torch.Generator().manual_seed(op.seed)
        return fill(torch.empty(shape(like)), generator)

    return compute


@operator("UniformFill", inputs=(0, ANY))
def uniform_fill(op: Operator) -> Compute:
    low, high = op.arguments.number("min", 0.0), op.arguments.number("max", 1.0)
    return _random(op, lambda x, generator: x.uniform_(low, high, generator=generator))


@operator("UniformIntFill", inputs=(0, ANY))
def uniform_integer_fill(op: Operator) -> Compute:
    """From ``min`` to ``max``, both included."""
    low, high = op.arguments.integer("min", 0), op.arguments.integer("max", 1)
    require(low < high, "min is not below max")
    return _random(op, lambda x, generator: x.to(torch.int32).random_(low, high + 1, generator=generator))


@operator("DiagonalFill", inputs=(0, 1))
def diagonal_fill(op: Operator) -> Compute:
    """``value`` where all indices are the same, else 0."""
    constant = constant_fill(op)

    def compute(like: Optional[Any] = None) -> Any:
        full = constant(like)
        require(full.dim() >= 2, "a diagonal needs two dimensions or more")
        require(full.dim() == 2 or len(set(full.shape)) == 1, "the dimensions do not have the same length")
        result = torch.zeros_like(full)
        places = torch.arange(min(full.shape))
        result[(places,) * full.dim()] = full[(places,) * full.dim()]
        return result

    return compute


@operator("GaussianFill", inputs=(0, 1))
def gaussian_fill(op: Operator) -> Compute:
    mean, deviation = op.arguments.number("mean", 0.0), op.arguments.number("std", 1.0)
    return _random(op, lambda x, generator: x.normal_(mean, deviation, generator=generator))


@operator("XavierFill", inputs=(0, 1))
def xavier_fill(op: Operator) -> Compute:
    """Uniform within sqrt(3 / fan-in)."""

    def fill(x: Any, generator: Any) -> Any:
        limit = math.sqrt(3 / max(x.numel() // max(x.shape[0], 1), 1))
        return x.uniform_(-limit, limit, generator=generator)

    return _random(op, fill)


@operator("MSRAFill", inputs=(0, 1))
def msra_fill(op: Operator) -> Compute:
    """Gaussian with deviation sqrt(2 / fan-out)."""

    def fill(x: Any, generator: Any) -> Any:
        fan_out = x.numel() // max(x.shape[1], 1) if x.dim() > 1 else x.numel()
        return x.normal_(0, math.sqrt(2 / max(fan_out, 1)), generator=generator)

    return _random(op, fill)


@operator("Range", inputs=(1, 3))
def count_up(op: Operator) -> Compute:
    """Inputs: stop; or start and stop; or start, stop and step."""

    def compute(*bounds: Any) -> Any:
        start, stop, step = (
            ([0] if len(bounds) == 1 else [])
            + [one.item() for one in bounds]
            + ([1] if len(bounds) < 3 else [])
        )
        require(step != 0, "the step is 0")
        is_empty = (stop - start) * step <= 0
        return torch.arange(start, start if is_empty else stop, step, dtype=bounds[0].dtype)

    return compute
