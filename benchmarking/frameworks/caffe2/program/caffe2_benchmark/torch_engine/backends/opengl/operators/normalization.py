"""Normalization."""

from __future__ import annotations

from typing import Any

from ....operators.normalization import factor_and_offset
from ....registry import Compute, Operator
from ..blob import DeviceBlob
from ..context import Device, Storage
from .elementwise import affine, numbers_of, per_channel_numbers
from .kernel import constant, kernel, need, need_channels_first, output, per_shape, planes_call, texels_call

CHUNK_COUNT = 64
"""Parts of a plane that are summed separately: this is faster and more precise."""


@kernel("SpatialBN")
def spatial_batch_normalization(device: Device, op: Operator) -> Compute:
    need_channels_first(op)
    need(op.arguments.boolean("is_test", False), "this program does not train")
    parameters = [constant(op, index) for index in range(1, 5)]
    epsilon = op.arguments.number("epsilon", 1e-5)

    def prepare(x: DeviceBlob, *_: Any) -> Compute:
        need(x.dim() > 1 and per_channel_numbers(parameters, x.shape[1]), "the parameters do not fit")
        return affine(device, op, x, *factor_and_offset(parameters, epsilon))

    return per_shape(prepare)


@kernel("AffineChannel")
def affine_channel(device: Device, op: Operator) -> Compute:
    need_channels_first(op)
    parameters = [constant(op, index) for index in (1, 2)]

    def prepare(x: DeviceBlob, *_: Any) -> Compute:
        need(x.dim() > 1 and per_channel_numbers(parameters, x.shape[1]), "the parameters do not fit")
        return affine(device, op, x, *parameters)

    return per_shape(prepare)


@kernel("LRN")
def local_response_normalization(device: Device, op: Operator) -> Compute:
    need_channels_first(op)
    size = op.arguments.integer("size", 0)
    alpha = op.arguments.number("alpha", 0.0)
    beta = op.arguments.number("beta", 0.0)
    bias = op.arguments.number("bias", 1.0)
    need(size > 0, "size must be above 0")
    before = (size - 1) // 2
    has_scale = op.output_count > 1

    def prepare(x: DeviceBlob) -> Compute:
        need(x.dim() > 1, "there are no channels")
        parameters = (x.extent.channels, before, size - 1 - before, alpha / size, bias, beta)
        name = "response_normalization"
        call = planes_call(device, name, x.extent, parameters, HAS_SCALE=int(has_scale))
        targets = [DeviceBlob.to_be_written(device, x.shape) for _ in range(1 + has_scale)]
        storages = [target.storage for target in targets]

        def compute(x: DeviceBlob) -> Any:
            call((x.storage,), *storages)
            return tuple(targets) if has_scale else targets[0]

        return compute

    return per_shape(prepare)


@kernel("InstanceNorm")
def instance_normalization(device: Device, op: Operator) -> Compute:
    """First the means, then the squares of the deviations: as precise as possible in single precision."""
    need_channels_first(op)
    epsilon = op.arguments.number("epsilon", 1e-5)
    parameters = [constant(op, index) for index in (1, 2)]

    def prepare(x: DeviceBlob, *_: Any) -> Compute:
        need(x.dim() > 2 and per_channel_numbers(parameters, x.shape[1]), "the parameters do not fit")
        images, channels, pixels = extent = x.extent
        planes = images * extent.blocks
        sums = Storage.of_zeros(device, planes * CHUNK_COUNT)
        mean, inverse = [DeviceBlob.to_be_written(device, (images, channels)) for _ in range(2)]
        numbers = numbers_of(device, *parameters)
        constants = {"CHUNK_COUNT": CHUNK_COUNT}
        add, add_squares = (
            texels_call(device, "moments", planes * CHUNK_COUNT, (pixels,), CENTRED=centred, **constants)
            for centred in (0, 1)
        )
        sizes = (pixels, extent.blocks, channels, epsilon)
        to_mean, to_inverse = (
            texels_call(device, "combine_moments", planes, sizes, INVERSE_DEVIATION=inverted, **constants)
            for inverted in (0, 1)
        )
        normalize = planes_call(device, "instance_normalization", extent)
        target = output(op, x)

        def compute(x: DeviceBlob, *_: Any) -> Any:
            add((x.storage,), sums)
            to_mean((sums,), mean.storage)
            add_squares((x.storage, mean.storage), sums)
            to_inverse((sums,), inverse.storage)
            y = x if target is None else target
            normalize((x.storage, mean.storage, inverse.storage, numbers), y.storage)
            return y if op.output_count == 1 else (y, mean, inverse)[: op.output_count]

        return compute

    return per_shape(prepare)
