"""Simonyan & Zisserman (2014)."""

from __future__ import annotations

from net_builder import NetBuilder


def vgg19() -> NetBuilder:
    """Input ``data`` (N, 3, 224, 224), output ``prob`` (N, 1000)."""
    return _vgg("vgg19", [(64, 2), (128, 2), (256, 4), (512, 4), (512, 4)])


def vgg16_true() -> NetBuilder:
    """Input ``data`` (N, 3, 224, 224), output ``prob`` (N, 1000). The zoo's ``vgg16`` is another net."""
    return _vgg("vgg16_true", [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)])


def _vgg(name: str, stages: list[tuple[int, int]]) -> NetBuilder:
    """``stages``: of each, the channels and the number of convolutions."""
    net = NetBuilder(name, "data", 3, fields_set=True)
    blob = "data"
    for stage, (channels, convolutions) in enumerate(stages, start=1):
        for number in range(1, convolutions + 1):
            blob = net.relu(net.convolution(blob, f"conv{stage}_{number}", channels, 3, pad=1))
        blob = net.pool("MaxPool", blob, f"pool{stage}", {"stride": 2, "pad": 0, "kernel": 2})
    for source, output, inputs in (("pool5", "fc6", 512 * 7 * 7), ("fc6", "fc7", 4096)):
        net.dropout(net.relu(net.fully_connected(source, output, inputs, 4096)))
    net.fully_connected("fc7", "fc8", 4096, 1000)
    net.finish(net.operator("Softmax", ["fc8"], ["prob"]), data_first=False)
    return net
