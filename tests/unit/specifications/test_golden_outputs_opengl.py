"""The zoo's small nets give the golden outputs with the backend opengl, all operators on the device."""

from pathlib import Path

import numpy as np
import pytest

from benchmarking.frameworks import tensor_file
from benchmarking.frameworks.caffe2.caffe2 import Caffe2
from benchmarking.frameworks.caffe2.program.caffe2_benchmark import net_file
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine.backends.opengl import OpenGL
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine.engine import TorchEngine
from benchmarking.frameworks.framework_base import Invocation
from benchmarking.specs.expand import expand
from benchmarking.specs.reader import read_benchmarks
from tests.support.forked_program import run_caffe2

SPECIFICATIONS = Path(__file__).parents[3] / "specifications"
SUITE = SPECIFICATIONS / "benchmarks/caffe2/synthetic.json"
LENET = SPECIFICATIONS / "models/caffe2/lenet/lenet.json"
LARGE = ("vgg16_true_synthetic", "vgg19_synthetic")
"""Ten billion multiplications and more: half a minute each without a GPU."""
CASES = [
    case
    for file in (SUITE, LENET)
    for case in expand(read_benchmarks(file), None)
    if case.metric == "error" and case.model.name not in LARGE
]
ON_THE_HOST = {
    "faster_rcnn_head_synthetic": {"BBoxTransform", "BoxWithNMSLimit", "GenerateProposals", "RoIAlign"}
}
"""Types that have no shader."""
WHY_NOT = OpenGL.why_unavailable()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=f"opengl: {WHY_NOT}")


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.model.name}-{case.identifier}")
def test_outputs_are_within_a_thousandth_of_the_golden_ones(case, tmp_path):
    framework = Caffe2()
    invocation = Invocation(
        case=case,
        launcher=("--engine", "torch"),
        model_files={key: str(location.path) for key, location in case.model_files.items()},
        input_files={blob.name: str(blob.file.path) for blob in case.inputs},
        output_directory=str(tmp_path),
        backend="opengl",
    )
    done = run_caffe2(*framework.compose(invocation).argv)
    assert done.returncode == 0, done.stderr
    for name, golden in case.golden_files.items():
        found, expected = (
            tensor_file.read(path) for path in (tmp_path / framework.output_file(name), golden.path)
        )
        largest = np.abs(expected).max()
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * largest)
        # What it reaches in truth: the tolerance of engines that compute on the host.
        np.testing.assert_allclose(found, expected, rtol=case.tolerance.rtol, atol=case.tolerance.atol)


@pytest.mark.parametrize("name", ["squeezenet", "shufflenet", "faster_rcnn_head", "style_transfer"])
def test_only_operators_without_a_shader_run_on_the_host(name):
    (case,) = [one for one in CASES if one.model.name == f"{name}_synthetic"]
    init, net = (net_file.read(str(case.model_files[key].path), key) for key in ("init", "predict"))
    inputs = {}
    for blob in case.inputs:
        array = (
            np.load(blob.file.path) if blob.file.path.suffix == ".npy" else tensor_file.read(blob.file.path)
        )
        inputs[blob.name] = array.reshape(blob.shape).astype(np.uint8 if blob.type == "uint8_t" else "f4")
    loaded = TorchEngine(threads=1, seed=0, backend="opengl").load(init, net, inputs)
    kernels = loaded.observe().kernels.values()
    types = {one.type for one, kernel in zip(net.op, kernels, strict=True) if not kernel.own}
    assert types == ON_THE_HOST.get(f"{name}_synthetic", set())
