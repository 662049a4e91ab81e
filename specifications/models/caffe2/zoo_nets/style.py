"""Style transfer as in the app of 2016: a small net between packed pixels and packed pixels."""

from __future__ import annotations

from net_builder import Arguments, NetBuilder

WIDTH = 12
CONVOLUTIONS = [(2, 9), (5, 3), (8, 3), (11, 3), (14, 3), (17, 3), (20, 3)]
"""Of each: its number among the layers of the net it was made from, and the kernel."""
DECONVOLUTIONS = [(23, 6), (26, 3)]
"""Of each: its number, and the channels that leave it."""


def style_transfer() -> NetBuilder:
    """Input ``data_int8_bgra`` (N, H, W, 4) uint8, output ``styled_int8_bgra``: the same shape and type.

    4 has to divide H and W, and both to be above 40. The blob ``__CAFFE2_STYLIZER_NOISE__`` (491 values) is
    read if it is there, and drawn if it is not.
    """
    net = NetBuilder("style", "data_int8_bgra", 4)
    preprocess = "PackedInt8BGRANHWCToNCHWCStylizerPreprocess"
    _layer(net, "", preprocess, ["data_int8_bgra", "mean"], "b0", {"noise_std": 5.0}, channels=3)
    device = net.net.op[0].device_option
    device.device_type = device.random_seed = 0
    shrink: Arguments = {
        "kernel_h": 4,
        "kernel_w": 4,
        "stride_h": 4,
        "stride_w": 4,
        "order": "NCHW",
        "pad": 0,
    }
    _layer(net, "caffe.Pooling_0", "AveragePool", ["b0"], "b1", shrink, channels=3)
    blob = _mirrored_border(net, 1, "b1", "b0", before=10, after=9)
    for number, kernel in CONVOLUTIONS:
        blob = _convolution(net, number, blob, kernel)
    for number, channels in DECONVOLUTIONS:
        blob = _deconvolution(net, number, blob, channels)
    blob = _mirrored_border(net, 27, blob, _other(blob), before=0, after=1)
    mean = net.parameter("mean", (3,))
    deprocess = "BRGNCHWCToPackedInt8BGRAStylizerDeprocess"
    net.finish(_layer(net, "", deprocess, [blob, mean], "styled_int8_bgra", {}, channels=4))
    return net


def _convolution(net: NetBuilder, number: int, source: str, kernel: int) -> str:
    name = f"caffe.SpatialConvolution_{number}"
    weight = net.parameter(f"{name}/param_0", (WIDTH, net.channels(source), kernel, kernel))
    bias = net.parameter(f"{name}/param_1", (WIDTH,))
    geometry = {**_geometry(kernel, stride=1), "shared_buffer": 1}
    output = _other(source)
    _layer(
        net, name, "Conv", [source, weight, bias], output, geometry, channels=WIDTH, engine="NNPACK,MOBILE"
    )
    return _activation(net, number, output)


def _deconvolution(net: NetBuilder, number: int, source: str, channels: int) -> str:
    name = f"caffe.Deconvolution_{number}"
    weight = net.parameter(f"{name}/param_0", (net.channels(source), channels, 3, 3))
    bias = net.parameter(f"{name}/param_1", (channels,))
    geometry = {**_geometry(3, stride=2), "adj": 0, "shared_buffer": 1}
    output = _other(source)
    _layer(net, name, "ConvTranspose", [source, weight, bias], output, geometry, channels=channels)
    return output if number == DECONVOLUTIONS[-1][0] else _activation(net, number, output)


def _activation(net: NetBuilder, number: int, blob: str) -> str:
    """A batch normalization stands before it in the parameters, but is folded into the convolution."""
    channels = net.channels(blob)
    for index, role in enumerate(("scale", "bias", "mean", "variance")):
        net.normalization_parameter(f"caffe.BatchNormalization_{number + 1}/param_{index}", role, channels)
    name = f"caffe.PReLU_{number + 2}"
    slope = net.parameter(f"{name}/param_0", (channels,))
    return _layer(net, name, "PRelu", [blob, slope], blob, {"order": "NCHW"}, channels=channels)


def _mirrored_border(net: NetBuilder, number: int, source: str, output: str, before: int, after: int) -> str:
    widths: Arguments = {"pad_l": before, "pad_r": after, "pad_t": before, "pad_b": after}
    arguments = {**widths, "mode": "reflect", "order": "NCHW"}
    name = f"caffe.SpatialReflectionPadding_{number}"
    return _layer(net, name, "PadImage", [source], output, arguments, channels=net.channels(source))


def _geometry(kernel: int, stride: int) -> Arguments:
    sides: Arguments = {"kernel_w": kernel, "stride_w": stride, "kernel_h": kernel, "stride_h": stride}
    return {**sides, "order": "NCHW", "pad": 0}


def _other(blob: str) -> str:
    """The net needs two blobs in turn."""
    return "b0" if blob == "b1" else "b1"


def _layer(
    net: NetBuilder,
    name: str,
    type_: str,
    inputs: list[str],
    output: str,
    arguments: Arguments,
    *,
    channels: int,
    engine: str = "MOBILE",
) -> str:
    net.operator(type_, inputs, [output], arguments, channels=channels)
    definition = net.net.op[-1]
    definition.engine = engine
    definition.name = name
    return output
