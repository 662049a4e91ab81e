"""A Caffe2 net as a PyTorch module, with the weights that its init net makes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from benchmarking.frameworks.caffe2.program.caffe2_benchmark import net_file  # noqa: E402
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine.engine import TorchNet  # noqa: E402
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine.plan import as_written  # noqa: E402

CHANNELS = 1
"""The dimension, in NCHW."""


class Caffe2Module(nn.Module):
    """Of nets that classify images: one input, one output, and the operators that ``_step`` knows."""

    def __init__(self, init_net: Path, predict_net: Path) -> None:
        super().__init__()
        net = net_file.read(str(predict_net), "predict_net")
        self.input, *parameters = net.external_input
        (self.output,) = net.external_output
        blobs: dict[str, Any] = {}
        TorchNet(as_written(net_file.read(str(init_net), "init_net")), blobs, 0).run()
        weights = {name: blobs[name] for name in parameters}
        self._steps = [_step(operator, weights) for operator in net.op]
        self._layers = nn.ModuleList(step[2] for step in self._steps)

    def forward(self, image: Tensor) -> Tensor:
        blobs = {self.input: image}
        for (inputs, output, _), layer in zip(self._steps, self._layers, strict=True):
            blobs[output] = layer(*(blobs[name] for name in inputs))
        return blobs[self.output]


class _Function(nn.Module):
    def __init__(self, compute: Any) -> None:
        super().__init__()
        self._compute = compute

    def forward(self, *inputs: Tensor) -> Tensor:
        result: Tensor = self._compute(*inputs)
        return result


def _step(operator: Any, weights: dict[str, Tensor]) -> tuple[list[str], str, nn.Module]:
    """The blobs that an operator reads, the blob that it writes, and the layer between them."""
    arguments = {one.name: one for one in operator.arg}

    def integer(name: str, usual: int) -> int:
        return int(arguments[name].i) if name in arguments else usual

    given = [weights[name] for name in operator.input if name in weights]
    blobs = [name for name in operator.input if name not in weights]
    window = {
        "kernel_size": integer("kernel", 1),
        "stride": integer("stride", 1),
        "padding": integer("pad", 0),
    }
    layer: nn.Module
    if operator.type == "Conv":
        groups = integer("group", 1)
        weight = given[0]
        layer = nn.Conv2d(
            weight.shape[1] * groups, weight.shape[0], groups=groups, bias=len(given) > 1, **window
        )
        _fill(layer, given)
    elif operator.type == "FC":
        layer = nn.Sequential(nn.Flatten(), nn.Linear(given[0].shape[1], given[0].shape[0]))
        _fill(layer[1], given)
    elif operator.type == "SpatialBN":
        layer = nn.BatchNorm2d(len(given[0]), eps=arguments["epsilon"].f)
        _fill(layer, given[:2])
        layer.running_mean, layer.running_var = given[2:]
    elif operator.type == "MaxPool":
        layer = nn.MaxPool2d(**window)
    elif operator.type == "AveragePool":
        layer = nn.AdaptiveAvgPool2d(1) if integer("global_pooling", 0) else nn.AvgPool2d(**window)
    elif operator.type == "Softmax":
        layer = _Function(lambda values: functional.softmax(values.flatten(1), dim=1))
    else:
        layer = _Function(_FUNCTIONS[operator.type])
    return blobs, operator.output[0], layer


_FUNCTIONS = {
    "Relu": functional.relu,
    "Sum": lambda left, right: left + right,
    "Concat": lambda *parts: torch.cat(parts, dim=CHANNELS),
    "Dropout": lambda values: values,  # it does nothing after training
}


def _fill(layer: nn.Module, values: list[Tensor]) -> None:
    names = ("weight", "bias")
    for name, value in zip(names, values, strict=False):
        setattr(layer, name, nn.Parameter(value.clone(), requires_grad=False))
