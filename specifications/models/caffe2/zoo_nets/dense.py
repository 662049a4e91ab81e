"""Huang et al. (2016)."""

from __future__ import annotations

from net_builder import NetBuilder

BLOCKS = {2: 6, 3: 12, 4: 24, 5: 16}
"""Layers of each dense block, by the number of its stage."""
GROWTH = 32
"""Channels that a layer adds."""


def densenet121() -> NetBuilder:
    """Input ``data`` (N, 3, H, W), output ``fc6`` (N, 1000, 1, 1): the score of each class."""
    net = NetBuilder("densenet121", "data", 3, fields_set=True)
    net.convolution("data", "conv1", 64, 7, stride=2, pad=3, bias=False)
    blob = _normalized_relu(net, "conv1", "conv1")
    blob = net.pool("MaxPool", blob, "pool1", {"stride": 2, "pad": 1, "kernel": 3})
    for stage, layers in BLOCKS.items():
        for number in range(1, layers + 1):
            added = _layer(net, blob, f"conv{stage}_{number}")
            blob = net.concat([blob, added], f"concat_{stage}_{number}", with_order=False)
        end = f"conv{stage}_blk"
        normalized = _normalized_relu(net, blob, end)
        if stage < max(BLOCKS):
            halved = net.convolution(normalized, end, net.channels(blob) // 2, 1, bias=False)
            blob = net.pool("AveragePool", halved, f"pool{stage}", {"stride": 2, "pad": 0, "kernel": 2})
        else:
            everywhere = {"stride": 1, "pad": 0, "kernel": 0, "global_pooling": 1}
            blob = net.pool("AveragePool", normalized, f"pool{stage}", everywhere)
    net.finish(net.convolution(blob, "fc6", 1000, 1), data_first=False)
    return net


def _layer(net: NetBuilder, source: str, layer: str) -> str:
    narrow = net.convolution(
        _normalized_relu(net, source, f"{layer}/x1"), f"{layer}/x1", 4 * GROWTH, 1, bias=False
    )
    normalized = _normalized_relu(net, narrow, f"{layer}/x2")
    return net.convolution(normalized, f"{layer}/x2", GROWTH, 3, pad=1, bias=False)


def _normalized_relu(net: NetBuilder, source: str, name: str) -> str:
    output = f"{name}/bn"
    names = (f"{output}_scale", f"{output}_bias", f"{output}_mean", f"{output}_var")
    net.batch_normalization(source, output, names, {"is_test": 1, "epsilon": 1e-5})
    return net.relu(net.scale_and_shift(output, f"{output}_internal", output, (f"{output}_w", f"{output}_b")))
