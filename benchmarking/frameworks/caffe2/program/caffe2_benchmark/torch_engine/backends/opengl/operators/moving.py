"""Operators that move values, or only change their shape."""

from __future__ import annotations

from typing import Any, Callable, List, Sequence

import torch

from ....operators.geometry import NOTSET, Window
from ....operators.linear import canonical_axis
from ....operators.shape import axis_of_parts
from ....registry import Compute, Operator
from ..blob import BLOCK, DeviceBlob
from ..context import Call, Device
from .kernel import (
    as_image,
    kernel,
    lie_alike,
    need,
    need_channels_first,
    need_to_be_first,
    per_shape,
    planes_call,
)

_MODES = {"constant": 0, "reflect": 1, "edge": 2}


def _move(
    device: Device,
    x: DeviceBlob,
    target: DeviceBlob,
    offsets: Sequence[int] = (0, 0, 0, 0),
    groups: int = 1,
    renumbers: bool = False,
) -> Call:
    source: Sequence[int]
    to: Sequence[int]
    if renumbers:
        source = (x.extent.images, x.extent.channels, x.extent.pixels, 1)
        size = target.extent
        to = (size.images, size.channels, size.pixels, 1)
    else:
        source, to = as_image(x.shape), as_image(target.shape)
    parameters = (
        *(source[1], source[3], groups, source[1] // groups),
        *(target.extent.blocks, *to[1:], *offsets),
    )
    return planes_call(device, "move", x.extent, parameters, RENUMBERS=int(renumbers))


@kernel("Concat", "DepthConcat")
def concatenate(device: Device, op: Operator) -> Compute:
    """Whole texels are copied if the channels of each input but the last fill them."""
    need_channels_first(op)
    axis, stacks = axis_of_parts(op)
    need(not stacks, "stacking is left to the host")

    def prepare(*inputs: DeviceBlob) -> Compute:
        place = canonical_axis(axis, inputs[0].dim())
        others = {(*x.shape[:place], *x.shape[place + 1 :]) for x in inputs}
        need(len(others) == 1 and len({x.dim() for x in inputs}) == 1, "the shapes do not fit")
        sizes = [x.shape[place] for x in inputs]
        shape = list(inputs[0].shape)
        shape[place] = sum(sizes)
        y = DeviceBlob.to_be_written(device, shape)
        lengths = torch.tensor(sizes, dtype=torch.int32)
        is_aligned = place == 1 and all(size % BLOCK == 0 for size in sizes[:-1])
        move = _by_copies(device, y) if is_aligned else _by_moves(device, y, inputs, place)

        def compute(*inputs: DeviceBlob) -> Any:
            move(inputs)
            return y, lengths

        return compute

    by_shapes: Any = {}

    def compute(*inputs: DeviceBlob) -> Any:
        # The shapes of all inputs count, not only that of the first.
        shapes = tuple(x.shape for x in inputs)
        if shapes not in by_shapes:
            by_shapes[shapes] = per_shape(prepare)
        return by_shapes[shapes](*inputs)

    return compute


_Move = Callable[[Sequence[DeviceBlob]], None]


def _by_copies(device: Device, y: DeviceBlob) -> _Move:
    per_image = y.extent.texels // y.extent.images

    def move(inputs: Sequence[DeviceBlob]) -> None:
        start = 0
        for x in inputs:
            texels = x.extent.texels // x.extent.images
            for image in range(x.extent.images):
                device.copy(x.storage, y.storage, texels, image * texels, image * per_image + start)
            start += texels

    return move


def _by_moves(device: Device, y: DeviceBlob, inputs: Sequence[DeviceBlob], place: int) -> _Move:
    shape = inputs[0].shape
    dimension = place if place < 2 else 4 - len(shape) + place
    if len(shape) < 2:
        dimension = 1
    calls: List[Call] = []
    start = 0
    for x in inputs:
        offsets = [0, 0, 0, 0]
        offsets[dimension] = start
        calls.append(_move(device, x, y, offsets))
        start += x.shape[place]

    def move(inputs: Sequence[DeviceBlob]) -> None:
        for call, x in zip(calls, inputs):
            call((x.storage,), y.storage)

    return move


@kernel("ChannelShuffle")
def channel_shuffle(device: Device, op: Operator) -> Compute:
    need_channels_first(op)
    group = op.arguments.integer("group", 1)

    def prepare(x: DeviceBlob) -> Compute:
        need(x.dim() > 1 and x.shape[1] % group == 0, "the channels are not a multiple of the groups")
        y = DeviceBlob.to_be_written(device, x.shape)
        call = _move(device, x, y, groups=group)

        def compute(x: DeviceBlob) -> DeviceBlob:
            call((x.storage,), y.storage)
            return y

        return compute

    return per_shape(prepare)


def to_shape(device: Device, x: DeviceBlob, shape: Sequence[int]) -> Compute:
    """Nothing is moved if the values have the same layout in both shapes."""
    if lie_alike(x.shape, shape):
        return lambda x, *_: x.reshaped(shape)
    y = DeviceBlob.to_be_written(device, shape)
    call = _move(device, x, y, renumbers=True)

    def compute(x: DeviceBlob, *_: Any) -> DeviceBlob:
        call((x.storage,), y.storage)
        return y

    return compute


@kernel("Reshape")
def reshape(device: Device, op: Operator) -> Compute:
    need_to_be_first(op)
    given = op.arguments.integers("shape")
    need(given is not None and op.input_count == 1, "a shape that is read is the host's")

    def prepare(x: DeviceBlob) -> Compute:
        need(x.numel() > 0, "there is nothing to reshape")
        shape = [x.shape[axis] if number == 0 else number for axis, number in enumerate(given or [])]
        found = torch.empty(x.shape, device="meta").reshape(shape).shape
        old = torch.tensor(x.shape, dtype=torch.int64)
        move = to_shape(device, x, found)
        return lambda x: (move(x), old)

    return per_shape(prepare)


@kernel("Flatten")
def flatten(device: Device, op: Operator) -> Compute:
    need_to_be_first(op)
    axis = op.arguments.integer("axis", 1)
    need(axis >= 0, "the axis must be 0 or above")

    def prepare(x: DeviceBlob) -> Compute:
        need(x.dim() >= axis, "there are too few dimensions")
        return to_shape(device, x, (x.shape[:axis].numel(), x.shape[axis:].numel()))

    return per_shape(prepare)


@kernel("FlattenToVec")
def flatten_to_vector(device: Device, op: Operator) -> Compute:
    need_to_be_first(op)

    def prepare(x: DeviceBlob) -> Compute:
        need(x.dim() >= 1, "there is no dimension")
        return to_shape(device, x, (x.numel(),))

    return per_shape(prepare)


@kernel("Squeeze")
def squeeze(device: Device, op: Operator) -> Compute:
    need_to_be_first(op)
    dims = set(op.arguments.integers("dims") or [])

    def prepare(x: DeviceBlob) -> Compute:
        need(bool(dims) and all(0 <= axis < x.dim() and x.shape[axis] == 1 for axis in dims), "it is not 1")
        return to_shape(device, x, [size for axis, size in enumerate(x.shape) if axis not in dims])

    return per_shape(prepare)


@kernel("Alias")
def alias(device: Device, op: Operator) -> Compute:
    need_to_be_first(op)
    return lambda x: x


@kernel("PadImage")
def pad_image(device: Device, op: Operator) -> Compute:
    need_channels_first(op)
    mode = op.arguments.text("mode", "constant")
    value = op.arguments.number("value", 0.0)
    window = Window.of(op.arguments)
    need(mode in _MODES and window.legacy_pad == NOTSET, "the host says what is wrong")
    top, left, bottom, right = window.pads or (0, 0, 0, 0)

    def prepare(x: DeviceBlob) -> Compute:
        need(x.dim() == 4, "only images are padded on the device")
        height, width = x.shape[2:]
        fits = max(top, bottom) < height and max(left, right) < width
        need(mode != "reflect" or fits, "the padding must be less than the image")
        y = DeviceBlob.to_be_written(device, (*x.shape[:2], height + top + bottom, width + left + right))
        parameters = (
            *(x.shape[1], height, width, y.shape[3], top, left),
            float(value),
        )
        call = planes_call(device, "pad_image", y.extent, parameters, MODE=_MODES[mode])

        def compute(x: DeviceBlob) -> DeviceBlob:
            call((x.storage,), y.storage)
            return y

        return compute

    return per_shape(prepare)
