"""Every operator against the results of real Caffe2 (torch 1.10.2), expected errors included."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from benchmarking.frameworks.caffe2.program.caffe2_benchmark import messages
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.errors import NetError
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine.engine import TorchEngine

CASES = Path(os.environ.get("CAFFE2_CONFORMANCE_DIR", Path(__file__).parents[4] / "data/caffe2/conformance"))
INDEX = json.loads((CASES / "index.json").read_text())["cases"]


def run(net_bytes, inputs, outputs):
    net = messages.NetDef.FromString(net_bytes)
    loaded = TorchEngine(threads=1, seed=0, backend="builtin").load(None, net, inputs)
    loaded.run()
    return {name: loaded.blob(name) for name in outputs}


@pytest.mark.parametrize("case", INDEX, ids=[case["id"] for case in INDEX])
def test_case(case):
    with np.load(CASES / case["file"]) as data:
        inputs = {name: data[f"in_{index}"] for index, name in enumerate(case["inputs"])}
        expected = {name: data[f"out_{index}"] for index, name in enumerate(case["outputs"])}
        net_bytes = data["net"].tobytes()
    if case["expect"] == "error":
        with pytest.raises(NetError):
            run(net_bytes, inputs, expected)
        return
    for name, value in run(net_bytes, inputs, expected).items():
        assert value.shape == expected[name].shape
        if case["check"] == "shape":
            continue
        assert value.dtype == expected[name].dtype
        if value.dtype == bool:
            np.testing.assert_array_equal(value, expected[name])
        else:
            np.testing.assert_allclose(value.astype("f8"), expected[name].astype("f8"), **case["tol"])
