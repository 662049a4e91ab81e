"""Every operator against the results of real Caffe2 (torch 1.10.2), expected errors included."""

import numpy as np
import pytest

from benchmarking.frameworks.caffe2.program.caffe2_benchmark import messages
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.errors import NetError
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine.backends import nnpack
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine.engine import TorchEngine
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine.operators import OPERATORS

from .conformance import INDEX, MODES, load, read, require_same, run


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", INDEX, ids=[case["id"] for case in INDEX])
def test_case(case, mode):
    """With weights from an init net, operators pack them; fed, they may be others in every run."""
    net_bytes, inputs, expected = read(case)
    if case["expect"] == "error":
        with pytest.raises(NetError):
            run(net_bytes, inputs, expected, mode)
        return
    require_same(case, run(net_bytes, inputs, expected, mode), expected, 0)


COMPUTED_BY = {
    "onednn": lambda kernel: kernel.startswith("onednn:") and "reorder" not in kernel,
    "mkl": lambda kernel: kernel.startswith("mkl:"),
    "nnpack": lambda kernel: kernel == "aten::_nnpack_spatial_convolution",
}


@pytest.mark.parametrize("mode", ["all blobs fed", "weights"])
@pytest.mark.parametrize("backend", COMPUTED_BY)
@pytest.mark.parametrize("case", INDEX, ids=[case["id"] for case in INDEX])
def test_case_on_backends(case, backend, mode):
    """And it is recorded what computed each operator: a kernel of the backend, or what it fell back to."""
    why_not = TorchEngine.why_unavailable(backend)
    if why_not:
        pytest.skip(why_not)
    net_bytes, inputs, expected = read(case)
    if case["expect"] == "error":
        with pytest.raises(NetError):
            run(net_bytes, inputs, expected, mode, backend)
        return
    loaded = load(net_bytes, inputs, expected, mode, backend)
    kernels = loaded.observe().kernels
    assert list(kernels) == list(loaded.operator_names)
    for one in kernels.values():
        assert one.own == COMPUTED_BY[backend](one.kernel), one
    loaded.run()
    found = {name: loaded.output(name) for name in expected}
    require_same(case, found, expected, nnpack.TOLERANCE if backend == "nnpack" else 0)


@pytest.mark.parametrize(
    "case",
    [case for case in INDEX if case["expect"] == "ok" and len(case["ops"]) == 1],
    ids=lambda case: case["id"],
)
def test_only_operators_that_say_so_give_an_output_in_the_memory_of_an_input(case):
    """Where one does without saying so, writing in place would change another blob."""
    net_bytes, inputs, _ = read(case)
    definition = messages.NetDef.FromString(net_bytes).op[0]
    loaded = TorchEngine(threads=1, seed=0, backend="builtin").load(
        None, messages.NetDef.FromString(net_bytes), inputs
    )
    before = {name: loaded.output(name) for name in definition.input}
    loaded.run()
    for name in set(definition.output) - set(definition.input):
        if name in loaded.output_names() and not OPERATORS[definition.type].shares_memory:
            assert not any(np.shares_memory(loaded.output(name), array) for array in before.values())
