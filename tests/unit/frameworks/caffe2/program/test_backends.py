"""What the engine torch does around the kernels of a backend, and each backend that is here."""

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pytest
import torch

from benchmarking.frameworks.caffe2.program.caffe2_benchmark import messages
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.errors import NetError
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine import backends
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine.backends.backend import (
    Backend,
    NoKernelError,
)
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine.engine import TorchEngine
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine.registry import (
    FLOAT,
    Registration,
    by_shape,
)


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
    np.testing.assert_array_equal(loaded.blob("out"), np.maximum(X, 0) ** 2)
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
    np.testing.assert_array_equal(loaded.blob("y"), expected)


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
    np.testing.assert_array_equal(loaded.blob("y"), X @ np.array([[1, 2], [3, 4]], np.float32))


def test_an_own_kernel_that_fails_is_an_error_that_names_the_operator(monkeypatch):
    def broken(op):
        def compute(x):
            raise RuntimeError("the device is gone")

        return compute

    operators = {"Relu": Registration(broken, (1, 1), (1, 1), None, FLOAT, False)}
    monkeypatch.setattr(BoxedBackend, "operators", operators)
    with pytest.raises(NetError, match="operator 0, Relu 'y', failed: the device is gone"):
        load(net_of(("Relu", ["x"], ["y"])), x=X)


def test_host_backends_are_no_devices():
    for name in ("builtin", "default"):
        assert not backends.backend_class(name)(threads=1).is_device
    assert BoxedBackend(threads=1).is_device
