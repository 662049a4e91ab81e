"""The predict nets of Caffe2's model zoo, as far as they are needed here."""

from __future__ import annotations

from net_builder import NetBuilder, Value

LEGACY_POOL: dict[str, Value] = {"stride": 2, "pad": 0, "kernel": 3, "order": "NCHW", "legacy_pad": 3}
FIRE_CHANNELS = [(16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256)]
"""Of each fire module: squeezed, and each of the two expanded."""


def lenet() -> NetBuilder:
    """Input ``data`` (N, 1, 28, 28), output ``softmax`` (N, 10)."""
    net = NetBuilder("LeNet", "data", 1)
    pool: dict[str, Value] = {"kernel": 2, "stride": 2}
    net.convolution("data", "conv1", 20, 5)
    net.pool("MaxPool", "conv1", "pool1", pool)
    net.convolution("pool1", "conv2", 50, 5)
    net.pool("MaxPool", "conv2", "pool2", pool)
    net.fully_connected("pool2", "fc3", 800, 500)
    net.relu("fc3")
    net.fully_connected("fc3", "pred", 500, 10)
    net.finish(net.operator("Softmax", ["pred"], ["softmax"]))
    return net


def squeezenet() -> NetBuilder:
    """Input ``data`` (N, 3, H, W), output ``softmaxout`` (N, 1000, 1, 1). Byte for byte the zoo's file."""
    net = NetBuilder("", "data", 3)
    net.relu(net.convolution("data", "conv1", 64, 3, stride=2))
    blob = net.pool("MaxPool", "conv1", "pool1", LEGACY_POOL)
    for number, (squeezed, expanded) in enumerate(FIRE_CHANNELS, start=2):
        fire = f"fire{number}/"
        squeeze = net.relu(net.convolution(blob, fire + "squeeze1x1", squeezed, 1))
        branches = [
            net.relu(net.convolution(squeeze, fire + "expand1x1", expanded, 1)),
            net.relu(net.convolution(squeeze, fire + "expand3x3", expanded, 3, pad=1)),
        ]
        blob = net.concat(branches, fire + "concat")
        if number in (3, 5):
            blob = net.pool("MaxPool", blob, f"pool{number}", LEGACY_POOL)
    net.dropout(blob)
    net.relu(net.convolution(blob, "conv10", 1000, 1))
    final: dict[str, Value] = {"stride": 1, "pad": 0, "kernel": 0, "order": "NCHW", "legacy_pad": 3}
    net.pool("AveragePool", "conv10", "pool10", {**final, "global_pooling": 1})
    net.finish(net.operator("Softmax", ["pool10"], ["softmaxout"]))
    return net
