"""Windows over images: kernel, stride, padding and dilation as Caffe2 reads and rounds them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, List, Sequence, Tuple

import torch

from ..arguments import Arguments
from ..registry import require

NOTSET, VALID, SAME, CAFFE = range(4)
"""Values of ``legacy_pad``."""
_HAS_SHUFFLE = hasattr(torch, "native_channel_shuffle")
"""Older torch has one only that is slower than a copy."""


def is_channels_last(arguments: Arguments) -> bool:
    order = arguments.text("order", "NCHW").upper()
    require(order in ("NCHW", "NHWC"), "the order %r is neither NCHW nor NHWC" % order)
    return order == "NHWC"


@dataclass(frozen=True)
class Window:
    """Of one operator, before the size of its input is known. Empty lists: not given."""

    kernel: Sequence[int]
    stride: Sequence[int]
    dilation: Sequence[int]
    pads: Sequence[int]
    """All heads, then all tails: top, left, bottom, right."""
    legacy_pad: int
    is_global: bool

    @classmethod
    def of(cls, arguments: Arguments) -> Window:
        legacy_pad = arguments.integer("legacy_pad", NOTSET)
        require(NOTSET <= legacy_pad <= CAFFE, "legacy_pad %d is unknown" % legacy_pad)
        pads = _several(arguments, "pad", ("pad_t", "pad_l", "pad_b", "pad_r"))
        require(
            not (pads and legacy_pad in (VALID, SAME)),
            "legacy_pad VALID and SAME allow no other padding",
        )
        window = cls(
            kernel=pair(arguments, "kernel"),
            stride=pair(arguments, "stride"),
            dilation=pair(arguments, "dilation"),
            pads=pads,
            legacy_pad=legacy_pad,
            is_global=arguments.boolean("global_pooling", False),
        )
        require(
            all(one > 0 for one in (*window.stride, *window.dilation)), "stride and dilation must be above 0"
        )
        count = len(window.kernel) or 2
        require(
            all(len(one) in (0, count) for one in (window.stride, window.dilation))
            and len(window.pads) in (0, 2 * count),
            "kernel %s, stride %s, dilation %s and pads %s have different numbers of dimensions"
            % (window.kernel, window.stride, window.dilation, window.pads),
        )
        require(
            not window.is_global
            or (not any(window.pads) and all(one == 1 for one in (*window.stride, *window.dilation))),
            "global_pooling allows no padding, stride or dilation",
        )
        return window

    def fit(self, sizes: Sequence[int]) -> Fit:
        """For an input of the given spatial sizes.

        Raises:
            NetError: the window does not fit.
        """
        count = len(sizes)
        require(count >= 1, "the input has no spatial dimension")
        if self.is_global:
            return Fit(list(sizes), [1] * count, [1] * count, [(0, 0)] * count, [1] * count)
        kernel = list(self.kernel)
        require(
            len(kernel) == count and all(one > 0 for one in kernel),
            "no kernel for %d dimensions is given" % count,
        )
        stride = list(self.stride) or [1] * count
        dilation = list(self.dilation) or [1] * count
        pads = list(self.pads) or [0] * (2 * count)
        require(
            len(stride) == len(dilation) == count and len(pads) == 2 * count,
            "stride, dilation and pads do not have %d dimensions" % count,
        )
        sides, outputs = [], []
        for axis in range(count):
            head, tail, output = _pad_and_output(
                sizes[axis],
                kernel[axis],
                stride[axis],
                dilation[axis],
                pads[axis],
                pads[axis + count],
                self.legacy_pad,
            )
            require(output > 0, "the kernel %s is larger than the padded input %s" % (kernel, list(sizes)))
            sides.append((head, tail))
            outputs.append(output)
        return Fit(kernel, stride, dilation, sides, outputs)


@dataclass(frozen=True)
class Fit:
    """A window on an input of known size."""

    kernel: List[int]
    stride: List[int]
    dilation: List[int]
    sides: List[Tuple[int, int]]
    """Padding at head and tail, per spatial dimension; what is negative cuts off."""
    output: List[int]

    @property
    def is_symmetric(self) -> bool:
        return all(head == tail >= 0 for head, tail in self.sides)

    @property
    def heads(self) -> List[int]:
        return [head for head, _ in self.sides]

    @property
    def torch_padding(self) -> List[int]:
        """As torch.nn.functional.pad wants it: the last dimension first."""
        return [one for side in reversed(self.sides) for one in side]


def pair(arguments: Arguments, name: str) -> List[int]:
    """One number for each spatial dimension; empty: not given."""
    return _several(arguments, name, (name + "_h", name + "_w"))


def _several(arguments: Arguments, name: str, single_names: Sequence[str]) -> List[int]:
    """``names``, filled up with ``name`` to as many as there are single ones, or with these behind it.

    So Caffe2 reads nets that have several of these arguments.
    """
    values = arguments.integers(name + "s") or []
    count = len(single_names)
    if arguments.has(name):
        return values[:count] + [arguments.integer(name, 0)] * (count - len(values))
    if arguments.has(*single_names):
        return values + [arguments.integer(one, 0) for one in single_names]
    return values


def _pad_and_output(
    size: int, kernel: int, stride: int, dilation: int, head: int, tail: int, legacy_pad: int
) -> Tuple[int, int, int]:
    require(legacy_pad == NOTSET or dilation == 1, "legacy_pad allows no dilation")
    extent = dilation * (kernel - 1) + 1
    if legacy_pad == VALID:
        head = tail = 0
    elif legacy_pad == SAME:
        needed = (-(-size // stride) - 1) * stride + kernel - size
        head = int(needed / 2)
        tail = needed - head
    elif legacy_pad == CAFFE:
        output = math.ceil((size + 2 * head - kernel) / stride + 1)
        if head > 0 and (output - 1) * stride >= size + head:
            output -= 1
        require(head >= 0, "padding cannot be negative with legacy_pad CAFFE")
        require(
            output >= (size + 2 * head - kernel) // stride + 1,
            "the padding is too large for legacy_pad CAFFE",
        )
        return head, (output - 1) * stride + kernel - size - head, output
    return head, tail, (size + head + tail - extent) // stride + 1


def spatial_sizes(x: Any, channels_last: bool) -> Sequence[int]:
    sizes: Sequence[int] = tuple(x.shape[1:-1] if channels_last else x.shape[2:])
    return sizes


def to_channels_first(x: Any) -> Any:
    return x.movedim(-1, 1)


def to_channels_last(x: Any) -> Any:
    return x.movedim(1, -1).contiguous()


def with_channels_innermost(x: Any) -> Any:
    """The same (N, C, H, W) with the channels of a pixel next to each other in memory, as oneDNN likes it."""
    if x.is_contiguous(memory_format=torch.channels_last):
        return x
    if not (_HAS_SHUFFLE and x.is_contiguous() and x.dtype == torch.float32 and x.device.type == "cpu"):
        return x.contiguous(memory_format=torch.channels_last)
    # An image is C groups of H * W numbers, which become H * W groups of C. torch shuffles groups of channels
    # in half to a third of the time that it takes to copy from one layout to the other.
    count, channels, height, width = x.shape
    values = channels * height * width
    one_pixel = x.as_strided((count, values, 1, 1), (values, 1, values, values))
    shuffled = torch.native_channel_shuffle(one_pixel, channels)
    return shuffled.view(count, height, width, channels).permute(0, 3, 1, 2)
