"""Convolutions that oneDNN compiles compute what torch's own do, and give way where it does not."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine.operators import onednn_graph
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine.operators.geometry import (
    Fit,
    with_channels_innermost,
)

from . import test_conformance

FEW = settings(max_examples=30, deadline=None)
"""Each is compiled, which takes some milliseconds."""
CONVOLUTIONS = [
    case
    for case in test_conformance.INDEX
    if case["expect"] == "ok" and any("Conv" in type_ for type_ in case["ops"])
]


@pytest.fixture(scope="module", autouse=True)
def _compiled_here():
    if not onednn_graph.is_there():
        pytest.skip("this torch was built without oneDNN's Graph API")


def plain_fit(sides, kernel, stride=1, dilation=1):
    return Fit([kernel] * 2, [stride] * 2, [dilation] * 2, sides, [])


@FEW
@given(
    st.integers(1, 2),
    st.integers(1, 3),
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    st.tuples(st.integers(3, 9), st.integers(3, 9)),
    st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(1, 2)),
    st.tuples(*[st.integers(0, 2)] * 4),
    st.tuples(*[st.booleans()] * 3),
)
def test_same_as_torch(count, group, channels, size, window, sides, switches):
    """Whatever the window, the groups and the layout of the input; the memory of the result is oneDNN's."""
    (inputs, outputs), (kernel, stride, dilation) = channels, window
    has_bias, has_relu, channels_last = switches
    pads = [sides[:2], sides[2:]]
    assume(all(one + sum(pad) >= dilation * (kernel - 1) + 1 for one, pad in zip(size, pads, strict=True)))
    torch.manual_seed(0)
    with torch.inference_mode():
        x = torch.randn(count, inputs * group, *size)
        if channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        weight = torch.randn(outputs * group, inputs, kernel, kernel)
        bias = torch.randn(outputs * group) if has_bias else None
        fit = plain_fit(pads, kernel, stride, dilation)
        run = onednn_graph.convolution(x, weight, bias, fit, group, has_relu)
        assert run is not None
        other = torch.randn_like(x)
        padded = torch.nn.functional.pad(other, fit.torch_padding).double()
        expected = torch.nn.functional.conv2d(
            padded, weight.double(), None if bias is None else bias.double(), stride, 0, dilation, group
        )
        expected = expected.relu() if has_relu else expected
        found = run(other)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_the_stride_of_a_single_image_does_not_matter():
    """torch's shuffle of channels, for one, gives another."""
    x = (
        torch.rand(1, 6, 4, 4)
        .contiguous(memory_format=torch.channels_last)
        .as_strided((1, 6, 4, 4), (6, 1, 24, 6))
    )
    weight = torch.rand(6, 1, 3, 3)
    with torch.inference_mode():
        run = onednn_graph.convolution(x, weight, None, plain_fit([(1, 1)] * 2, 3), 6, has_relu=False)
        found = run(x)
    assert found.stride() == (96, 1, 24, 6)
    torch.testing.assert_close(found, torch.nn.functional.conv2d(x, weight, padding=1, groups=6))


def one_convolution(**changes):
    values = {"x": torch.ones(1, 2, 5, 5), "weight": torch.ones(3, 2, 3, 3), **changes}
    with torch.inference_mode():
        return onednn_graph.convolution(
            values["x"], values["weight"], None, plain_fit([(1, 1)] * 2, 3), 1, has_relu=False
        )


def test_only_for_what_onednn_compiles():
    assert one_convolution() is not None
    assert one_convolution(weight=torch.ones(3, 2, 3, 3, dtype=torch.float64)) is None


def test_empty():
    nothing = torch.ones(0, 2, 5, 5)
    assert one_convolution(x=nothing)(nothing).shape == (0, 3, 5, 5)


def test_not_while_onednn_is_switched_off():
    torch._C._set_mkldnn_enabled(False)
    try:
        assert one_convolution() is None
    finally:
        torch._C._set_mkldnn_enabled(True)


def test_not_if_torch_does_not_report_whether_it_has_onednn(monkeypatch):
    monkeypatch.delattr(torch._C, "_has_mkldnn")
    assert one_convolution() is None


@pytest.mark.parametrize("missing", [AttributeError("no such function"), RuntimeError("built without it")])
def test_not_where_torch_has_no_graphs(missing, monkeypatch):
    def refuse(_):
        raise missing

    monkeypatch.setattr(torch._C, "_jit_set_llga_enabled", refuse)
    assert one_convolution() is None


@pytest.mark.parametrize("mode", ["weights", "fused"])
@pytest.mark.parametrize("case", CONVOLUTIONS, ids=[case["id"] for case in CONVOLUTIONS])
def test_conformance_without_it(case, mode, monkeypatch):
    """On processors for which torch has no Graph API, oneDNN packs the weights only."""
    monkeypatch.setattr(onednn_graph, "is_there", lambda: False)
    test_conformance.test_case(case, mode)


@settings(deadline=None)
@given(
    st.tuples(st.integers(0, 3), *[st.integers(1, 9)] * 3),
    st.sampled_from([torch.float32, torch.float64, torch.uint8]),
    st.booleans(),
)
def test_channels_innermost(shape, dtype, is_slice):
    x = (torch.rand(shape) * 200).to(dtype)
    x = x[..., ::2] if is_slice else x
    found = with_channels_innermost(x)
    assert torch.equal(found, x)
    assert found.dtype == dtype
    assert found.is_contiguous(memory_format=torch.channels_last)
