"""Operators that rearrange values."""

from __future__ import annotations

from typing import Any, List, Optional, Sequence, Tuple

import torch
import torch.nn.functional as functional

from ...messages import TensorProto
from ..registry import ANY, FLOAT, NUMBER, Compute, Operator, by_shape, operator, require
from .geometry import NOTSET, Window, is_channels_last, to_channels_first, to_channels_last
from .linear import canonical_axis

TORCH_TYPES = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.INT32: torch.int32,
    TensorProto.BOOL: torch.bool,
    TensorProto.UINT8: torch.uint8,
    TensorProto.INT8: torch.int8,
    TensorProto.INT16: torch.int16,
    TensorProto.INT64: torch.int64,
    TensorProto.FLOAT16: torch.float16,
    TensorProto.DOUBLE: torch.float64,
}
if hasattr(torch, "uint16"):  # from torch 2.3 on
    TORCH_TYPES[TensorProto.UINT16] = torch.uint16


def torch_type(number: int) -> Any:
    require(number in TORCH_TYPES, "the data type %d is not supported" % number)
    return TORCH_TYPES[number]


def axis_of_parts(op: Operator) -> Tuple[int, bool]:
    """``axis`` with its ``add_axis``; otherwise the channels of an image in the given order."""
    channels = 3 if is_channels_last(op.arguments) else 1
    if not op.arguments.has("axis"):
        return channels, False
    require(not op.arguments.has("order"), "axis and order cannot be given together")
    return op.arguments.integer("axis", channels), op.arguments.boolean("add_axis", False)


@operator("Concat", "DepthConcat", inputs=(1, ANY), outputs=(2, 2))
def concatenate(op: Operator) -> Compute:
    """The second output is the length of each input along the axis, int32."""
    axis, adds_axis = axis_of_parts(op)

    def compute(*inputs: Any) -> Any:
        require(len({x.dtype for x in inputs}) == 1, "the inputs have different types")
        if adds_axis:
            return torch.stack(inputs, axis), torch.ones(len(inputs), dtype=torch.int32)
        place = canonical_axis(axis, inputs[0].dim())
        sizes = torch.tensor([x.shape[place] for x in inputs], dtype=torch.int32)
        return torch.cat(inputs, place), sizes

    return compute


@operator("Split", inputs=(1, 2), outputs=(1, ANY), shares_memory=True)
def split(op: Operator) -> Compute:
    axis, drops_axis = axis_of_parts(op)
    given = op.arguments.integers("split")

    def sizes_of(x: Any) -> List[int]:
        length = x.shape[canonical_axis(axis, x.dim())]
        if given is not None:
            return given
        require(length % op.output_count == 0, "%d cannot be split evenly in %d" % (length, op.output_count))
        return [length // op.output_count] * op.output_count

    def cut(x: Any, parts: List[int]) -> Any:
        require(
            len(parts) == op.output_count, "%d sizes do not fit %d outputs" % (len(parts), op.output_count)
        )
        pieces = tuple(piece.contiguous() for piece in torch.split(x, parts, axis))
        if drops_axis:
            require(all(part == 1 for part in parts), "add_axis needs pieces of length 1")
            pieces = tuple(piece.squeeze(axis) for piece in pieces)
        return pieces[0] if op.output_count == 1 else pieces

    def by_input(x: Any, sizes: Any) -> Any:
        require(sizes.dtype == torch.int32, "the sizes are not int32")
        return cut(x, sizes.tolist())

    def prepare(x: Any) -> Compute:
        parts = sizes_of(x)
        return lambda x: cut(x, parts)

    return by_input if op.input_count == 2 else by_shape(prepare)


@operator("Slice", inputs=(1, 3), shares_memory=True)
def cut(op: Operator) -> Compute:
    """Cuts one dimension. A negative position counts from beyond the end: -1 is the end itself."""
    starts, ends = op.arguments.integers("starts"), op.arguments.integers("ends")

    def prepare(x: Any) -> Compute:
        places = _places(x.shape, starts or [], ends or [])
        return lambda x: x[places].contiguous()

    def by_inputs(x: Any, first: Any, last: Any) -> Any:
        return x[_places(x.shape, first.tolist(), last.tolist())].contiguous()

    require(op.input_count != 2, "it has 2 inputs, not 1 or 3")
    return by_inputs if op.input_count == 3 else by_shape(prepare)


def _places(shape: Sequence[int], starts: Sequence[int], ends: Sequence[int]) -> Tuple[slice, ...]:
    require(len(starts) == len(ends) <= len(shape), "starts and ends do not fit %d dimensions" % len(shape))
    places = tuple(
        slice(a + size + 1 if a < 0 else a, min(b + size + 1 if b < 0 else b, size))
        for a, b, size in zip(starts, ends, shape)
    )
    require(all(place.start <= place.stop for place in places), "an end is before its start")
    is_cut = [place != slice(0, size) for place, size in zip(places, shape)]
    require(sum(is_cut) <= 1, "more than one dimension is cut")
    return places


@operator("Reshape", inputs=(1, 2), outputs=(2, 2), in_place=((0, 0),), shares_memory=True)
def reshape(op: Operator) -> Compute:
    """0 copies a dimension, -1 is the remaining size; the second output is the old shape."""
    given = op.arguments.integers("shape")

    def compute(x: Any, wanted: Optional[Any] = None) -> Any:
        numbers: List[int] = wanted.tolist() if wanted is not None else given or []
        copies = x.numel() > 0
        shape = [x.shape[axis] if number == 0 and copies else number for axis, number in enumerate(numbers)]
        dtype = torch.int64 if wanted is None else wanted.dtype
        return x.reshape(shape), torch.tensor(x.shape, dtype=dtype)

    return compute


@operator("Flatten", shares_memory=True)
def flatten(op: Operator) -> Compute:
    axis = op.arguments.integer("axis", 1)
    require(axis >= 0, "the axis must be 0 or above")

    def compute(x: Any) -> Any:
        require(x.dim() >= axis, "there are fewer than %d dimensions before the axis" % axis)
        return x.reshape(x.shape[:axis].numel(), x.shape[axis:].numel())

    return compute


@operator("Transpose", takes=NUMBER, shares_memory=True)
def transpose(op: Operator) -> Compute:
    axes = op.arguments.integers("axes")
    require(not axes or min(axes) >= 0, "the axes must be 0 or above")
    return lambda x: x.permute(axes or list(reversed(range(x.dim())))).contiguous()


@operator("NCHW2NHWC", takes=FLOAT, shares_memory=True)
def channels_to_the_end(op: Operator) -> Compute:
    def compute(x: Any) -> Any:
        require(x.dim() >= 3, "the input has no spatial dimension")
        return to_channels_last(x)

    return compute


@operator("NHWC2NCHW", takes=FLOAT, shares_memory=True)
def channels_to_the_front(op: Operator) -> Compute:
    def compute(x: Any) -> Any:
        require(x.dim() >= 3, "the input has no spatial dimension")
        return to_channels_first(x).contiguous()

    return compute


@operator("Tile", inputs=(1, 3), takes=NUMBER)
def tile(op: Operator) -> Compute:
    require(op.input_count == 3 or op.arguments.has("axis"), "the axis is not given")
    given_count, given_axis = op.arguments.integer("tiles", 1), op.arguments.integer("axis", 0)

    def compute(x: Any, count: Optional[Any] = None, axis: Optional[Any] = None) -> Any:
        repeats = [1] * x.dim()
        place = int(axis) if axis is not None else given_axis
        repeats[canonical_axis(place, x.dim())] = int(count) if count is not None else given_count
        return x.repeat(repeats)

    return compute


@operator("Cast", shares_memory=True)
def cast(op: Operator) -> Compute:
    """``to`` is a number or a name of TensorProto.DataType."""
    to = op.arguments.value("to", TensorProto.FLOAT)
    if isinstance(to, bytes):
        names = TensorProto.DataType.keys()
        name = to.decode().upper()
        require(name in names, "the data type %r is unknown" % name)
        to = TensorProto.DataType.Value(name)
    dtype = torch_type(int(to))
    require(dtype != torch.float16, "Caffe2 has no FLOAT16 on the CPU")

    def compute(x: Any) -> Any:
        require(x.dtype != torch.float16, "Caffe2 has no FLOAT16 on the CPU")
        return x.to(dtype)

    return compute


@operator("ChannelShuffle", shares_memory=True)
def channel_shuffle(op: Operator) -> Compute:
    group = op.arguments.integer("group", 1)
    channels_last = is_channels_last(op.arguments)

    def compute(x: Any) -> Any:
        y = to_channels_first(x) if channels_last else x
        channels = y.shape[1]
        require(channels % group == 0, "%d channels are not a multiple of %d groups" % (channels, group))
        shuffled = functional.channel_shuffle(y if y.dim() > 2 else y.unsqueeze(2), group).reshape(y.shape)
        return to_channels_last(shuffled) if channels_last else shuffled

    return compute


@operator("PadImage", takes=FLOAT)
def pad_image(op: Operator) -> Compute:
    modes = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}
    mode = op.arguments.text("mode", "constant")
    value = op.arguments.number("value", 0.0)
    channels_last = is_channels_last(op.arguments)
    window = Window.of(op.arguments)
    require(mode in modes, "the mode %r is not one of %s" % (mode, ", ".join(modes)))
    require(window.legacy_pad == NOTSET, "PadImage does not support legacy_pad")
    top, left, bottom, right = window.pads or (0, 0, 0, 0)
    fill = {"value": value} if mode == "constant" else {}
    require(mode == "constant" or min(top, left, bottom, right) >= 0, "only constant padding can be negative")

    def compute(x: Any) -> Any:
        require(x.dim() == 4, "the input does not have 4 dimensions")
        if channels_last:
            x = to_channels_first(x)
        if mode == "reflect" and not x.is_contiguous():
            y = _reflected(x, top, left, bottom, right)
        else:
            y = functional.pad(x, (left, right, top, bottom), modes[mode], **fill)
        return to_channels_last(y) if channels_last else y

    return compute


def _reflected(x: Any, top: int, left: int, bottom: int, right: int) -> Any:
    """torch's own function would first copy an image that is not contiguous."""
    height, width = x.shape[2:]
    require(max(top, bottom) < height and max(left, right) < width, "the padding must be less than the image")
    y = x.new_empty((*x.shape[:2], top + height + bottom, left + width + right))
    inner = y[:, :, :, left : left + width]
    inner[:, :, top : top + height] = x
    inner[:, :, :top] = x[:, :, 1 : top + 1].flip(2)
    inner[:, :, top + height :] = x[:, :, height - 1 - bottom : height - 1].flip(2)
    y[..., :left] = inner[..., 1 : left + 1].flip(3)
    y[..., left + width :] = inner[..., width - 1 - right : width - 1].flip(3)
    return y
