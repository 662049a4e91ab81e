"""What the engine torch does around the kernels of a backend, and each backend that is here."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import torch

from benchmarking.frameworks.caffe2.program.caffe2_benchmark import engine, messages
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.errors import NetError
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine import backends
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine.backends import cuda_operators
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine.backends.backend import (
    Backend,
    NoKernelError,
)
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine.engine import TorchEngine, TorchNet
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine.plan import as_written
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine.registry import (
    FLOAT,
    Registration,
    by_shape,
)
from benchmarking.frameworks.kit.errors import ModelError, UsageError
from benchmarking.frameworks.kit.kernels import require_own


@dataclass
class Boxed:
    """A blob of a device that only its own operators understand."""

    tensor: torch.Tensor

    @property
    def shape(self):
        return self.tensor.shape

    @property
    def dtype(self):
        return self.tensor.dtype

    def element_size(self):
        return self.tensor.element_size()

    def clone(self):
        return Boxed(self.tensor.clone())


def relu(op):
    def prepare(x):
        if len(x.shape) != 2:
            raise NoKernelError("only rows and columns")

        def compute(x):
            calls.append("relu")
            return Boxed(x.tensor.relu())

        return compute

    return by_shape(prepare)


def negative(op):
    raise NoKernelError("never")


def needs(backend):
    why_not = TorchEngine.why_unavailable(backend)
    return pytest.mark.skipif(bool(why_not), reason=why_not)


calls = []
"""What the backend was asked for, in order."""


class BoxedBackend(Backend):
    name = "boxed"
    operators = MappingProxyType(
        {
            "Relu": Registration(relu, (1, 1), (1, 1), None, FLOAT, False),
            "Negative": Registration(negative, (1, 1), (1, 1), None, FLOAT, False),
            "Copy": Registration(relu, (1, 1), (1, 1), None, FLOAT, False),
        }
    )

    def upload(self, tensor):
        assert isinstance(tensor, torch.Tensor)
        calls.append("upload")
        return Boxed(tensor.clone())

    def download(self, blob):
        calls.append("download")
        return blob.tensor.clone()

    def start(self):
        calls.append("start")

    def synchronise(self):
        calls.append("synchronise")


@pytest.fixture(autouse=True)
def boxed(monkeypatch):
    calls.clear()
    monkeypatch.setitem(backends.BACKENDS, "boxed", (__name__, "BoxedBackend"))


def net_of(*operators):
    net = messages.NetDef(name="net")
    for type_, inputs, outputs in operators:
        net.op.add(type=type_, input=inputs, output=outputs)
    return net


def load(net, **inputs):
    return TorchEngine(threads=1, seed=0, backend="boxed").load(None, net, inputs)


X = np.array([[-1.0, 2.0], [3.0, -4.0]], np.float32)


def test_only_what_the_host_computes_goes_there_and_back():
    loaded = load(net_of(("Relu", ["x"], ["y"]), ("Sqr", ["y"], ["z"]), ("Relu", ["z"], ["out"])), x=X)
    calls.clear()
    loaded.run()
    assert calls == ["start", "relu", "download", "upload", "relu", "synchronise"]
    np.testing.assert_array_equal(loaded.output("out"), np.maximum(X, 0) ** 2)
    calls.clear()
    assert len(loaded.run_operators()) == 3
    assert calls == ["relu", "synchronise", "download", "upload", "synchronise", "relu", "synchronise"]


@pytest.mark.parametrize(
    ("type_", "x", "expected"),
    [("Relu", X[None], np.maximum(X[None], 0)), ("Negative", X, -X), ("Copy", X.astype("f8"), X)],
    ids=["shape", "arguments", "element type"],
)
def test_where_the_backend_has_no_kernel_the_host_takes_over(type_, x, expected):
    loaded = load(net_of((type_, ["x"], ["y"])), x=x)
    calls.clear()
    loaded.run()
    assert calls == ["start", "download", "upload", "synchronise"]
    np.testing.assert_array_equal(loaded.output("y"), expected)


def test_constants_of_an_operator_on_the_host_are_fetched_once():
    init = messages.NetDef(name="init")
    fill = init.op.add(type="GivenTensorFill", output=["w"])
    fill.arg.add(name="shape", ints=[2, 2])
    fill.arg.add(name="values", floats=[1, 2, 3, 4])
    net = net_of(("MatMul", ["x", "w"], ["y"]))
    loaded = TorchEngine(threads=1, seed=0, backend="boxed").load(init, net, {"x": X})
    calls.clear()
    loaded.run()
    assert calls == ["start", "download", "upload", "synchronise"]
    np.testing.assert_array_equal(loaded.output("y"), X @ np.array([[1, 2], [3, 4]], np.float32))


def test_an_own_kernel_that_fails_is_an_error_that_names_the_operator(monkeypatch):
    def broken(op):
        def compute(x):
            raise RuntimeError("the device is gone")

        return compute

    operators = {"Relu": Registration(broken, (1, 1), (1, 1), None, FLOAT, False)}
    monkeypatch.setattr(BoxedBackend, "operators", operators)
    with pytest.raises(NetError, match="operator 0, Relu 'y', failed: the device is gone"):
        load(net_of(("Relu", ["x"], ["y"])), x=X)


def test_host_backends_are_not_devices():
    for name in ("builtin", "default"):
        assert not backends.backend_class(name)(threads=1).is_device
    assert BoxedBackend(threads=1).is_device


def test_the_reason_why_the_host_took_over_is_reported():
    loaded = load(
        net_of(("Relu", ["x"], ["y"]), ("Negative", ["y"], ["z"]), ("Copy", ["i"], ["j"])),
        x=X[None],
        i=X.astype("i4"),
    )
    observation = loaded.observe()
    assert observation.reasons == {
        "ID_0_Relu_y": "only rows and columns",
        "ID_1_Negative_z": "never",
        "ID_2_Copy_j": "its kernel is for other types of elements",
    }
    assert {name: one.own for name, one in observation.kernels.items()} == dict.fromkeys(
        observation.reasons, False
    )
    assert observation.facts("boxed")["backend_summary"] == "boxed: 0 of 3 operators, 3 fell back"
    with pytest.raises(
        ModelError, match=r"--backend boxed computed none of the model's 3 operators .*aten::"
    ) as told:
        require_own(observation, "boxed")
    assert "): its kernel is for other types of elements, never, only rows and columns; choose" in str(
        told.value
    )


def test_observing_leaves_the_blobs_as_they_were():
    net = net_of(("Relu", ["x"], ["x"]), ("Sqr", ["x"], ["y"]))
    loaded = TorchEngine(threads=1, seed=0, backend="builtin").load(None, net, {"x": X})
    loaded.observe()
    assert loaded.output_names() == ["x"]
    np.testing.assert_array_equal(loaded.output("x"), X)


def test_what_is_printed_meanwhile_is_not_lost_afterwards(capfd):
    loaded = TorchEngine(threads=1, seed=0, backend="default").load(
        None, net_of(("Relu", ["x"], ["y"])), {"x": X}
    )
    print("before", flush=True)
    loaded.observe()
    print("after", flush=True)
    assert capfd.readouterr().out == "before\nafter\n"


def convolution(kernel, group=1, dilation=1, order="NCHW", pads=(0, 0, 0, 0)):
    net = net_of(("Conv", ["x", "w", "b"], ["y"]))
    arguments = {"kernel": kernel, "group": group, "dilation": dilation}
    for name, value in arguments.items():
        net.op[0].arg.add(name=name, i=value)
    net.op[0].arg.add(name="order", s=order.encode())
    net.op[0].arg.add(name="pads", ints=pads)
    return net


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"kernel": 3}, None),
        ({"kernel": 3, "pads": (0, 1, 1, 0)}, None),
        ({"kernel": 3, "group": 2}, "NNPACK does not support groups"),
        ({"kernel": 3, "dilation": 2}, "NNPACK needs two dimensions without dilation"),
        ({"kernel": 3, "order": "NHWC"}, "NNPACK needs channels first"),
        ({"kernel": 1, "pads": (1, 1, 1, 1)}, "NNPACK refuses it"),
    ],
    ids=lambda value: str(value),
)
@needs("nnpack")
def test_nnpack_takes_the_convolutions_that_it_can(arguments, reason):
    generator = np.random.default_rng(0)
    net = convolution(**arguments)
    size, group = arguments["kernel"], arguments.get("group", 1)
    x, w = (1, 4, 12, 12), (6, 4 // group, size, size)
    if "order" in arguments:
        x, w = (1, 12, 12, 4), (6, size, size, 4)
    inputs = {"x": x, "w": w, "b": (6,)}
    inputs = {name: generator.standard_normal(shape).astype("f4") for name, shape in inputs.items()}
    found, expected = (
        TorchEngine(1, 0, backend).load(None, net, inputs) for backend in ("nnpack", "default")
    )
    observation = found.observe()
    assert observation.kernels["ID_0_Conv_y"].own == (reason is None)
    assert observation.reasons == ({} if reason is None else {"ID_0_Conv_y": reason})
    assert observation.facts("nnpack")["backend_summary"] == (
        "nnpack: 1 of 1 convolutions" if reason is None else "nnpack: 0 of 1 convolutions, 1 fell back"
    )
    for loaded in (found, expected):
        loaded.run()
    np.testing.assert_allclose(found.output("y"), expected.output("y"), rtol=1e-4, atol=1e-3)


@needs("nnpack")
def test_without_a_bias_it_is_nnpack_all_the_same():
    net = convolution(3)
    del net.op[0].input[2]
    inputs = {"x": np.ones((1, 4, 9, 9), "f4"), "w": np.ones((2, 4, 3, 3), "f4")}
    kernels = TorchEngine(1, 0, "nnpack").load(None, net, inputs).observe().kernels
    assert kernels == {"ID_0_Conv_y": ("aten::_nnpack_spatial_convolution", True)}


@needs("nnpack")
def test_a_kernel_that_is_off_is_not_taken(monkeypatch):
    right = torch._nnpack_spatial_convolution
    monkeypatch.setattr(torch, "_nnpack_spatial_convolution", lambda *inputs: right(*inputs) * 1.01)
    inputs = {"x": np.ones((1, 4, 9, 9), "f4"), "w": np.ones((2, 4, 3, 3), "f4"), "b": np.zeros(2, "f4")}
    loaded = TorchEngine(1, 0, "nnpack").load(None, convolution(3), inputs)
    assert loaded.observe().reasons == {"ID_0_Conv_y": "NNPACK is off by 1.0e-02 of the largest value"}
    loaded.run()
    np.testing.assert_allclose(loaded.output("y"), 36)


@needs("mkl")
@pytest.mark.parametrize("batch", [1, 16])
def test_mkl_leaves_onednn_off_and_the_next_backend_has_it_again(batch):
    inputs = {"x": np.ones((batch, 4, 9, 9), "f4"), "w": np.ones((2, 4, 3, 3), "f4"), "b": np.zeros(2, "f4")}
    kernels = []
    for backend in ("mkl", "onednn", "mkl"):
        loaded = TorchEngine(1, 0, backend).load(None, convolution(3), inputs)
        kernels.append(loaded.observe().kernels["ID_0_Conv_y"].kernel.split(":")[0])
    assert kernels == ["mkl", "onednn", "mkl"]


def test_options_are_those_of_the_backend():
    with pytest.raises(UsageError, match="no backend has the option 'tf23'; known are channels_last, tf32"):
        TorchEngine(1, 0, "default", backend_options=("tf23",))
    assert TorchEngine(1, 0, "default", backend_options=("tf32",)).unused_options == ["tf32"]
    assert set(engine.OPTIONS) == {
        option for name in backends.BACKENDS for option in backends.backend_class(name).options
    }


def on_device_only():
    """The cases that a GPU computes without the host."""
    for case in INDEX:
        with np.load(CASES / case["file"]) as data:
            net = messages.NetDef.FromString(data["net"].tobytes())
            shapes = {
                name: (data[f"in_{index}"].shape, data[f"in_{index}"].dtype.str)
                for index, name in enumerate(case["inputs"])
            }
        # A shape, or how many are wanted, is a value that has to be read where it is an input.
        reads_values = any(one.type in ("Reshape", "TopK") and len(one.input) > 1 for one in net.op)
        if case["expect"] == "ok" and {one.type for one in net.op} <= set(META) and not reads_values:
            yield pytest.param(net, shapes, id=case["id"])


CASES = Path(os.environ.get("CAFFE2_CONFORMANCE_DIR", Path(__file__).parents[4] / "data/caffe2/conformance"))
INDEX = json.loads((CASES / "index.json").read_text())["cases"]
META = cuda_operators.operators("meta")


class MetaBackend(Backend):
    operators = META


@pytest.mark.parametrize("has_constants", [False, True])
@pytest.mark.parametrize(("net", "inputs"), list(on_device_only()))
def test_what_cuda_computes_makes_nothing_on_the_host(net, inputs, has_constants):
    """On torch's device without memory, which refuses tensors of another one as a GPU does."""
    blobs = {
        name: torch.from_numpy(np.zeros(shape, dtype)).to("meta") for name, (shape, dtype) in inputs.items()
    }
    constants = frozenset(list(blobs)[1:]) if has_constants else frozenset()
    loaded = TorchNet(as_written(net), blobs, 0, constants, None, MetaBackend(1))
    loaded.run()
    assert {blob.device.type for blob in blobs.values()} == {"meta"}


@needs("cuda")
@pytest.mark.parametrize("options", [(), ("channels_last", "autotune"), ("tf32",)])
@pytest.mark.parametrize("case", INDEX, ids=[case["id"] for case in INDEX])
def test_cases_on_a_gpu(case, options):
    with np.load(CASES / case["file"]) as data:
        net = messages.NetDef.FromString(data["net"].tobytes())
        inputs = {name: data[f"in_{index}"] for index, name in enumerate(case["inputs"])}
        expected = {name: data[f"out_{index}"] for index, name in enumerate(case["outputs"])}
    engine = TorchEngine(1, 0, "cuda", backend_options=options)
    if case["expect"] == "error":
        with pytest.raises(NetError):
            engine.load(None, net, inputs, frozenset(expected)).run()
        return
    loaded = engine.load(None, net, inputs, frozenset(expected))
    loaded.run()
    assert loaded.device_ns() > 0
    for name, value in expected.items():
        found = loaded.output(name)
        assert found.shape == value.shape
        if case["check"] != "shape":
            tolerance = 1e-2 if "tf32" in options else 1e-3
            np.testing.assert_allclose(found.astype("f8"), value.astype("f8"), rtol=tolerance, atol=tolerance)


@needs("cuda")
def test_kernels_on_a_gpu_are_reported():
    inputs = {"x": np.ones((1, 4, 9, 9), "f4"), "w": np.ones((2, 4, 3, 3), "f4"), "b": np.zeros(2, "f4")}
    engine = TorchEngine(1, 0, "cuda", backend_options=("tf32",))
    observation = engine.load(None, convolution(3), inputs).observe()
    assert observation.facts("cuda")["backend_summary"] == "cuda: 1 of 1 operators"
    assert engine.facts()["cuda_tf32"] is True
    assert engine.facts()["cuda_channels_last"] is False
