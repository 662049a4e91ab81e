"""Pooling."""

from __future__ import annotations

from typing import Any

from ....operators.pooling import fitter
from ....registry import Compute, Operator
from ..blob import DeviceBlob
from ..context import Device
from .kernel import kernel, need, need_channels_first, per_shape, planes_call


@kernel("MaxPool", "MaxPool2D", "AveragePool", "AveragePool2D")
def pool(device: Device, op: Operator) -> Compute:
    need_channels_first(op)
    is_maximum = op.type.startswith("Max")
    counts_padding = op.arguments.boolean("count_include_pad", False)
    fit_to = fitter(op)

    def prepare(x: DeviceBlob) -> Compute:
        need(x.dim() == 4, "only images are pooled on the device")
        fit = fit_to(x.shape[2:])
        y = DeviceBlob.to_be_written(device, (*x.shape[:2], *fit.output))
        parameters = (
            *(*x.shape[2:], fit.output[1]),
            *(*fit.stride, *fit.heads, *fit.dilation, *fit.kernel),
        )
        label = "max_pooling" if is_maximum else "average_pooling"
        constants = {"IS_MAXIMUM": int(is_maximum), "COUNTS_PADDING": int(counts_padding)}
        call = planes_call(device, "pooling", y.extent, parameters, label, **constants)

        def compute(x: Any) -> DeviceBlob:
            call((x.storage,), y.storage)
            return y

        return compute

    return per_shape(prepare)
