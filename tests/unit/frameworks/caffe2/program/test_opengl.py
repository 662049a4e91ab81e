"""The backend opengl: each of its operators against the host's, over the space of its arguments."""

import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarking.frameworks.caffe2.caffe2 import Caffe2
from benchmarking.frameworks.caffe2.program.caffe2_benchmark import messages
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine.backends.opengl import (
    STAYS,
    OpenGL,
    context,
)
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine.engine import TorchEngine
from benchmarking.frameworks.kit.errors import UsageError

PROGRAM = Path(__file__).parents[5] / "benchmarking/frameworks/caffe2/program"

WHY_NOT = OpenGL.why_unavailable()
needs_opengl = pytest.mark.skipif(bool(WHY_NOT), reason=f"opengl: {WHY_NOT}")


def floats(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def net_of(type_, inputs, outputs, arguments):
    net = messages.NetDef(name="net")
    definition = net.op.add(type=type_, input=inputs, output=outputs)
    for name, value in arguments.items():
        argument = definition.arg.add(name=name)
        if isinstance(value, str):
            argument.s = value.encode()
        elif isinstance(value, float):
            argument.f = value
        elif isinstance(value, int):
            argument.i = value
        else:
            argument.ints.extend(value)
    return net


def weights_of(arrays):
    init = messages.NetDef(name="init")
    for name, array in arrays.items():
        definition = init.op.add(type="GivenTensorFill", output=[name])
        definition.arg.add(name="shape", ints=array.shape)
        definition.arg.add(name="values", floats=array.reshape(-1).tolist())
    return init


def both(net, inputs, constants=None):
    """The outputs of both backends, and what opengl dispatched."""
    results = []
    for backend in ("default", "opengl"):
        engine = TorchEngine(threads=1, seed=0, backend=backend)
        init = weights_of(constants) if constants else None
        loaded = engine.load(init, net, {name: array.copy() for name, array in inputs.items()})
        with engine._backend.observe() as log:
            loaded.run()
        names = [name for one in net.op for name in one.output if name in loaded.output_names()]
        results.append({name: loaded.output(name) for name in names})
    return (*results, log)


def check(net, inputs, constants=None, rtol=1e-5, atol=1e-5):
    """Runs on the device, with the same result; returns the names of the dispatched shaders."""
    expected, found, log = both(net, inputs, constants)
    assert log
    assert all(name.startswith("opengl:") for name in log)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].shape == value.shape
        assert found[name].dtype == value.dtype
        np.testing.assert_allclose(found[name], value, rtol=rtol, atol=atol)
    return log


WINDOWS = [
    {"kernel": 1},
    {"kernel": 3, "pad": 1},
    {"kernel": 3, "stride": 2},
    {"kernel": 3, "pad": 1, "stride": 2, "legacy_pad": 3},
    {"kernel": 5, "stride": 3, "pad": 2},
    {"kernel_h": 1, "kernel_w": 3, "pad_t": 0, "pad_l": 1, "pad_b": 0, "pad_r": 2},
    {"kernels": [2, 3], "strides": [2, 1], "pads": [0, 1, 1, 0]},
    {"kernel": 3, "legacy_pad": 2},
]


@needs_opengl
@pytest.mark.parametrize(
    ("channels", "outputs", "group"),
    [
        (3, 5, 1),
        (8, 16, 1),
        (13, 9, 1),
        (8, 8, 2),
        (6, 12, 2),
        (12, 6, 3),
        (7, 7, 7),
        (16, 16, 16),
        (4, 8, 4),
    ],
)
@pytest.mark.parametrize("window", [*WINDOWS, {"kernel": 3, "dilation": 2, "pad": 2}], ids=str)
def test_convolution(window, channels, outputs, group):
    kernel = window.get("kernels") or [
        window.get("kernel", window.get("kernel_h")),
        window.get("kernel", window.get("kernel_w")),
    ]
    constants = {"w": floats(outputs, channels // group, *kernel, seed=1), "b": floats(outputs, seed=2)}
    net = net_of("Conv", ["x", "w", "b"], ["y"], {**window, "group": group})
    check(net, {"x": floats(2, channels, 11, 14)}, constants, atol=3e-5)


@needs_opengl
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (4, 4), (31, 33), (40, 41)], ids=str)
def test_convolution_of_few_and_of_many_pixels(size):
    net = net_of("Conv", ["x", "w"], ["y"], {"kernel": 3, "pad": 1})
    check(net, {"x": floats(1, 6, *size)}, {"w": floats(10, 6, 3, 3, seed=1)}, atol=3e-5)


@needs_opengl
@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("stride", [[1, 1], [2, 2], [3, 2]], ids=str)
@pytest.mark.parametrize("kernel", [[2, 2], [3, 3], [1, 4]], ids=str)
@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 0, 0, 1]], ids=str)
def test_transposed_convolution(kernel, stride, pads, group):
    arguments = {"kernels": kernel, "strides": stride, "pads": pads, "group": group}
    constants = {"w": floats(6, 5, *kernel, seed=1), "b": floats(5 * group, seed=2)}
    net = net_of("ConvTranspose", ["x", "w", "b"], ["y"], arguments)
    check(net, {"x": floats(2, 6, 5, 7)}, constants)


@needs_opengl
def test_transposed_convolution_with_an_adjusted_size():
    arguments = {"kernel": 3, "stride": 2, "pad": 1, "adj": 1}
    net = net_of("ConvTranspose", ["x", "w"], ["y"], arguments)
    check(net, {"x": floats(1, 4, 6, 5)}, {"w": floats(4, 3, 3, 3, seed=1)})


@needs_opengl
@pytest.mark.parametrize("type_", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("window", [*WINDOWS, {"global_pooling": 1}], ids=str)
@pytest.mark.parametrize("channels", [3, 9])
def test_pooling(type_, window, channels):
    check(net_of(type_, ["x"], ["y"], window), {"x": floats(2, channels, 11, 14)})


@needs_opengl
def test_pooling_with_the_padding_counted():
    x = {"x": floats(1, 5, 9, 9) - 3}
    check(net_of("AveragePool", ["x"], ["y"], {"kernel": 3, "pad": 1, "count_include_pad": 1}), x)


@needs_opengl
def test_rows_and_columns_of_millions_of_pixels_are_distinguished():
    x = np.arange(2047**2, dtype=np.float32).reshape(1, 1, 2047, 2047)
    check(net_of("MaxPool", ["x"], ["y"], {"kernel_h": 1, "kernel_w": 1}), {"x": x}, rtol=0, atol=0)


@needs_opengl
@pytest.mark.parametrize("shape", [(1, 12), (5, 12), (2, 3, 2, 2), (3, 4, 3, 1)], ids=str)
@pytest.mark.parametrize("outputs", [1, 10])
@pytest.mark.parametrize("type_", ["FC", "FCTransposed"])
def test_fully_connected(type_, shape, outputs):
    weight = floats(outputs, 12, seed=1)
    constants = {"w": weight if type_ == "FC" else weight.T.copy(), "b": floats(outputs, seed=2)}
    check(net_of(type_, ["x", "w", "b"], ["y"], {}), {"x": floats(*shape)}, constants)


@needs_opengl
@pytest.mark.parametrize("shape", [(7,), (1, 10), (3, 8), (3, 7), (2, 5, 3, 2)], ids=str)
@pytest.mark.parametrize("factor", [1, 30])
def test_softmax(shape, factor):
    arguments = {"axis": 0} if len(shape) == 1 else {}
    check(net_of("Softmax", ["x"], ["y"], arguments), {"x": floats(*shape) * factor}, atol=1e-9)


@needs_opengl
@pytest.mark.parametrize("output", ["x", "y"], ids=["in place", "elsewhere"])
@pytest.mark.parametrize("shape", [(5,), (3, 6), (2, 7, 3, 5), (2, 3, 2, 2, 2)], ids=str)
@pytest.mark.parametrize("type_", ["Relu", "Sigmoid"])
def test_functions_of_one_value(type_, shape, output):
    check(net_of(type_, ["x"], [output], {}), {"x": floats(*shape) * 5}, atol=1e-7)


@needs_opengl
@pytest.mark.parametrize("output", ["x", "y"], ids=["in place", "elsewhere"])
@pytest.mark.parametrize("slopes", [1, 6])
def test_parametric_relu(slopes, output):
    net = net_of("PRelu", ["x", "s"], [output], {})
    check(net, {"x": floats(2, 6, 3, 5)}, {"s": floats(slopes, seed=1)})


@needs_opengl
@pytest.mark.parametrize("output", ["x", "y"], ids=["in place", "elsewhere"])
@pytest.mark.parametrize("shape", [(2, 7, 3, 5), (4, 7)], ids=str)
def test_batch_normalization(shape, output):
    names = ["scale", "bias", "mean", "variance"]
    constants = {name: floats(7, seed=seed) for seed, name in enumerate(names)}
    constants["variance"] = np.abs(constants["variance"]) + 0.1
    net = net_of("SpatialBN", ["x", *names], [output], {"is_test": 1, "epsilon": 1e-3})
    check(net, {"x": floats(*shape)}, constants)


@needs_opengl
def test_a_factor_and_an_offset_for_each_channel():
    constants = {"scale": floats(5, seed=1), "bias": floats(5, seed=2)}
    check(net_of("AffineChannel", ["x", "scale", "bias"], ["y"], {}), {"x": floats(2, 5, 3, 3)}, constants)


@needs_opengl
@pytest.mark.parametrize("outputs", [["y"], ["y", "mean", "inverse"]], ids=len)
@pytest.mark.parametrize("size", [(3, 5), (40, 50)], ids=str)
def test_instance_normalization(size, outputs):
    constants = {"scale": floats(6, seed=1), "bias": floats(6, seed=2)}
    net = net_of("InstanceNorm", ["x", "scale", "bias"], outputs, {"epsilon": 1e-4})
    check(net, {"x": floats(2, 6, *size) * 3 + 40}, constants, atol=1e-4)


@needs_opengl
@pytest.mark.parametrize("outputs", [["y"], ["y", "scale"]], ids=len)
@pytest.mark.parametrize("size", [1, 3, 4, 5, 11])
@pytest.mark.parametrize("beta", [0.75, 0.6])
def test_local_response_normalization(size, beta, outputs):
    arguments = {"size": size, "alpha": 0.02, "beta": beta, "bias": 1.5}
    check(net_of("LRN", ["x"], outputs, arguments), {"x": floats(2, 10, 3, 4) * 5})


@needs_opengl
@pytest.mark.parametrize(
    ("a", "b", "arguments"),
    [
        ((2, 5, 3, 4), (2, 5, 3, 4), {}),
        ((2, 5, 3, 4), (5,), {"broadcast": 1, "axis": 1}),
        ((2, 5, 3, 4), (1,), {"broadcast": 1}),
        ((2, 5, 3, 4), (5, 3, 4), {"broadcast": 1}),
        ((2, 5, 3, 4), (3, 4), {}),
        ((2, 5, 3, 4), (5, 3), {"broadcast": 1, "axis": 1}),
        ((2, 5, 3, 4), (1, 5, 1, 1), {}),
        ((2, 5, 3, 4), (2, 1, 3, 1), {}),
        ((2, 5, 3, 4), (2, 1, 1, 4), {}),
        ((1, 6), (6,), {"broadcast": 1}),
        ((3, 6), (6,), {}),
        ((2, 6, 4), (1, 6, 1), {}),
        ((7,), (7,), {}),
    ],
    ids=str,
)
@pytest.mark.parametrize("type_", ["Add", "Sub", "Mul", "Div"])
def test_arithmetic_of_two(type_, a, b, arguments):
    inputs = {"a": floats(*a), "b": np.abs(floats(*b, seed=1)) + 0.5}
    check(net_of(type_, ["a", "b"], ["y"], arguments), inputs)


@needs_opengl
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8])
@pytest.mark.parametrize("output", ["x0", "y"], ids=["in place", "elsewhere"])
def test_sum(count, output):
    names = [f"x{number}" for number in range(count)]
    inputs = {name: floats(2, 3, 4, 2, seed=seed) for seed, name in enumerate(names)}
    check(net_of("Sum", names, [output], {}), inputs)


@needs_opengl
@pytest.mark.parametrize(
    ("shapes", "axis"),
    [
        ([(1, 8, 3, 2), (1, 4, 3, 2), (1, 5, 3, 2)], 1),
        ([(2, 8, 3, 2), (2, 4, 3, 2)], 1),
        ([(2, 3, 3, 2), (2, 5, 3, 2), (2, 6, 3, 2)], 1),
        ([(2, 3, 3, 2), (1, 3, 3, 2)], 0),
        ([(2, 3, 3, 2), (2, 3, 1, 2)], 2),
        ([(2, 3, 3, 2), (2, 3, 3, 4)], -1),
        ([(2, 3), (2, 6)], 1),
        ([(3,), (6,)], 0),
        ([(2, 3, 5), (2, 3, 2)], 2),
    ],
    ids=str,
)
def test_concatenation(shapes, axis):
    inputs = {f"x{number}": floats(*shape, seed=number) for number, shape in enumerate(shapes)}
    check(net_of("Concat", list(inputs), ["y", "sizes"], {"axis": axis}), inputs, rtol=0, atol=0)


@needs_opengl
@pytest.mark.parametrize(("channels", "group"), [(6, 2), (6, 3), (8, 4), (5, 1)])
def test_channel_shuffle(channels, group):
    inputs = {"x": floats(2, channels, 3, 2)}
    check(net_of("ChannelShuffle", ["x"], ["y"], {"group": group}), inputs, rtol=0, atol=0)


@needs_opengl
@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 2, 3, 0], [4, 4, 4, 4]], ids=str)
def test_image_padding(mode, pads):
    net = net_of("PadImage", ["x"], ["y"], {"mode": mode, "pads": pads, "value": 2.5})
    check(net, {"x": floats(2, 5, 5, 6)}, rtol=0, atol=0)


@needs_opengl
@pytest.mark.parametrize(
    ("type_", "outputs", "arguments"),
    [
        ("Reshape", ["y", "old"], {"shape": [0, -1]}),
        ("Reshape", ["y", "old"], {"shape": [3, 4, 5, -1]}),
        ("Flatten", ["y"], {"axis": 2}),
        ("FlattenToVec", ["y"], {}),
        ("Copy", ["y"], {}),
        ("Alias", ["y"], {}),
        ("Dropout", ["y", "mask"], {"is_test": 1}),
    ],
    ids=str,
)
@pytest.mark.parametrize("shape", [(2, 5, 3, 4), (1, 8, 15, 1)], ids=str)
def test_the_same_values_by_another_name_or_shape(shape, type_, outputs, arguments):
    check(net_of(type_, ["x"], outputs, arguments), {"x": floats(*shape)}, rtol=0, atol=0)


@needs_opengl
def test_dimensions_of_1_are_dropped_without_moving_anything():
    log = check(net_of("Squeeze", ["x"], ["y"], {"dims": [2, 3]}), {"x": floats(2, 8, 1, 1)}, rtol=0, atol=0)
    assert log == [STAYS]


@needs_opengl
@pytest.mark.parametrize("has_noise", [True, False], ids=["noise given", "noise drawn"])
def test_pixels_to_planes(has_noise):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 9, 31, 4), np.uint8)
    noise = {"__CAFFE2_STYLIZER_NOISE__": floats(491, seed=1)} if has_noise else {}
    type_ = "PackedInt8BGRANHWCToNCHWCStylizerPreprocess"
    constants = {"mean": np.array([100.5, 110.25, 120.125], np.float32), **noise}
    check(net_of(type_, ["x", "mean"], ["y"], {"noise_std": 5.0}), {"x": pixels}, constants)


@needs_opengl
def test_planes_to_pixels():
    type_ = "BRGNCHWCToPackedInt8BGRAStylizerDeprocess"
    constants = {"mean": np.array([100.5, 110.25, 120.125], np.float32)}
    check(net_of(type_, ["x", "mean"], ["y"], {}), {"x": floats(2, 3, 9, 5) * 150}, constants, atol=0)


@needs_opengl
@pytest.mark.parametrize(
    ("net", "inputs", "constants"),
    [
        (
            net_of("Conv", ["x", "w"], ["y"], {"kernel": 1, "order": "NHWC"}),
            {"x": floats(1, 4, 4, 3)},
            {"w": floats(2, 1, 1, 3)},
        ),
        (
            net_of("Conv", ["x", "w"], ["y"], {"kernel": 1}),
            {"x": floats(1, 3, 4, 4), "w": floats(2, 3, 1, 1)},
            {},
        ),
        (net_of("MaxPool", ["x"], ["y"], {"kernel": 2, "order": "NHWC"}), {"x": floats(1, 4, 4, 3)}, {}),
        (net_of("Add", ["x", "b"], ["y"], {}), {"x": np.arange(6), "b": np.arange(6)}, {}),
        (
            net_of("Concat", ["x", "b"], ["y", "s"], {"add_axis": 1, "axis": 1}),
            {"x": floats(2, 3), "b": floats(2, 3)},
            {},
        ),
        (net_of("Cbrt", ["x"], ["y"], {}), {"x": floats(2, 3)}, {}),
    ],
    ids=["channels last", "weights that may change", "pooling", "whole numbers", "a new axis", "no shader"],
)
def test_the_host_computes_what_the_device_does_not(net, inputs, constants):
    expected, found, log = both(net, inputs, constants)
    assert log == []
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-6)


@needs_opengl
def test_what_is_too_large_for_the_driver_is_the_hosts(monkeypatch):
    net, inputs = net_of("Relu", ["x"], ["y"], {}), {"x": floats(1, 4, 300)}
    check(net, inputs)
    device = context.shared_device()
    with monkeypatch.context() as patch:
        patch.setattr(device, "_most_groups", (2, 2, 2))
        assert both(net, inputs)[2] == []
    with monkeypatch.context() as patch:
        patch.setattr(device, "_most_bytes", 1000)
        assert both(net, inputs)[2] == []


@needs_opengl
def test_blobs_stay_on_the_device_and_weights_are_packed_once(monkeypatch):
    net = net_of("Conv", ["x", "w"], ["y"], {"kernel": 3})
    net.op.add(type="Relu", input=["y"], output=["y"])
    net.op.add(type="Cbrt", input=["y"], output=["z"])
    net.op.add(type="Relu", input=["z"], output=["out"])
    engine = TorchEngine(threads=1, seed=0, backend="opengl")
    loaded = engine.load(weights_of({"w": floats(8, 4, 3, 3)}), net, {"x": floats(1, 4, 8, 8)})
    calls = Counter()
    storage = context.Storage
    read = storage.read
    monkeypatch.setattr(storage, "read", lambda self: calls.update(["read"]) or read(self))
    init = storage.__init__
    monkeypatch.setattr(storage, "__init__", lambda *args: calls.update(["write"]) or init(*args))
    loaded.run()
    assert calls == {"read": 1, "write": 1}


@needs_opengl
@pytest.mark.parametrize("adds", [False, True], ids=["Relu", "Sum and Relu"])
@pytest.mark.parametrize("group", [1, 8])
def test_a_fused_convolution_is_one_shader(adds, group):
    net = net_of("Conv", ["x", "w", "b"], ["y"], {"kernel": 3, "pad": 1, "group": group})
    if adds:
        net.op.add(type="Sum", input=["y", "x"], output=["y"])
    net.op.add(type="Relu", input=["y"], output=["y"])
    init = weights_of({"w": floats(8, 8 // group, 3, 3, seed=1), "b": floats(8, seed=2)})
    inputs = {"x": floats(1, 8, 7, 9)}
    found = []
    for backend, optimize in (("default", "none"), ("opengl", "fuse")):
        engine = TorchEngine(threads=1, seed=0, backend=backend, optimize=optimize)
        loaded = engine.load(init, net, inputs, frozenset(["y"]))
        with engine._backend.observe() as log:
            loaded.run()
        found.append(loaded.output("y"))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5, atol=1e-5)
    assert log == ["opengl:convolution_8x8" if group == 1 else "opengl:depthwise_convolution"]


@needs_opengl
def test_if_the_driver_has_a_clock_the_time_of_a_run_is_reported(monkeypatch):
    engine = TorchEngine(threads=1, seed=0, backend="opengl")
    loaded = engine.load(None, net_of("Relu", ["x"], ["y"], {}), {"x": floats(1, 4)})
    device = context.shared_device()
    monkeypatch.setattr(device, "has_clock", False)
    loaded.run()
    assert loaded.device_ns() is None
    monkeypatch.setattr(device, "has_clock", True)
    for _ in range(2):
        loaded.run()
        assert loaded.device_ns() == device.elapsed_ns() > 0
    loaded.run_operators()
    assert loaded.device_ns() is None


@needs_opengl
def test_a_run_that_failed_leaves_the_clock_ready(monkeypatch):
    engine = TorchEngine(threads=1, seed=0, backend="opengl")
    loaded = engine.load(None, net_of("Relu", ["x"], ["y"], {}), {"x": floats(1, 4)})
    monkeypatch.setattr(context.shared_device(), "has_clock", True)
    engine._backend.start()
    loaded.run()
    assert loaded.device_ns() is not None


@needs_opengl
def test_a_run_gives_the_same_again_and_a_new_value_counts():
    net = net_of("Relu", ["x"], ["y"], {})
    net.op.add(type="Sum", input=["y", "x"], output=["y"])
    loaded = TorchEngine(threads=1, seed=0, backend="opengl").load(None, net, {"x": floats(1, 5, 3, 3)})
    x = floats(1, 5, 3, 3)
    for _ in range(3):
        loaded.run()
        np.testing.assert_allclose(loaded.output("y"), np.maximum(x, 0) + x, rtol=1e-6)
        np.testing.assert_array_equal(loaded.output("x"), x)


@needs_opengl
def test_the_log_is_only_kept_while_somebody_observes():
    engine = TorchEngine(threads=1, seed=0, backend="opengl")
    loaded = engine.load(None, net_of("Relu", ["x"], ["y"], {}), {"x": floats(1, 4)})
    with engine._backend.observe() as log:
        loaded.run()
    loaded.run()
    assert log == ["opengl:relu"]
    assert engine._backend.is_own(log[0])
    assert not engine._backend.is_own("aten::relu")


@needs_opengl
def test_facts_name_the_driver_and_the_clock():
    facts = TorchEngine(threads=1, seed=0, backend="opengl").facts()
    assert facts["gl_renderer"]
    assert facts["gl_version"]
    if "llvmpipe" in facts["gl_renderer"]:
        assert facts["opengl_clock"] == "host clock around finish()"


def test_without_moderngl_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(context._Shared, "device", None)
    monkeypatch.setattr(context.importlib.util, "find_spec", lambda name: None)
    assert OpenGL.why_unavailable() == "the Python package moderngl is not installed: pip install moderngl"
    with pytest.raises(UsageError, match="--backend opengl: the Python package moderngl is not installed"):
        OpenGL(threads=1)


def test_a_broken_moderngl_is_not_a_crashed_driver(monkeypatch, tmp_path):
    (tmp_path / "moderngl.py").write_text("raise ImportError('no glcontext')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "moderngl", raising=False)
    monkeypatch.setattr(context, "ctypes", SimpleNamespace(CDLL=lambda name: None))
    monkeypatch.setattr(context._Shared, "device", None)
    monkeypatch.setattr(context._Shared, "why_unavailable", None)
    assert OpenGL.why_unavailable().startswith(
        "the Python package moderngl cannot be imported (no glcontext): pip install"
    )


def test_without_egl_it_says_what_to_install(monkeypatch):
    pytest.importorskip("moderngl")
    monkeypatch.setattr(context._Shared, "device", None)
    monkeypatch.setattr(context._Shared, "why_unavailable", None)
    monkeypatch.setattr(context, "EGL_LIBRARY", "libEGL-of-nobody.so.1")
    assert (
        "no EGL: libEGL-of-nobody.so.1 is not installed; install Debian's libegl1" in OpenGL.why_unavailable()
    )
    with pytest.raises(UsageError, match=r"--backend opengl: no EGL device .*; install Debian's libegl1"):
        OpenGL(threads=1)


@needs_opengl
def test_an_old_opengl_has_no_context(monkeypatch):
    monkeypatch.setattr(context._Shared, "device", None)
    monkeypatch.setattr(context._Shared, "why_unavailable", None)
    monkeypatch.setattr(context, "NEEDED_VERSION", 490)
    assert OpenGL.why_unavailable().startswith("no EGL device with OpenGL 4.3 or later (")


def test_a_driver_that_crashes_is_recognized(monkeypatch):
    pytest.importorskip("moderngl")
    monkeypatch.setattr(context, "ctypes", SimpleNamespace(CDLL=lambda name: None))
    monkeypatch.setattr(context._Shared, "device", None)
    monkeypatch.setattr(context._Shared, "why_unavailable", None)
    monkeypatch.setattr(context, "_tried", lambda: context.os._exit(9))
    assert OpenGL.why_unavailable().startswith("the OpenGL driver crashed; install")


@needs_opengl
def test_a_shader_that_does_not_compile_is_named():
    device = context.shared_device()
    with pytest.raises(RuntimeError, match="the shader sum does not compile: "):
        device.program("sum", 64, SOURCES=3, texels=4)


@needs_opengl
def test_the_zipapp_has_the_shaders(tmp_path):
    net, init = tmp_path / "net.pb", tmp_path / "init.pb"
    net.write_bytes(net_of("Conv", ["x", "w"], ["y"], {"kernel": 3}).SerializeToString())
    init.write_bytes(weights_of({"w": floats(2, 3, 3, 3)}).SerializeToString())
    program = Caffe2(tmp_path).default_program().path
    outputs = []
    for path, backend in ((PROGRAM, "default"), (program, "opengl")):
        flags = {"net": net, "init_net": init, "input": "x", "input_dims": "1,3,8,8", "backend": backend}
        flags |= {"output": "y", "output_folder": tmp_path, "text_output": "true", "iter": 1}
        argv = [
            sys.executable,
            path,
            *(word for name, value in flags.items() for word in (f"--{name}", value)),
        ]
        subprocess.run(list(map(str, argv)), check=True, timeout=120, capture_output=True)
        outputs.append(np.loadtxt(tmp_path / "y.txt"))
    np.testing.assert_allclose(*outputs, rtol=1e-5, atol=1e-5)


@needs_opengl
@pytest.mark.parametrize("last", ["Alias", "Dropout", "Flatten"])
def test_a_blob_that_is_fed_back_is_not_read_while_it_is_written(last):
    """Under its old name the result of one run would be the input of the next, in the same place."""
    net = net_of("FC", ["x", "w", "b"], ["y"], {})
    definition = net.op.add(type=last, input=["y"], output=["x"])
    if last == "Dropout":
        definition.arg.add(name="is_test", i=1)
    constants = {"w": floats(300, 300) / 20, "b": floats(300, seed=1)}
    results = []
    for backend in ("default", "opengl"):
        loaded = TorchEngine(threads=1, seed=0, backend=backend).load(
            weights_of(constants), net, {"x": floats(5, 300, seed=2)}
        )
        for _ in range(3):
            loaded.run()
        results.append(loaded.output("x"))
    np.testing.assert_allclose(results[1], results[0], rtol=1e-4, atol=1e-4)
