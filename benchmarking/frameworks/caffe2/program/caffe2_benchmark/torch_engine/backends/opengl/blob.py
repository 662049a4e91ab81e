"""Blobs on the device.

A float blob of any shape is treated as (images, channels, pixels): its first dimension, its second, and all
others. Four channels of a pixel form a texel; the channels that fill up the last texel are zero: texel =
(image * blocks + channel / 4) * pixels + pixel.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Optional, Sequence

import numpy as np
import torch

from .context import R32UI, RGBA32F, Device, Storage

BLOCK = 4
"""Channels in a texel."""


class Extent(NamedTuple):
    images: int
    channels: int
    pixels: int

    @property
    def blocks(self) -> int:
        return -(-self.channels // BLOCK)

    @property
    def texels(self) -> int:
        return self.images * self.blocks * self.pixels


def extent(shape: Sequence[int]) -> Extent:
    size = torch.Size(shape)
    if len(size) < 2:
        return Extent(1, size.numel(), 1)
    return Extent(size[0], size[1], size[2:].numel())


class DeviceBlob:
    """It is copied to the device when it is first needed there: weights, which are packed, never are."""

    def __init__(self, device: Device, shape: Sequence[int], dtype: Any = torch.float32) -> None:
        self.device = device
        self.shape = torch.Size(shape)
        self.dtype = dtype
        self.extent = extent(shape)
        self._tensor: Optional[Any] = None
        self._storage: Optional[Storage] = None

    @classmethod
    def of_tensor(cls, device: Device, tensor: Any) -> DeviceBlob:
        """Float32, or uint8 with four values in the last dimension."""
        blob = cls(device, tensor.shape, tensor.dtype)
        blob._tensor = tensor
        return blob

    @classmethod
    def to_be_written(cls, device: Device, shape: Sequence[int], dtype: Any = torch.float32) -> DeviceBlob:
        """A blob for the output of a shader.

        Raises:
            NoKernelError: it is too large for a buffer.
        """
        blob = cls(device, shape, dtype)
        if dtype == torch.uint8:
            blob._storage = Storage.of_zeros(device, blob.shape.numel() // BLOCK, R32UI)
        else:
            blob._storage = Storage.of_zeros(device, blob.extent.texels)
        return blob

    def reshaped(self, shape: Sequence[int]) -> DeviceBlob:
        """The same values in the same place; only if both shapes have the same layout."""
        blob = DeviceBlob(self.device, shape, self.dtype)
        blob._storage = self.storage
        return blob

    @property
    def storage(self) -> Storage:
        if self._storage is None:
            tensor: Any = self._tensor
            is_pixels = self.dtype == torch.uint8
            content = tensor.contiguous().numpy().tobytes() if is_pixels else texels_of(tensor)
            self._storage = Storage(self.device, content, R32UI if is_pixels else RGBA32F)
            self._tensor = None
        return self._storage

    def tensor(self) -> Any:
        """As a host tensor."""
        if self._tensor is not None:
            return self._tensor
        content = self.storage.read()
        if self.dtype == torch.uint8:
            return torch.from_numpy(np.frombuffer(content, np.uint8).reshape(self.shape).copy())
        images, channels, pixels = self.extent
        texels = torch.from_numpy(np.frombuffer(content, np.float32).copy())
        parts = texels.reshape(images, self.extent.blocks, pixels, BLOCK).permute(0, 1, 3, 2)
        values = parts.reshape(images, self.extent.blocks * BLOCK, pixels)[:, :channels]
        return values.reshape(self.shape).contiguous()

    def clone(self) -> DeviceBlob:
        return DeviceBlob.of_tensor(self.device, self.tensor().clone())

    def dim(self) -> int:
        return len(self.shape)

    def numel(self) -> int:
        return self.shape.numel()

    def element_size(self) -> int:
        return 1 if self.dtype == torch.uint8 else 4


def texels_of(tensor: Any) -> bytes:
    images, channels, pixels = size = extent(tensor.shape)
    values = torch.zeros((images, size.blocks * BLOCK, pixels))
    values[:, :channels] = tensor.reshape(images, channels, pixels)
    texels = values.reshape(images, size.blocks, BLOCK, pixels).permute(0, 1, 3, 2)
    content: bytes = texels.contiguous().numpy().tobytes()
    return content
