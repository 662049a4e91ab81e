"""GoogLeNet (Szegedy et al., 2014) and its successor with batch normalization (Ioffe & Szegedy, 2015)."""

from __future__ import annotations

from typing import NamedTuple

from net_builder import Arguments, NetBuilder


class Module(NamedTuple):
    """Channels of the four branches of an inception module."""

    direct: int
    reduced_3x3: int
    output_3x3: int
    reduced_5x5: int
    output_5x5: int
    pooled: int


MODULES = {
    "3a": Module(64, 96, 128, 16, 32, 32),
    "3b": Module(128, 128, 192, 32, 96, 64),
    "4a": Module(192, 96, 208, 16, 48, 64),
    "4b": Module(160, 112, 224, 24, 64, 64),
    "4c": Module(128, 128, 256, 24, 64, 64),
    "4d": Module(112, 144, 288, 32, 64, 64),
    "4e": Module(256, 160, 320, 32, 128, 128),
    "5a": Module(256, 160, 320, 32, 128, 128),
    "5b": Module(384, 192, 384, 48, 128, 128),
}
FOLLOWED_BY_POOL = {"3b": "pool3/3x3_s2", "4e": "pool4/3x3_s2"}


def bvlc_googlenet() -> NetBuilder:
    """Input ``data`` (N, 3, 224, 224), output ``prob`` (N, 1000)."""
    net = NetBuilder("GoogleNet", "data", 3)
    blob = _googlenet_body(net, {"legacy_pad": 3})
    final: Arguments = {"stride": 1, "pad": 0, "kernel": 7, "order": "NCHW", "legacy_pad": 3}
    net.dropout(net.pool("AveragePool", blob, "pool5/7x7_s1", final), 0.4)
    net.fully_connected("pool5/7x7_s1", "loss3/classifier", 1024, 1000)
    net.finish(net.operator("Softmax", ["loss3/classifier"], ["prob"]))
    return net


def inception_v1() -> NetBuilder:
    """Input ``data`` (N, 3, 224, 224), output ``prob`` (N, 1000): GoogLeNet trained by others."""
    net = NetBuilder("inception_v1", "data", 3, fields_set=True)
    blob = _googlenet_body(net, {})
    padding: Arguments = {"pad_l": 0, "pad_t": 0, "pad_r": 1, "pad_b": 1}
    final: Arguments = {"stride": 1, **padding, "kernel": 7, "order": "NCHW"}
    net.dropout(net.pool("AveragePool", blob, "pool5/7x7_s1", final), 0.4)
    weight = net.parameter("loss3/classifier_w", (1, 1, 1000, 1024))
    bias = net.parameter("loss3/classifier_b", (1000,))
    net.operator("FC", ["pool5/7x7_s1", weight, bias], ["loss3/classifier"], {"axis_w": 3})
    net.finish(net.operator("Softmax", ["loss3/classifier"], ["prob"]), data_first=False)
    return net


def _googlenet_body(net: NetBuilder, padding: Arguments) -> str:
    """The last module's output (N, 1024, 7, 7). ``padding``: further arguments of the pools."""

    def convolution(
        source: str, output: str, channels: int, kernel: int, stride: int = 1, pad: int = 0
    ) -> str:
        return net.relu(net.convolution(source, output, channels, kernel, stride, pad))

    def pool(source: str, output: str, stride: int, pad: int) -> str:
        geometry: Arguments = {"stride": stride, "pad": pad, "kernel": 3, "order": "NCHW", **padding}
        return net.pool("MaxPool", source, output, geometry)

    def module(source: str, name: str, channels: Module) -> str:
        direct = convolution(source, f"{name}1x1", channels.direct, 1)
        reduced = convolution(source, f"{name}3x3_reduce", channels.reduced_3x3, 1)
        medium = convolution(reduced, f"{name}3x3", channels.output_3x3, 3, pad=1)
        reduced = convolution(source, f"{name}5x5_reduce", channels.reduced_5x5, 1)
        wide = convolution(reduced, f"{name}5x5", channels.output_5x5, 5, pad=2)
        pooled = convolution(pool(source, f"{name}pool", 1, 1), f"{name}pool_proj", channels.pooled, 1)
        return net.concat([direct, medium, wide, pooled], f"{name}output")

    blob = convolution("data", "conv1/7x7_s2", 64, 7, stride=2, pad=3)
    blob = net.local_response_normalization(pool(blob, "pool1/3x3_s2", 2, 0), "pool1/norm1")
    blob = convolution(blob, "conv2/3x3_reduce", 64, 1)
    blob = convolution(blob, "conv2/3x3", 192, 3, pad=1)
    blob = pool(net.local_response_normalization(blob, "conv2/norm2"), "pool2/3x3_s2", 2, 0)
    for number, channels in MODULES.items():
        blob = module(blob, f"inception_{number}/", channels)
        if number in FOLLOWED_BY_POOL:
            blob = pool(blob, FOLLOWED_BY_POOL[number], 2, 0)
    return blob


class NormalizedModule(NamedTuple):
    """Channels of the branches of a module whose 5x5 convolution has become two of 3x3."""

    direct: int
    reduced_3x3: int
    output_3x3: int
    reduced_double: int
    output_double: int
    pooled: int
    pool: str = "AveragePool"


NORMALIZED_MODULES = {
    "3a": NormalizedModule(64, 64, 64, 64, 96, 32),
    "3b": NormalizedModule(64, 64, 96, 64, 96, 64),
    "3c": NormalizedModule(0, 128, 160, 64, 96, 0),
    "4a": NormalizedModule(224, 64, 96, 96, 128, 128),
    "4b": NormalizedModule(192, 96, 128, 96, 128, 128),
    "4c": NormalizedModule(160, 128, 160, 128, 160, 128),
    "4d": NormalizedModule(96, 128, 192, 160, 192, 128),
    "4e": NormalizedModule(0, 128, 192, 192, 256, 0),
    "5a": NormalizedModule(352, 192, 320, 160, 224, 128),
    "5b": NormalizedModule(352, 192, 320, 192, 224, 128, "MaxPool"),
}
"""Those without direct channels halve the image."""


def inception_v2() -> NetBuilder:
    """Input ``data`` (N, 3, 224, 224), output ``prob`` (N, 1000)."""
    net = NetBuilder("inception_v2", "data", 3)
    blob = _normalized_convolution(net, "data", "conv1/7x7_s2", 64, 7, stride=2, pad=3)
    blob = _halving_pool(net, blob, "pool1/3x3_s2")
    blob = _normalized_convolution(net, blob, "conv2/3x3_reduce", 64, 1)
    blob = _normalized_convolution(net, blob, "conv2/3x3", 192, 3, pad=1)
    blob = _halving_pool(net, blob, "pool2/3x3_s2")
    for number, channels in NORMALIZED_MODULES.items():
        blob = _normalized_module(net, blob, f"inception_{number}/", channels)
    net.pool("AveragePool", blob, "pool5/7x7_s1", {"stride": 1, "pad": 0, "kernel": 7, "order": "NCHW"})
    net.fully_connected("pool5/7x7_s1", "loss3/classifier", 1024, 1000)
    net.finish(net.operator("Softmax", ["loss3/classifier"], ["prob"]))
    return net


def _normalized_module(net: NetBuilder, source: str, name: str, channels: NormalizedModule) -> str:
    halves = channels.direct == 0
    stride = 2 if halves else 1
    branches = []
    if not halves:
        branches.append(_normalized_convolution(net, source, f"{name}1x1", channels.direct, 1))
    blob = _normalized_convolution(net, source, f"{name}3x3_reduce", channels.reduced_3x3, 1)
    branches.append(_normalized_convolution(net, blob, f"{name}3x3", channels.output_3x3, 3, stride, pad=1))
    double = f"{name}double3x3"
    blob = _normalized_convolution(net, source, f"{double}_reduce", channels.reduced_double, 1)
    blob = _normalized_convolution(net, blob, f"{double}a", channels.output_double, 3, pad=1)
    branches.append(
        _normalized_convolution(net, blob, f"{double}b", channels.output_double, 3, stride, pad=1)
    )
    if halves:
        branches.append(_halving_pool(net, source, f"{name}pool"))
    else:
        geometry: Arguments = {"stride": 1, "pad": 1, "kernel": 3, "order": "NCHW"}
        blob = net.pool(channels.pool, source, f"{name}pool", geometry)
        branches.append(_normalized_convolution(net, blob, f"{name}pool_proj", channels.pooled, 1))
    return net.concat(branches, f"{name}output")


def _normalized_convolution(
    net: NetBuilder, source: str, output: str, channels: int, kernel: int, stride: int = 1, pad: int = 0
) -> str:
    net.convolution(source, output, channels, kernel, stride, pad, bias=False)
    normalized, scaled = f"{output}/bn", f"{output}/bn/sc"
    names = (f"{normalized}_scale", f"{normalized}_bias", f"{normalized}_mean", f"{normalized}_var")
    net.batch_normalization(output, normalized, names, {"is_test": 1, "epsilon": 1e-5, "order": "NCHW"})
    return net.relu(
        net.scale_and_shift(normalized, f"{scaled}_internal", scaled, (f"{scaled}_w", f"{scaled}_b"))
    )


def _halving_pool(net: NetBuilder, source: str, output: str) -> str:
    padding: Arguments = {"pad_r": 1, "pad_b": 1, "pad_t": 0, "pad_l": 0}
    return net.pool("MaxPool", source, output, {"stride": 2, "kernel": 3, "order": "NCHW", **padding})
