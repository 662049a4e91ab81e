"""docs/writing_a_backend.md: its example computes what the others do; docs/caffe2.md names every backend."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarking.frameworks.caffe2.program.caffe2_benchmark import errors, messages, net_file
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine import backends
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine.engine import TorchEngine

ROOT = Path(__file__).parents[3]
LENET = ROOT / "specifications/models/caffe2/lenet"
CASES = ROOT / "tests/data/caffe2/conformance"
INDEX = json.loads((CASES / "index.json").read_text())["cases"]


@pytest.fixture
def numpy_engine(monkeypatch):
    from tests.support import doc_examples

    module = doc_examples.module_of("writing_a_backend.md")
    monkeypatch.setitem(sys.modules, "documented_backend", module)
    monkeypatch.setitem(backends.BACKENDS, "numpy", ("documented_backend", "Numpy"))
    return TorchEngine(threads=1, seed=0, backend="numpy")


def test_the_example_runs_lenet_and_proves_it(numpy_engine):
    nets = [net_file.read(str(LENET / name), name) for name in ("init_net.pb", "predict_net.pb")]
    image = np.random.default_rng(0).random((1, 1, 28, 28), dtype=np.float32)
    outputs = []
    for engine in (numpy_engine, TorchEngine(threads=1, seed=0, backend="default")):
        loaded = engine.load(*nets, {"data": image})
        observation = loaded.observe()
        loaded.run()
        outputs.append(loaded.output("softmax"))
        if engine is numpy_engine:
            assert observation.own == ["ID_4_FC_fc3", "ID_5_Relu_fc3", "ID_6_FC_pred"]
            assert observation.facts("numpy")["backend_summary"] == "numpy: 3 of 8 operators, 5 fell back"
    np.testing.assert_allclose(*outputs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("case", INDEX, ids=[case["id"] for case in INDEX])
def test_the_example_computes_what_real_caffe2_does(numpy_engine, case):
    with np.load(CASES / case["file"]) as data:
        net = messages.NetDef.FromString(data["net"].tobytes())
        inputs = {name: data[f"in_{index}"] for index, name in enumerate(case["inputs"])}
        expected = {name: data[f"out_{index}"] for index, name in enumerate(case["outputs"])}
    if case["expect"] == "error":
        with pytest.raises(errors.NetError):
            numpy_engine.load(None, net, inputs).run()
        return
    loaded = numpy_engine.load(None, net, inputs)
    loaded.run()
    for name, value in expected.items():
        found = loaded.output(name)
        assert found.shape == value.shape
        if case["check"] != "shape":
            np.testing.assert_allclose(found.astype("f8"), value.astype("f8"), **case["tol"])


def test_the_table_of_backends_has_them_all():
    text = (ROOT / "docs/caffe2.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|$", text, flags=re.MULTILINE)
    documented = {name for name, torch_engine, _ in rows if torch_engine.strip() != "-"}
    assert documented == set(backends.BACKENDS) - {"builtin"}
