"""Fully connected layers and softmax."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as functional

from ....operators.linear import canonical_axis
from ....registry import Compute, Operator
from ..blob import BLOCK, DeviceBlob
from ..context import Call, Device, Storage
from .kernel import constant, kernel, lie_alike, need, per_shape, storage_of, texels_call

FEW_INVOCATIONS = 8
"""The number of invocations in a work group: there are few in all, each with much to do."""


@kernel("FC", "FCTransposed")
def fully_connected(device: Device, op: Operator) -> Compute:
    axis = op.arguments.integer("axis", 1)
    axis_w = op.arguments.integer("axis_w", 1)
    weight, bias = constant(op, 1), constant(op, 2)

    def prepare(x: DeviceBlob, *_: Any) -> Compute:
        need(canonical_axis(axis, x.dim()) == 1, "only rows that are images are supported on the device")
        rows, columns = x.shape[0], x.shape[1:].numel()
        matrix = weight.reshape(weight.shape[: canonical_axis(axis_w, weight.dim())].numel(), -1)
        if op.type == "FCTransposed":
            matrix = matrix.t()
        outputs = matrix.shape[0]
        need(matrix.shape[1] == columns and bias.shape == (outputs,), "the weights do not fit")
        y = DeviceBlob.to_be_written(device, (rows, outputs))
        weights = _packed(device, matrix, bias, x)
        blocks = y.extent.blocks
        tile_rows = 4 if rows > 1 else 1
        program = device.program("fully_connected", FEW_INVOCATIONS, TILE_ROWS=tile_rows)
        groups = (-(-blocks // FEW_INVOCATIONS), -(-rows // tile_rows), 1)
        call = Call(device, program, groups, (rows, x.extent.texels // rows, blocks))

        def compute(x: DeviceBlob, *_: Any) -> DeviceBlob:
            call((x.storage, weights), y.storage)
            return y

        return compute

    return per_shape(prepare)


def _packed(device: Device, matrix: Any, bias: Any, x: DeviceBlob) -> Storage:
    """The weights as fully_connected.comp reads them; the columns are in the order of the texels of x."""
    outputs = matrix.shape[0]
    _, channels, pixels = size = x.extent
    blocks = -(-outputs // BLOCK)
    packed = torch.zeros((1 + size.blocks * pixels * BLOCK, blocks * BLOCK))
    packed[0, :outputs] = bias
    columns = matrix.reshape(outputs, channels, pixels)
    if channels % BLOCK:
        columns = functional.pad(columns, (0, 0, 0, size.blocks * BLOCK - channels))
    parts = columns.reshape(outputs, size.blocks, BLOCK, pixels).permute(1, 3, 2, 0)
    packed[1:, :outputs] = parts.reshape(-1, outputs)
    # One texel further is the next block of outputs.
    return storage_of(device, packed)


@kernel("Softmax")
def softmax(device: Device, op: Operator) -> Compute:
    axis = op.arguments.integer("axis", 1)

    def prepare(x: DeviceBlob) -> Compute:
        place = canonical_axis(axis, x.dim())
        rows = x.shape[:place].numel()
        need(place == 1 or rows == 1, "only rows that are images are supported on the device")
        is_image = x.dim() > 1 and (place == 1 or x.shape[0] == 1)
        need(
            is_image or lie_alike(x.shape, (1, x.numel())),
            "only rows that are images are supported on the device",
        )
        y = DeviceBlob.to_be_written(device, x.shape)
        _, channels, pixels = size = x.extent
        call = texels_call(device, "softmax", rows, (pixels, size.blocks, channels))

        def compute(x: DeviceBlob) -> DeviceBlob:
            call((x.storage,), y.storage)
            return y

        return compute

    return per_shape(prepare)
