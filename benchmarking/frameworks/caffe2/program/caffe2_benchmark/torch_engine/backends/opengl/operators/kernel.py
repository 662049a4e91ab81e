"""The common part of the operators. Cases that the device cannot handle are left to the host:
NoKernelError.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional, Sequence

import torch

from ....operators.geometry import is_channels_last
from ....registry import Compute, Operator, by_shape
from ...backend import NoKernelError
from ..blob import DeviceBlob, Extent, extent
from ..context import Call, Device, Number, Storage, as_content

Kernel = Callable[[Device, Operator], Compute]
KERNELS: Dict[str, Kernel] = {}
"""Maps the type of the operator to its function."""

LOCAL_SIZE = 64
"""The number of invocations in a work group, unless another number is better."""
MOST_PIXELS = 2**24
"""The largest number that the shaders divide correctly."""


def kernel(*types: str) -> Callable[[Kernel], Kernel]:
    def register(function: Kernel) -> Kernel:
        KERNELS.update(dict.fromkeys(types, function))
        return function

    return register


def need(condition: bool, message: str) -> None:
    if not condition:
        raise NoKernelError(message)


def need_channels_first(op: Operator) -> None:
    need(not is_channels_last(op.arguments), "only the order NCHW is supported on the device")


def need_to_be_first(op: Operator) -> None:
    """For what leaves a blob where it is: under the name of one that was fed, it would be read by whoever
    writes it in the next run."""
    output = op.outputs[0]
    need(output in op.inputs or output not in op.workspace, "its output exists before the net runs")


def per_shape(prepare: Callable[..., Compute]) -> Compute:
    """As ``by_shape``; all inputs have to be floats."""

    def checked(*blobs: Any) -> Compute:
        for blob in blobs:
            is_float = isinstance(blob, DeviceBlob) and blob.dtype == torch.float32
            need(is_float and blob.numel() > 0, "only non-empty float32 is supported on the device")
        return prepare(*blobs)

    return by_shape(checked)


def constant(op: Operator, index: int) -> Any:
    """The input as a host tensor; it has to be given and constant."""
    found = op.constant(index)
    need(isinstance(found, DeviceBlob), "input %d may change from run to run" % index)
    return found.tensor()


def storage_of(device: Device, array: Any) -> Storage:
    """Of a host tensor whose values lie as the shader reads them."""
    return Storage(device, as_content(array.numpy()))


def output(op: Operator, x: DeviceBlob) -> Optional[DeviceBlob]:
    """What an operator of single values writes; None: each time what it reads."""
    return None if op.overwrites else DeviceBlob.to_be_written(x.device, x.shape)


def run_on_values(call: Call, target: Optional[DeviceBlob], more: Sequence[Storage] = ()) -> Compute:
    """Of the first input; ``target`` as ``output`` gives it, ``more`` as sources behind it."""

    def compute(x: DeviceBlob, *_: Any) -> DeviceBlob:
        result = x if target is None else target
        call((x.storage, *more), result.storage)
        return result

    return compute


def texels_call(
    device: Device, name: str, texels: int, parameters: Sequence[Number], **constants: int
) -> Call:
    return Call.of_texels(device, device.program(name, LOCAL_SIZE, "", **constants), texels, parameters)


def planes_call(
    device: Device,
    name: str,
    size: Extent,
    parameters: Sequence[Number] = (),
    label: str = "",
    **constants: int,
) -> Call:
    """One invocation for each pixel of each plane; ``PLANES`` are the first parameters."""
    need(size.pixels < MOST_PIXELS, "%d pixels are too many for the shaders" % size.pixels)
    planes = size.blocks * size.images
    if size.pixels == 1:
        need(planes < MOST_PIXELS, "%d planes are too many for the shaders" % planes)
        program = device.program(name, LOCAL_SIZE, label, SIDE_BY_SIDE=1, **constants)
        groups = (-(-planes // LOCAL_SIZE), 1, 1)
    else:
        program = device.program(name, LOCAL_SIZE, label, SIDE_BY_SIDE=0, **constants)
        groups = (-(-size.pixels // LOCAL_SIZE), size.blocks, size.images)
    return Call(device, program, groups, (size.pixels, size.blocks, size.images, *parameters))


def lie_alike(one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether the values of both shapes have the same positions, in the order of their numbers."""
    first, second = extent(one), extent(other)
    if torch.Size(one).numel() != torch.Size(other).numel():
        return False
    is_row = [size.pixels == 1 and (size.images == 1 or size.channels % 4 == 0) for size in (first, second)]
    return first == second or all(is_row) or first.channels == second.channels == 1


def as_image(shape: Sequence[int]) -> Sequence[int]:
    """The shape with 4 dimensions, whose values stay in place."""
    need(len(shape) <= 4, "only up to 4 dimensions are moved on the device")
    if len(shape) < 2:
        return (1, torch.Size(shape).numel(), 1, 1)
    return (*shape[:2], *(1,) * (4 - len(shape)), *shape[2:])
