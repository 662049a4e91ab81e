"""LeCun et al. (1998), as in Caffe's tutorial."""

from __future__ import annotations

from net_builder import Arguments, NetBuilder


def lenet() -> NetBuilder:
    """Input ``data`` (N, 1, 28, 28), output ``softmax`` (N, 10)."""
    net = NetBuilder("LeNet", "data", 1)
    pool: Arguments = {"kernel": 2, "stride": 2}
    net.convolution("data", "conv1", 20, 5)
    net.pool("MaxPool", "conv1", "pool1", pool)
    net.convolution("pool1", "conv2", 50, 5)
    net.pool("MaxPool", "conv2", "pool2", pool)
    net.fully_connected("pool2", "fc3", 800, 500)
    net.relu("fc3")
    net.fully_connected("fc3", "pred", 500, 10)
    net.finish(net.operator("Softmax", ["pred"], ["softmax"]))
    return net
