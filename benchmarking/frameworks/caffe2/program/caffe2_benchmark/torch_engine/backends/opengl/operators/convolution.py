"""Convolutions, including transposed convolutions."""

from __future__ import annotations

from typing import Any, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import torch

from ....operators.convolution import FUSED_CONVOLUTION, HAS_RELU
from ....operators.geometry import Fit, Window, pair
from ....registry import Compute, Operator
from ..blob import BLOCK, DeviceBlob
from ..context import Call, Device, Storage
from .kernel import MOST_PIXELS, constant, kernel, need, need_channels_first, per_shape, storage_of

TILE_CHANNELS = 8
MANY_PIXELS = 1024
"""Work groups are large from this size on: each has a fixed cost, and few invocations have no pixel."""


class Grid(NamedTuple):
    """The pixels that a convolution computes: ``rows`` x ``columns``, ``step`` apart, from ``first`` on."""

    rows: int
    columns: int
    step: Tuple[int, int] = (1, 1)
    first: Tuple[int, int] = (0, 0)


class Pack(NamedTuple):
    storage: Storage
    tiles: int
    blocks: int
    """The blocks of source channels that each tile reads."""


@kernel("Conv", "Conv2D", FUSED_CONVOLUTION)
def convolution(device: Device, op: Operator) -> Compute:
    """The fused convolution may add a fourth input and may end with a Relu."""
    need_channels_first(op)
    has_relu = op.arguments.boolean(HAS_RELU, False)
    has_other = op.input_count > 3
    window = Window.of(op.arguments)
    group = op.arguments.integer("group", 1)
    weight = constant(op, 1)
    bias = constant(op, 2) if op.input_count > 2 else None

    def prepare(x: DeviceBlob, *more: DeviceBlob) -> Compute:
        need(x.dim() == 4 and weight.dim() == 4, "only images are convolved on the device")
        fit = window.fit(x.shape[2:])
        outputs, inputs = weight.shape[:2]
        fits = (
            list(weight.shape[2:]) == fit.kernel
            and inputs * group == x.shape[1]
            and outputs % group == 0
            and (bias is None or bias.shape == (outputs,))
        )
        need(fits, "the weights do not fit")
        y = DeviceBlob.to_be_written(device, (x.shape[0], outputs, *fit.output))
        need(not has_other or more[-1].shape == y.shape, "the added blob has another shape")
        ending = {"HAS_RELU": int(has_relu), "HAS_OTHER": int(has_other)}
        if inputs == 1 and group == outputs:
            call, weights = _depthwise(device, x, y, fit, weight, bias, ending)
        else:
            pack = packed(device, weight, bias, group)
            grid = Grid(fit.output[0], fit.output[1])
            program = _program_for(device, grid, ending)
            call, weights = _call(device, program, x, y, pack, fit, grid), pack.storage

        def compute(x: DeviceBlob, *more: DeviceBlob) -> DeviceBlob:
            others = (more[-1].storage,) if has_other else ()
            call((x.storage, weights, *others), y.storage)
            return y

        return compute

    return per_shape(prepare)


def packed(device: Device, weight: Any, bias: Optional[Any], group: int) -> Pack:
    """The weights as convolution.comp reads them; ``weight`` is (M, C / group, height, width)."""
    outputs, inputs, height, width = weight.shape
    per_group = outputs // group
    tiles = -(-outputs // TILE_CHANNELS)
    firsts, lasts = [], []
    for tile in range(tiles):
        begin, end = tile * TILE_CHANNELS, min((tile + 1) * TILE_CHANNELS, outputs)
        firsts.append(begin // per_group * inputs // BLOCK)
        lasts.append(-(-((end - 1) // per_group + 1) * inputs // BLOCK))
    blocks = max(last - first for first, last in zip(firsts, lasts))
    dense = torch.zeros((tiles, TILE_CHANNELS, blocks * BLOCK, height, width))
    if group == 1:
        dense.view(tiles * TILE_CHANNELS, *dense.shape[2:])[:outputs, :inputs] = weight
    else:
        for number in range(outputs):
            tile, place = divmod(number, TILE_CHANNELS)
            start = number // per_group * inputs - firsts[tile] * BLOCK
            dense[tile, place, start : start + inputs] = weight[number]
    taps = dense.permute(0, 3, 4, 2, 1).reshape(tiles, -1)
    heads = torch.zeros((tiles, BLOCK + TILE_CHANNELS))
    heads[:, 0] = torch.tensor(firsts)
    if bias is not None:
        biases = torch.zeros(tiles * TILE_CHANNELS)
        biases[:outputs] = bias
        heads[:, BLOCK:] = biases.reshape(tiles, TILE_CHANNELS)
    return Pack(storage_of(device, torch.cat((heads, taps), 1)), tiles, blocks)


def _program_for(device: Device, grid: Grid, ending: Mapping[str, int]) -> Tuple[Any, int]:
    """Returns the program and the number of pixels that each invocation computes."""
    pixels = grid.rows * grid.columns
    tile_pixels = 8 if pixels > 32 else 4 if pixels > 8 else 1
    local_size = 32 if pixels >= MANY_PIXELS else 8
    constants = {"TILE_PIXELS": tile_pixels, **ending}
    label = "convolution_%dx%d" % (TILE_CHANNELS, tile_pixels)
    return device.program("convolution", local_size, label, **constants), tile_pixels


def _call(
    device: Device,
    program_and_pixels: Tuple[Any, int],
    x: DeviceBlob,
    y: DeviceBlob,
    pack: Pack,
    fit: Fit,
    grid: Grid,
) -> Call:
    program, tile_pixels = program_and_pixels
    images, _, height, width = x.shape
    taps = fit.kernel[0] * fit.kernel[1]
    parameters = (
        *(x.extent.blocks, height, width, x.extent.texels),
        *(y.extent.blocks, *y.shape[2:]),
        *(grid.rows, grid.columns, *grid.step, *grid.first),
        *(*fit.stride, *fit.heads, *fit.dilation),
        *(*fit.kernel, pack.blocks, 1 + (1 + taps * pack.blocks * BLOCK) * TILE_CHANNELS // BLOCK),
    )
    need(grid.rows * grid.columns < MOST_PIXELS, "there are too many pixels for the shaders")
    pixels = program.local_size * tile_pixels
    groups = (-(-grid.rows * grid.columns // pixels), pack.tiles, images)
    return Call(device, program, groups, parameters)


def _depthwise(
    device: Device,
    x: DeviceBlob,
    y: DeviceBlob,
    fit: Fit,
    weight: Any,
    bias: Optional[Any],
    ending: Mapping[str, int],
) -> Tuple[Call, Storage]:
    channels, taps = weight.shape[0], fit.kernel[0] * fit.kernel[1]
    blocks = x.extent.blocks
    numbers = torch.zeros((blocks * BLOCK, 1 + taps))
    numbers[:channels, 1:] = weight.reshape(channels, taps)
    if bias is not None:
        numbers[:channels, 0] = bias
    weights = storage_of(device, numbers.reshape(blocks, BLOCK, 1 + taps).permute(0, 2, 1))
    pixels = y.extent.pixels
    need(pixels < MOST_PIXELS, "there are too many pixels for the shaders")
    local_size = 32 if pixels >= MANY_PIXELS else 8
    program = device.program("depthwise_convolution", local_size, "", **ending)
    parameters = (
        *(*x.shape[2:], x.extent.texels, *fit.output),
        *(*fit.stride, *fit.heads, *fit.dilation, *fit.kernel),
    )
    groups = (-(-pixels // (4 * program.local_size)), blocks, x.shape[0])
    return Call(device, program, groups, parameters), weights


class Phase(NamedTuple):
    """The output positions along one dimension that read the same taps of a transposed convolution."""

    first: int
    pixels: int
    taps: List[int]
    """In the order of the source positions that they belong to."""
    head: int


def phases(size: int, kernel_size: int, stride: int, pad: int) -> List[Phase]:
    """``size``: of the output. Position o gets source i by tap o + pad - stride * i."""
    result = []
    for remainder in range(stride):
        first = (remainder - pad) % stride
        pixels = -(-(size - first) // stride)
        taps = list(range(remainder, kernel_size, stride))[::-1]
        if pixels > 0:
            result.append(Phase(first, pixels, taps, len(taps) - 1 - (first + pad - remainder) // stride))
    return result


@kernel("ConvTranspose")
def transposed_convolution(device: Device, op: Operator) -> Compute:
    """One ordinary convolution for each position within a stride."""
    need_channels_first(op)
    window = Window.of(op.arguments)
    group = op.arguments.integer("group", 1)
    adjustment = pair(op.arguments, "adj") or [0, 0]
    stride = list(window.stride) or [1, 1]
    top, left, bottom, right = list(window.pads) or [0, 0, 0, 0]
    weight = constant(op, 1)
    bias = constant(op, 2) if op.input_count > 2 else None
    need(all(one < step for one, step in zip(adjustment, stride)), "adj must be less than the stride")

    def prepare(x: DeviceBlob, *_: Any) -> Compute:
        need(x.dim() == 4 and weight.dim() == 4, "only images are convolved on the device")
        kernel_sizes = list(weight.shape[2:])
        inputs, per_group = weight.shape[:2]
        outputs = per_group * group
        fits = (
            kernel_sizes == list(window.kernel)
            and inputs == x.shape[1]
            and inputs % group == 0
            and (bias is None or bias.shape == (outputs,))
        )
        need(fits, "the weights do not fit")
        sizes = [
            (size - 1) * step + kernel_size + more - pads
            for size, step, kernel_size, more, pads in zip(
                x.shape[2:], stride, kernel_sizes, adjustment, (top + bottom, left + right)
            )
        ]
        need(min(sizes) > 0, "nothing is left of the output")
        y = DeviceBlob.to_be_written(device, (x.shape[0], outputs, *sizes))
        ordinary = _as_ordinary(weight, group)
        calls = [
            _phase_call(device, x, y, ordinary, bias, group, stride, (row, column))
            for row in phases(sizes[0], kernel_sizes[0], stride[0], top)
            for column in phases(sizes[1], kernel_sizes[1], stride[1], left)
        ]

        def compute(x: DeviceBlob, *_: Any) -> DeviceBlob:
            for call, weights in calls:
                call((x.storage, weights), y.storage)
            return y

        return compute

    return per_shape(prepare)


def _as_ordinary(weight: Any, group: int) -> Any:
    """(Cin, Cout / group, ...) to (Cout, Cin / group, ...)."""
    inputs, per_group, *kernel_sizes = weight.shape
    parts = weight.reshape(group, inputs // group, per_group, *kernel_sizes)
    return parts.transpose(1, 2).reshape(group * per_group, inputs // group, *kernel_sizes)


def _phase_call(
    device: Device,
    x: DeviceBlob,
    y: DeviceBlob,
    weight: Any,
    bias: Optional[Any],
    group: int,
    stride: Sequence[int],
    phase: Tuple[Phase, Phase],
) -> Tuple[Call, Storage]:
    row, column = phase
    part = weight[:, :, row.taps][:, :, :, column.taps]
    pack = packed(device, part, bias, group)
    grid = Grid(row.pixels, column.pixels, (stride[0], stride[1]), (row.first, column.first))
    heads = [(row.head, 0), (column.head, 0)]
    fit = Fit([len(row.taps), len(column.taps)], [1, 1], [1, 1], heads, [row.pixels, column.pixels])
    return _call(device, _program_for(device, grid, {}), x, y, pack, fit, grid), pack.storage
