"""Reads and runs the cases of real Caffe2; without pytest, as benchmarks/gpu.py does the same on a card."""

import json
import os
from pathlib import Path

import numpy as np

from benchmarking.frameworks.caffe2.program.caffe2_benchmark import messages
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine.engine import TorchEngine

CASES = Path(os.environ.get("CAFFE2_CONFORMANCE_DIR", Path(__file__).parents[4] / "data/caffe2/conformance"))
INDEX = json.loads((CASES / "index.json").read_text())["cases"]


def read(case):
    with np.load(CASES / case["file"]) as data:
        inputs = {name: data[f"in_{index}"] for index, name in enumerate(case["inputs"])}
        expected = {name: data[f"out_{index}"] for index, name in enumerate(case["outputs"])}
        return data["net"].tobytes(), inputs, expected


MODES = ("all blobs fed", "weights", "fused")
"""How the blobs come: into operators that may get others in every run, or from an init net, as constants."""

FILLS = {
    "float32": ("GivenTensorFill", "floats"),
    "float64": ("GivenTensorDoubleFill", "floats"),
    "int32": ("GivenTensorIntFill", "ints"),
    "int64": ("GivenTensorInt64Fill", "ints"),
    "bool": ("GivenTensorBoolFill", "ints"),
}


def as_weights(net, inputs):
    """An init net that fills every blob but the first that is read, as far as there is a fill of its type."""
    init = messages.NetDef(name="weights")
    for name, array in inputs.items():
        if name not in net.op[0].input[:1] and array.dtype.name in FILLS:
            type_, field = FILLS[array.dtype.name]
            definition = init.op.add(type=type_, output=[name])
            definition.arg.add(name="shape", ints=array.shape)
            definition.arg.add(name="values", **{field: (array.reshape(-1) + 0).tolist()})
    filled = {name for one in init.op for name in one.output}
    return init, {name: array for name, array in inputs.items() if name not in filled}


def load(net_bytes, inputs, outputs, mode, backend):
    net = messages.NetDef.FromString(net_bytes)
    init = None
    if mode != "all blobs fed":
        init, inputs = as_weights(net, inputs)
    optimize = "fuse" if mode == "fused" else "none"
    engine = TorchEngine(threads=1, seed=0, backend=backend, optimize=optimize)
    return engine.load(init, net, inputs, frozenset(outputs))


def run(net_bytes, inputs, outputs, mode, backend="builtin"):
    loaded = load(net_bytes, inputs, outputs, mode, backend)
    loaded.run()
    return {name: loaded.output(name) for name in outputs}


def require_same(case, found, expected, tolerance):
    """``tolerance``: of the largest value, beyond that of the case."""
    for name, value in found.items():
        assert value.shape == expected[name].shape
        if case["check"] == "shape":
            continue
        assert value.dtype == expected[name].dtype
        if value.dtype == bool:
            np.testing.assert_array_equal(value, expected[name])
            continue
        value, wanted = value.astype("f8"), expected[name].astype("f8")
        finite = wanted[np.isfinite(wanted)]
        atol = max(case["tol"]["atol"], tolerance * np.abs(finite).max(initial=0))
        np.testing.assert_allclose(value, wanted, rtol=case["tol"]["rtol"], atol=atol)
