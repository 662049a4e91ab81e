"""He et al. (2015)."""

from __future__ import annotations

from net_builder import Arguments, NetBuilder

STAGES = [(64, 3), (128, 4), (256, 6), (512, 3)]
"""Of each: channels inside a block, and blocks."""
EXPANSION = 4
"""Channels that leave a block, by those inside."""


def resnet50() -> NetBuilder:
    """Input ``gpu_0/data`` (N, 3, 224, 224), output ``gpu_0/softmax`` (N, 1000)."""
    net = NetBuilder("resnet50", "data", 3, prefix="gpu_0/", fields_set=True)
    _convolution(net, "data", "conv1", 64, 7, stride=2, pad=3)
    blob = net.relu(_normalization(net, "conv1", "res_conv1_bn"))
    blob = net.pool("MaxPool", blob, "pool1", {"kernel": 3, "order": "NCHW", "pad": 1, "stride": 2})
    for stage, (channels, blocks) in enumerate(STAGES, start=2):
        for number in range(blocks):
            stride = 2 if number == 0 and stage > 2 else 1
            blob = _bottleneck(net, blob, f"res{stage}_{number}_", channels, stride, projected=number == 0)
    net.pool("AveragePool", blob, "pool5", {"kernel": 7, "stride": 1, "order": "NCHW"})
    net.fully_connected("pool5", "pred", 2048, 1000)
    net.finish(net.operator("Softmax", ["pred"], ["softmax"]))
    return net


def _bottleneck(
    net: NetBuilder, source: str, block: str, channels: int, stride: int, *, projected: bool
) -> str:
    """``projected``: the source goes through a convolution of its own before it is added."""
    blob = source
    for branch, width, kernel, branch_stride in (
        ("branch2a", channels, 1, 1),
        ("branch2b", channels, 3, stride),
        ("branch2c", EXPANSION * channels, 1, 1),
    ):
        _convolution(net, blob, block + branch, width, kernel, branch_stride, pad=kernel // 2)
        blob = _normalization(net, block + branch, f"{block}{branch}_bn")
        if branch != "branch2c":
            net.relu(blob)
    shortcut = source
    if projected:
        geometry: Arguments = {"stride": stride, "order": "NCHW", "kernel": 1}
        net.convolution_with(source, f"{block}branch1", EXPANSION * channels, geometry, bias=False)
        shortcut = _normalization(net, f"{block}branch1", f"{block}branch1_bn")
    return net.relu(net.add_up([blob, shortcut], blob))


def _convolution(
    net: NetBuilder, source: str, output: str, channels: int, kernel: int, stride: int, pad: int
) -> str:
    geometry: Arguments = {"kernel": kernel, "pad": pad, "order": "NCHW", "stride": stride}
    return net.convolution_with(source, output, channels, geometry, bias=False)


def _normalization(net: NetBuilder, source: str, output: str) -> str:
    names = (f"{output}_s", f"{output}_b", f"{output}_rm", f"{output}_riv")
    arguments: Arguments = {"epsilon": 1.0000000656873453e-05, "is_test": 1, "order": "NCHW"}
    return net.batch_normalization(source, output, names, arguments)
