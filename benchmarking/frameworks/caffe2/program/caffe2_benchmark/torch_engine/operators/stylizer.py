"""Before and after a style transfer net: packed pixels to planes and back.

The four bytes of a pixel are read and written as one number, which is much faster than every fourth byte; the
steps between are done plane by plane, because one plane fits into a cache.
"""

from __future__ import annotations

from typing import Any, Dict, Tuple

import torch

from ..registry import Compute, Operator, operator, require

NOISE_BLOB = "__CAFFE2_STYLIZER_NOISE__"


@operator("PackedInt8BGRANHWCToNCHWCStylizerPreprocess", inputs=(2, 2))
def preprocess(op: Operator) -> Compute:
    """pixel - mean[c] + noise[k]: k cycles over the noise, pixel by pixel, B, G, R, from 0 in each image.

    The noise is the blob ``__CAFFE2_STYLIZER_NOISE__``; if there is none, it is drawn (normal, seeded). Real
    Caffe2 has another generator, so outputs agree only with the same blob.
    """
    deviation = op.arguments.number("noise_std", 10.0)
    size = op.arguments.integer("noise_size", 491)
    by_shape: Dict[Tuple[int, int], Any] = {}

    def noise_image(height: int, width: int) -> Any:
        if (height, width) not in by_shape:
            if NOISE_BLOB not in op.workspace:
                generator = torch.Generator().manual_seed(op.seed)
                op.workspace[NOISE_BLOB] = torch.empty(size).normal_(0, deviation, generator=generator)
            noise = op.workspace[NOISE_BLOB].reshape(-1)
            count = height * width * 3
            repeated = noise.repeat(-(-count // noise.numel()))[:count]
            by_shape[height, width] = repeated.reshape(height, width, 3).permute(2, 0, 1).contiguous()
        return by_shape[height, width]

    def compute(x: Any, mean: Any) -> Any:
        require(
            x.dtype == torch.uint8 and x.dim() == 4 and x.shape[3] == 4, "the input is not uint8 BGRA pixels"
        )
        require(mean.numel() == 3, "the mean does not have 3 values")
        pixels = x.contiguous().view(torch.int32).squeeze(-1)
        planes = torch.empty((x.shape[0], 3, x.shape[1], x.shape[2]))
        noise = noise_image(x.shape[1], x.shape[2])
        for channel, average in enumerate(mean.reshape(3)):
            plane = planes[:, channel]
            torch.sub((pixels >> 8 * channel).bitwise_and_(255), average, out=plane)
            plane.add_(noise[channel])
        return planes

    return compute


@operator("BRGNCHWCToPackedInt8BGRAStylizerDeprocess", inputs=(2, 2))
def deprocess(op: Operator) -> Compute:
    """Adds the mean, clamps to 0 ... 255, truncates; alpha is 255."""

    def compute(x: Any, mean: Any) -> Any:
        require(x.dim() == 4 and x.shape[1] == 3 and mean.numel() == 3, "the input does not have 3 channels")
        pixels = torch.full((x.shape[0], *x.shape[2:]), -1 << 24, dtype=torch.int32)
        for channel, average in enumerate(mean.reshape(3)):
            plane = (x[:, channel] + average).clamp_(0, 255).to(torch.int32)
            pixels.add_(plane, alpha=1 << 8 * channel)
        return pixels.contiguous().unsqueeze(-1).view(torch.uint8)

    return compute
