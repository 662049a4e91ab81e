"""Operators that process the elements of one or several blobs one by one."""

from __future__ import annotations

from typing import Any, Sequence

import torch

from ....operators.elementwise import broadcast_axis
from ....registry import Compute, Operator
from ..blob import BLOCK, DeviceBlob, texels_of
from ..context import Device, Storage
from .kernel import (
    as_image,
    constant,
    kernel,
    need,
    need_channels_first,
    need_to_be_first,
    output,
    per_shape,
    planes_call,
    run_on_values,
    texels_call,
)
from .moving import to_shape

FUNCTIONS = ("copy", "relu", "slope", "affine", "sigmoid")
COPY, RELU, SLOPE, AFFINE, SIGMOID = range(len(FUNCTIONS))
"""The operations of per_channel.comp."""
_BINARY = {"Add": 0, "Sub": 1, "Mul": 2, "Div": 3}
"""The operations of binary.comp."""
MOST_SOURCES = 4
"""The number of blobs that sum.comp adds at once."""


def per_channel(
    device: Device, op: Operator, x: DeviceBlob, function: int, numbers: Sequence[Storage] = ()
) -> Compute:
    call = planes_call(
        device, "per_channel", x.extent, (x.extent.channels,), FUNCTIONS[function], FUNCTION=function
    )
    return run_on_values(call, output(op, x), numbers)


@kernel("Relu")
def relu(device: Device, op: Operator) -> Compute:
    return per_shape(lambda x: per_channel(device, op, x, RELU))


@kernel("Sigmoid")
def sigmoid(device: Device, op: Operator) -> Compute:
    return per_shape(lambda x: per_channel(device, op, x, SIGMOID))


@kernel("Copy", "StopGradient")
def copy(device: Device, op: Operator) -> Compute:
    return per_shape(lambda x: per_channel(device, op, x, COPY))


@kernel("PRelu")
def parametric_relu(device: Device, op: Operator) -> Compute:
    need_channels_first(op)
    slope = constant(op, 1)

    def prepare(x: DeviceBlob, *_: Any) -> Compute:
        need(
            x.dim() > 1 and slope.numel() in (1, x.shape[1]),
            "the number of slopes is not the number of channels",
        )
        slopes = slope.reshape(-1).expand(x.shape[1])
        return per_channel(device, op, x, SLOPE, [Storage(device, texels_of(slopes))])

    return per_shape(prepare)


def affine(device: Device, op: Operator, x: DeviceBlob, factor: Any, offset: Any) -> Compute:
    """factor * x + offset, with a factor and an offset for each channel."""
    return per_channel(device, op, x, AFFINE, [numbers_of(device, factor, offset)])


def numbers_of(device: Device, *parts: Any) -> Storage:
    """One number for each channel, then the next number for each channel."""
    return Storage(device, b"".join(map(texels_of, parts)))


@kernel("Add", "Sub", "Mul", "Div")
def binary(device: Device, op: Operator) -> Compute:
    is_older = op.arguments.boolean("broadcast", False)
    axis = broadcast_axis(op)

    def prepare(a: DeviceBlob, b: DeviceBlob) -> Compute:
        start = a.dim() - b.dim() if not is_older or axis == -1 else axis
        need(start >= 0 and b.dim() <= a.dim() - start, "the first input has to be the larger one")
        aligned = (1,) * start + tuple(b.shape) + (1,) * (a.dim() - start - b.dim())
        if b.numel() == 1:
            aligned = (1,) * a.dim()
        fits = all(size in (1, wanted) for size, wanted in zip(aligned, a.shape))
        need(fits, "the first input has to have the shape of the result")
        y = DeviceBlob.to_be_written(device, a.shape)
        broadcasts = aligned != tuple(a.shape)
        align = to_shape(device, b, aligned)
        strides = _strides(a.shape, aligned) if broadcasts else (0,) * 7
        parameters = (a.extent.channels, *strides)
        constants = {"FUNCTION": _BINARY[op.type], "BROADCASTS": int(broadcasts)}
        call = planes_call(device, "binary", a.extent, parameters, op.type.lower(), **constants)

        def compute(a: DeviceBlob, b: DeviceBlob) -> DeviceBlob:
            call((a.storage, align(b).storage), y.storage)
            return y

        return compute

    return _per_both_shapes(per_shape, prepare)


def _strides(shape: Sequence[int], other: Sequence[int]) -> Sequence[int]:
    """The width of a row, and how the other shape, with dimensions of 1, is read: as binary.comp needs it."""
    need(2 <= len(shape) <= 4, "only 2 to 4 dimensions are broadcast on the device")
    size, second = as_image(shape), as_image(other)
    images, channels, rows, columns = [int(one == full) for one, full in zip(second, size)]
    blocks = -(-second[1] // BLOCK)
    return size[3], second[2] * second[3], blocks, images, channels, rows * second[3], columns


def _per_both_shapes(by: Any, prepare: Any) -> Compute:
    """The function also depends on the second input's shape."""
    by_second: Any = {}

    def compute(a: DeviceBlob, b: DeviceBlob) -> Any:
        if b.shape not in by_second:
            by_second[b.shape] = by(prepare)
        return by_second[b.shape](a, b)

    return compute


@kernel("Sum")
def add_all(device: Device, op: Operator) -> Compute:
    def prepare(first: DeviceBlob, *others: DeviceBlob) -> Compute:
        need(all(other.shape == first.shape for other in others), "the inputs have different shapes")
        if not others:
            return per_channel(device, op, first, COPY)
        target = output(op, first)
        texels = first.extent.texels
        calls = {
            count: texels_call(device, "sum", texels, (), SOURCES=count)
            for count in {min(len(others), MOST_SOURCES - 1) + 1, *_rest(len(others))}
        }

        def compute(first: DeviceBlob, *others: DeviceBlob) -> DeviceBlob:
            result = first if target is None else target
            added = first
            for start in range(0, len(others), MOST_SOURCES - 1):
                some = others[start : start + MOST_SOURCES - 1]
                sources = [blob.storage for blob in (added, *some)]
                calls[len(sources)](sources, result.storage)
                added = result
            return result

        return compute

    return per_shape(prepare)


def _rest(count: int) -> Sequence[int]:
    """The sources of the last sum, if the ``count`` ones to be added do not fill it."""
    rest = count % (MOST_SOURCES - 1)
    return [rest + 1] if rest else []


@kernel("Dropout")
def dropout(device: Device, op: Operator) -> Compute:
    """In test mode the blob stays in place, and the mask is not written."""
    need(op.arguments.boolean("is_test", False), "this program does not train")
    need_to_be_first(op)
    return (lambda x: x) if op.output_count == 1 else (lambda x: (x,))


def per_channel_numbers(values: Sequence[Any], channels: int) -> bool:
    """Whether each has a number for each channel."""
    return all(torch.is_tensor(one) and one.shape == (channels,) for one in values)
