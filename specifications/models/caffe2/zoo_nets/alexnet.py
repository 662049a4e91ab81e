"""Krizhevsky et al. (2012) and its kin."""

from __future__ import annotations

from net_builder import Arguments, NetBuilder

FIRST_CONVOLUTIONS = {1: (96, 11, 4, 0, 1), 2: (256, 5, 1, 2, 2)}
"""Of each: channels, kernel, stride, padding, groups."""
CAFFE_POOL: Arguments = {"stride": 2, "pad": 0, "kernel": 3, "order": "NCHW", "legacy_pad": 3}
ROUNDED_DOWN_POOL: Arguments = {"stride": 2, "pad": 0, "kernel": 3, "order": "NCHW"}
END_PADDING: Arguments = {"pad_l": 0, "pad_r": 1, "pad_t": 0, "pad_b": 1}
PADDED_POOL: Arguments = {"stride": 2, "kernel": 3, "order": "NCHW", **END_PADDING}


def bvlc_alexnet() -> NetBuilder:
    """Input ``data`` (N, 3, 224, 224), output ``prob`` (N, 1000)."""
    net = NetBuilder("bvlc_alexnet", "data", 3)
    blob = "data"
    for number, (channels, kernel, stride, pad, groups) in FIRST_CONVOLUTIONS.items():
        net.relu(net.convolution(blob, f"conv{number}", channels, kernel, stride, pad, groups))
        normalized = net.local_response_normalization(f"conv{number}", f"norm{number}")
        blob = net.pool("MaxPool", normalized, f"pool{number}", ROUNDED_DOWN_POOL)
    _last_convolutions(net, blob, PADDED_POOL)
    _hidden_layers(net)
    net.fully_connected("fc7", "fc8", 4096, 1000)
    net.finish(net.operator("Softmax", ["fc8"], ["prob"]))
    return net


def bvlc_reference_caffenet() -> NetBuilder:
    """Input ``data`` (N, 3, 224, 224), output ``prob`` (N, 1000)."""
    net = _caffenet("CaffeNet")
    net.fully_connected("fc7", "fc8", 4096, 1000)
    net.finish(net.operator("Softmax", ["fc8"], ["prob"]))
    return net


def bvlc_reference_rcnn_ilsvrc13() -> NetBuilder:
    """Input ``data`` (N, 3, 224, 224), output ``fc-rcnn`` (N, 200): the score of each class."""
    net = _caffenet("R-CNN-ilsvrc13")
    net.finish(net.fully_connected("fc7", "fc-rcnn", 4096, 200))
    return net


def _caffenet(name: str) -> NetBuilder:
    """AlexNet with pooling before normalization, up to ``fc7`` (N, 4096)."""
    net = NetBuilder(name, "data", 3)
    blob = "data"
    for number, (channels, kernel, stride, pad, groups) in FIRST_CONVOLUTIONS.items():
        net.relu(net.convolution(blob, f"conv{number}", channels, kernel, stride, pad, groups))
        pooled = net.pool("MaxPool", f"conv{number}", f"pool{number}", CAFFE_POOL)
        blob = net.local_response_normalization(pooled, f"norm{number}")
    _last_convolutions(net, blob, CAFFE_POOL)
    _hidden_layers(net)
    return net


def _last_convolutions(net: NetBuilder, source: str, pool: Arguments) -> None:
    """To ``pool5`` (N, 256, 6, 6)."""
    net.relu(net.convolution(source, "conv3", 384, 3, pad=1))
    net.relu(net.convolution("conv3", "conv4", 384, 3, pad=1, groups=2))
    net.relu(net.convolution("conv4", "conv5", 256, 3, pad=1, groups=2))
    net.pool("MaxPool", "conv5", "pool5", pool)


def _hidden_layers(net: NetBuilder) -> None:
    """From ``pool5`` to ``fc7`` (N, 4096)."""
    for source, output, inputs in (("pool5", "fc6", 256 * 6 * 6), ("fc6", "fc7", 4096)):
        net.dropout(net.relu(net.fully_connected(source, output, inputs, 4096)))


def vgg16() -> NetBuilder:
    """Input ``gpu_0/data`` (N, 3, 224, 224), output ``gpu_0/softmax`` (N, 1000).

    What the zoo called vgg16 until April 2018 is ZFNet-512 (Zeiler & Fergus, 2013, their widest).
    """
    net = NetBuilder("vgg16", "data", 3, prefix="gpu_0/", fields_set=True)

    def convolution(source: str, number: int, channels: int, kernel: int, stride: int, pad: int) -> str:
        geometry: Arguments = {"kernel": kernel, "pad": pad, "stride": stride}
        return net.relu(net.convolution_with(source, f"conv{number}", channels, geometry))

    def normalized_pool(source: str, number: int) -> str:
        constants: Arguments = {"beta": 0.75, "bias": 2.0, "alpha": 5e-4, "size": 5}
        outputs = [f"norm{number}", f"scale{number}"]
        blob = net.operator("LRN", [source], outputs, constants, channels=net.channels(source))
        return net.pool("MaxPool", blob, f"pool{number}", {"kernel": 3, "pad": 0, "stride": 2})

    blob = normalized_pool(convolution("data", 1, 96, 7, 2, 0), 1)
    blob = normalized_pool(convolution(blob, 2, 256, 5, 2, 0), 2)
    for number, channels in ((3, 512), (4, 1024), (5, 512)):
        blob = convolution(blob, number, channels, 3, 1, 1)
    net.pool("MaxPool", blob, "pool5", {"kernel": 2, "pad": 0, "stride": 2})
    net.relu(net.fully_connected("pool5", "fc6", 512 * 6 * 6, 4096))
    net.relu(net.fully_connected("fc6", "fc7", 4096, 4096))
    net.fully_connected("fc7", "pred", 4096, 1000, parameters="fc8")
    net.finish(net.operator("Softmax", ["pred"], ["softmax"]))
    return net
