"""Before and after a style transfer net: packed pixels to planes and back."""

from __future__ import annotations

from typing import Any

import torch

from ....operators.stylizer import NOISE_BLOB
from ....registry import Compute, Operator, by_shape
from ..blob import DeviceBlob, texels_of
from ..context import Device, Storage
from .kernel import constant, kernel, need, per_shape, texels_call


@kernel("PackedInt8BGRANHWCToNCHWCStylizerPreprocess")
def preprocess(device: Device, op: Operator) -> Compute:
    """The noise comes from the host: the blob of that name or, if there is none, drawn in the same way."""
    deviation = op.arguments.number("noise_std", 10.0)
    size = op.arguments.integer("noise_size", 491)
    mean = constant(op, 1).reshape(-1)

    def noise() -> Any:
        if NOISE_BLOB not in op.workspace:
            generator = torch.Generator().manual_seed(op.seed)
            drawn = torch.empty(size).normal_(0, deviation, generator=generator)
            op.workspace[NOISE_BLOB] = DeviceBlob.of_tensor(device, drawn)
        return op.workspace[NOISE_BLOB].tensor().reshape(-1)

    def prepare(x: Any, *_: Any) -> Compute:
        is_pixels = isinstance(x, DeviceBlob) and x.dtype == torch.uint8 and x.dim() == 4
        need(is_pixels and mean.numel() == 3 and x.numel() > 0, "the input is not BGRA pixels")
        images, height, width, _ = x.shape
        values = noise()
        cycle = Storage(device, texels_of(values))
        y = DeviceBlob.to_be_written(device, (images, 3, height, width))
        parameters = (height * width, values.numel(), *map(float, mean))
        call = texels_call(device, "stylizer_preprocess", images * height * width, parameters)

        def compute(x: DeviceBlob, *_: Any) -> DeviceBlob:
            call((x.storage, cycle), y.storage)
            return y

        return compute

    return by_shape(prepare)


@kernel("BRGNCHWCToPackedInt8BGRAStylizerDeprocess")
def deprocess(device: Device, op: Operator) -> Compute:
    mean = constant(op, 1).reshape(-1)

    def prepare(x: DeviceBlob, *_: Any) -> Compute:
        need(x.dim() == 4 and x.shape[1] == 3 and mean.numel() == 3, "the input does not have 3 channels")
        y = DeviceBlob.to_be_written(device, (x.shape[0], *x.shape[2:], 4), torch.uint8)
        call = texels_call(device, "stylizer_deprocess", y.numel() // 4, tuple(map(float, mean)))

        def compute(x: DeviceBlob, *_: Any) -> DeviceBlob:
            call((x.storage,), y.storage)
            return y

        return compute

    return per_shape(prepare)
