"""Parts of a fused net that oneDNN computes as a whole: what ran is proven, operators are still timed."""

import numpy as np
import pytest
from google.protobuf import text_format

from benchmarking.frameworks.caffe2.program.caffe2_benchmark import messages
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine import compiled, onednn_library
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine.engine import TorchEngine

WEIGHTS = {
    "w1": (16, 3, 1, 1),
    "w2": (16, 1, 3, 3),
    "w3": (8, 16, 1, 1),
    "slope": (8,),
    "fc_w": (10, 16 * 8 * 8),
    "fc_b": (10,),
}
NET = """
    op { type: "Conv" input: ["x", "w1"] output: "expanded" arg { name: "kernel" i: 1 } }
    op { type: "Relu" input: "expanded" output: "expanded" }
    op { type: "Conv" input: ["expanded", "w2"] output: "depthwise"
         arg { name: "kernel" i: 3 } arg { name: "pad" i: 1 } arg { name: "group" i: 16 } }
    op { type: "Relu" input: "depthwise" output: "depthwise" }
    op { type: "Conv" input: ["depthwise", "w3"] output: "a" arg { name: "kernel" i: 1 } }
    op { type: "PRelu" input: ["a", "slope"] output: "p" }
    op { type: "Sigmoid" input: "p" output: "s" }
    op { type: "Conv" input: ["depthwise", "w3"] output: "c" arg { name: "kernel" i: 1 } }
    op { type: "Concat" input: ["c", "s"] output: ["both", "sizes"] }
    op { type: "MaxPool" input: "both" output: "pooled" arg { name: "kernel" i: 2 } arg { name: "stride" i: 2 } }
    op { type: "FC" input: ["pooled", "fc_w", "fc_b"] output: "fc" }
    op { type: "Softmax" input: "fc" output: "answer" }
    external_output: "answer"
"""


@pytest.fixture(autouse=True)
def _onednn_here():
    try:
        onednn_library.Library(1)
    except onednn_library.OnednnError as error:
        pytest.skip(str(error))


def load(optimize, wanted=()):
    random = np.random.RandomState(0)
    init = messages.NetDef()
    for name, shape in WEIGHTS.items():
        definition = init.op.add(type="GivenTensorFill", output=[name])
        definition.arg.add(name="shape", ints=shape)
        definition.arg.add(name="values", floats=random.uniform(-0.5, 0.5, np.prod(shape)).tolist())
    inputs = {"x": random.standard_normal((1, 3, 16, 16)).astype(np.float32)}
    engine = TorchEngine(threads=1, seed=0, backend="default", optimize=optimize)
    loaded = engine.load(init, text_format.Parse(NET, messages.NetDef()), inputs, frozenset(wanted))
    loaded.run()
    return loaded


@pytest.fixture(scope="module")
def plain():
    return load("none")


@pytest.mark.parametrize("wanted", [(), ("depthwise",), ("c", "sizes"), ("*",)])
def test_same_outputs(wanted, plain):
    fused = load("fuse", wanted)
    for _ in range(2):
        fused.run()
    for name in {"answer", *wanted} - {"*"}:
        np.testing.assert_allclose(fused.output(name), plain.output(name), rtol=1e-4, atol=1e-6)


def test_what_nobody_reads_any_more_is_gone():
    fused = load("fuse")
    results = {"depthwise", "p", "s", "both", "sizes", "fc", "answer"}
    assert results.intersection(fused.output_names()) == {"answer"}
    assert results <= set(load("fuse", ["*"]).output_names())


def test_parts_end_at_what_onednn_cannot_compile():
    """Sigmoid is between two parts: Conv to PRelu, and Conv to Softmax."""
    assert load("fuse").facts["operators_compiled_together"] == 9
    assert "operators_compiled_together" not in load("none").facts
    assert load("fuse").facts["onednn_version"].startswith("3.")
    assert load("fuse").warnings == []


def test_each_operator_has_the_kernel_that_was_observed():
    fused = load("fuse")
    kernels = {name.split("_", 2)[2]: one.kernel for name, one in fused.observe().kernels.items()}
    assert list(kernels) == [name.split("_", 2)[2] for name in fused.operator_names]
    assert kernels["Conv+Relu_expanded"].startswith("onednn:")
    assert kernels["Conv+Relu_depthwise"].startswith("onednn:")
    assert kernels["Concat_both"].startswith("onednn:")
    assert kernels["MaxPool_pooled"].startswith("onednn:")
    assert kernels["PRelu_p"].startswith("onednn:")
    assert kernels["Sigmoid_s"] == "aten::sigmoid"
    assert kernels["Softmax_answer"].startswith("onednn:")


def test_operators_are_timed_one_by_one_and_the_net_gives_the_same_afterwards():
    fused = load("fuse")
    before = fused.output("answer").copy()
    for _ in range(2):
        times_ns = fused.run_operators()
        assert len(times_ns) == len(fused.operator_names) == 10
        assert all(one > 0 for one in times_ns)
        np.testing.assert_allclose(fused.output("answer"), before, rtol=1e-4, atol=1e-6)
    fused.run()
    np.testing.assert_array_equal(fused.output("answer"), before)


@pytest.mark.parametrize("keeps", ["an earlier result", "its input"])
def test_operator_by_operator_where_it_would_be_wrong(keeps, plain, monkeypatch):
    """The first part works once and then repeats itself, or overwrites its input."""
    right = compiled.parts

    def parts(*arguments):
        first, *others = right(*arguments)
        results = []

        def compute(x):
            results.append(tuple(one.clone() for one in first.compute(x)))
            x += keeps == "its input"
            return results[0]

        return [first._replace(compute=compute), *others]

    monkeypatch.setattr(compiled, "parts", parts)
    fused = load("fuse")
    fused.run()
    blob = "x" if keeps == "its input" else "depthwise"
    first = "ID_0_Conv+Relu_expanded to ID_5_PRelu_p"
    assert fused.facts["not_compiled_together"] == f"{first}: {blob!r} would be wrong"
    np.testing.assert_allclose(fused.output("answer"), plain.output("answer"), rtol=1e-4, atol=1e-6)


def test_operator_by_operator_where_it_is_missing(plain, monkeypatch):
    monkeypatch.setattr(onednn_library, "NAME", "libdnnl-of-nobody.so.3")
    fused = load("fuse")
    assert "operators_compiled_together" not in fused.facts
    problem = fused.facts["not_compiled_together"]
    assert problem.startswith(
        "oneDNN is not installed (pip install onednn-cpu-gomp): libdnnl-of-nobody.so.3: "
    )
    assert fused.warnings == [f"--optimize fuse computes operators one by one: {problem}"]
    assert "onednn_version" not in fused.facts
    np.testing.assert_allclose(fused.output("answer"), plain.output("answer"), rtol=1e-4, atol=1e-6)
