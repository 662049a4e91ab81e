"""SqueezeNet (Iandola et al., 2016), ShuffleNet (Zhang et al., 2017), MobileNetV2 (Sandler et al., 2018)."""

from __future__ import annotations

from itertools import count

from net_builder import Arguments, NetBuilder

LEGACY_POOL: Arguments = {"stride": 2, "pad": 0, "kernel": 3, "order": "NCHW", "legacy_pad": 3}
FIRE_CHANNELS = [(16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256)]
"""Of each fire module: squeezed, and each of the two expanded."""
SHUFFLE_GROUPS = 4
SHUFFLE_STAGES = [(136, 4), (272, 8), (544, 4)]
"""Of each stage: channels and units."""
INVERTED_RESIDUALS = [
    *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
    *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
]
"""Of each group of blocks: expansion, channels, blocks, stride of the first."""


def squeezenet(narrowing: int = 1, classes: int = 1000) -> NetBuilder:
    """Input ``data`` (N, 3, H, W), output ``softmaxout`` (N, classes, 1, 1).

    ``narrowing``: every layer but the last has this many times fewer channels.
    """
    net = NetBuilder("", "data", 3)
    net.relu(net.convolution("data", "conv1", 64 // narrowing, 3, stride=2))
    blob = net.pool("MaxPool", "conv1", "pool1", LEGACY_POOL)
    for number, (squeezed, expanded) in enumerate(FIRE_CHANNELS, start=2):
        fire = f"fire{number}/"
        squeeze = net.relu(net.convolution(blob, fire + "squeeze1x1", squeezed // narrowing, 1))
        branches = [
            net.relu(net.convolution(squeeze, fire + "expand1x1", expanded // narrowing, 1)),
            net.relu(net.convolution(squeeze, fire + "expand3x3", expanded // narrowing, 3, pad=1)),
        ]
        blob = net.concat(branches, fire + "concat")
        if number in (3, 5):
            blob = net.pool("MaxPool", blob, f"pool{number}", LEGACY_POOL)
    net.dropout(blob)
    net.relu(net.convolution(blob, "conv10", classes, 1))
    final: Arguments = {"stride": 1, "pad": 0, "kernel": 0, "order": "NCHW", "legacy_pad": 3}
    net.pool("AveragePool", "conv10", "pool10", {**final, "global_pooling": 1})
    net.finish(net.operator("Softmax", ["pool10"], ["softmaxout"]))
    return net


def shufflenet() -> NetBuilder:
    """Input ``gpu_0/data`` (N, 3, 224, 224), output ``gpu_0/softmax`` (N, 1000)."""
    net = NetBuilder("shufflenet", "data", 3, prefix="gpu_0/", fields_set=True)
    net.convolution_with("data", "conv3_0", 24, {"kernel": 3, "stride": 2, "pad": 1})
    blob = net.relu(_shufflenet_normalization(net, "conv3_0"))
    blob = net.pool("MaxPool", blob, "pool_0", {"kernel": 3, "stride": 2, "pad": 1})
    units = count()
    for stage, (channels, unit_count) in enumerate(SHUFFLE_STAGES, start=1):
        blob = _halving_shuffle_unit(net, blob, channels, next(units), f"pool_{stage}")
        for _ in range(unit_count - 1):
            unit = next(units)
            residual = _shuffle_branch(net, blob, channels, unit, stride=1)
            blob = net.relu(net.add_up([residual, blob], f"block{unit}"))
    net.pool("AveragePool", blob, "final_avg", {"kernel": 7, "stride": 1})
    net.fully_connected("final_avg", "pred", 544, 1000)
    net.finish(net.operator("Softmax", ["pred"], ["softmax"]))
    return net


def _halving_shuffle_unit(net: NetBuilder, source: str, channels: int, unit: int, pool: str) -> str:
    """Beside the branch the source is pooled, and its channels go on as they are."""
    branch = _shuffle_branch(net, source, channels - net.channels(source), unit, stride=2)
    pooled = net.pool("AveragePool", source, pool, {"kernel": 3, "stride": 2, "pad": 1})
    output = f"block{unit}"
    return net.relu(net.concat([branch, pooled], output, sizes=f"_{output}_concat_dims", with_order=False))


def _shuffle_branch(net: NetBuilder, source: str, channels: int, unit: int, stride: int) -> str:
    """1x1 in groups, a shuffle of the channels, 3x3 per channel, 1x1 in groups."""
    pointwise: Arguments = {"kernel": 1, "group": SHUFFLE_GROUPS, "stride": 1, "pad": 0}
    blob = net.convolution_with(source, f"gconv1_{2 * unit}", channels, pointwise, bias=False)
    blob = net.relu(_shufflenet_normalization(net, blob))
    shuffle: Arguments = {"kernel": 1, "group": SHUFFLE_GROUPS}
    blob = net.operator("ChannelShuffle", [blob], [f"shuffle_{unit}"], shuffle, channels=channels)
    depthwise: Arguments = {"kernel": 3, "pad": 1, "group": channels, "stride": stride}
    net.convolution_with(blob, f"gconv3_{unit}", channels, depthwise, bias=False)
    blob = _shufflenet_normalization(net, f"gconv3_{unit}")
    blob = net.convolution_with(blob, f"gconv1_{2 * unit + 1}", channels, pointwise, bias=False)
    return _shufflenet_normalization(net, blob)


def _shufflenet_normalization(net: NetBuilder, source: str) -> str:
    output = f"{source}_bn"
    names = (f"{output}_s", f"{output}_b", f"{output}_rm", f"{output}_riv")
    return net.batch_normalization(source, output, names, {"is_test": 1})


def mobilenet_v2() -> NetBuilder:
    """Input ``data`` (N, 3, 224, 224), output ``softmax`` (N, 1000).

    By the paper, at width 1.0, with ReLU for ReLU6; the zoo's own was not to be had.
    """
    net = NetBuilder("mobilenet_v2", "data", 3)
    blob = net.relu(_normalized_convolution(net, "data", "conv1", 32, 3, stride=2, pad=1))
    blocks = count()
    for expansion, channels, block_count, first_stride in INVERTED_RESIDUALS:
        for number in range(block_count):
            stride = first_stride if number == 0 else 1
            blob = _inverted_residual(net, blob, f"block{next(blocks)}", expansion, channels, stride)
    blob = net.relu(_normalized_convolution(net, blob, "conv_last", 1280, 1))
    net.pool("AveragePool", blob, "final_avg", {"kernel": 7, "stride": 1})
    net.fully_connected("final_avg", "pred", 1280, 1000)
    net.finish(net.operator("Softmax", ["pred"], ["softmax"]))
    return net


def _inverted_residual(
    net: NetBuilder, source: str, block: str, expansion: int, channels: int, stride: int
) -> str:
    """1x1 to more channels, 3x3 per channel, 1x1 to few; the source is added where the shapes agree."""
    narrow = net.channels(source)
    wide = narrow * expansion
    blob = source
    if expansion > 1:
        blob = net.relu(_normalized_convolution(net, blob, f"{block}_expand", wide, 1))
    blob = net.relu(_normalized_convolution(net, blob, f"{block}_dw", wide, 3, stride, pad=1, groups=wide))
    blob = _normalized_convolution(net, blob, f"{block}_project", channels, 1)
    if stride == 1 and channels == narrow:
        blob = net.add_up([blob, source], f"{block}_sum")
    return blob


def _normalized_convolution(
    net: NetBuilder,
    source: str,
    output: str,
    channels: int,
    kernel: int,
    stride: int = 1,
    pad: int = 0,
    groups: int = 1,
) -> str:
    geometry: Arguments = {"kernel": kernel, "stride": stride, "pad": pad, "group": groups, "order": "NCHW"}
    net.convolution_with(source, output, channels, geometry, bias=False)
    names = (f"{output}_bn_s", f"{output}_bn_b", f"{output}_bn_rm", f"{output}_bn_riv")
    arguments: Arguments = {"is_test": 1, "epsilon": 1e-5, "order": "NCHW"}
    return net.batch_normalization(output, f"{output}_bn", names, arguments)
