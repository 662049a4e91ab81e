"""The backend opengl against the results of real Caffe2: what it computes itself, and what the host does."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from benchmarking.frameworks.caffe2.program.caffe2_benchmark import messages
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.errors import NetError
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine.backends.opengl import OpenGL
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine.engine import TorchEngine

CASES = Path(os.environ.get("CAFFE2_CONFORMANCE_DIR", Path(__file__).parents[4] / "data/caffe2/conformance"))
INDEX = json.loads((CASES / "index.json").read_text())["cases"]
WHY_NOT = OpenGL.why_unavailable()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=f"opengl: {WHY_NOT}")

OWN = {
    *("Add", "Mul", "Sum", "Sub", "Div", "Sigmoid", "Copy", "Reshape", "Flatten", "FlattenToVec", "Squeeze"),
    *("AffineChannel", "AveragePool", "AveragePool2D", "BRGNCHWCToPackedInt8BGRAStylizerDeprocess"),
    *("ChannelShuffle", "Concat", "Conv", "Conv2D", "ConvTranspose", "FC", "FCTransposed", "InstanceNorm"),
    *("LRN", "MaxPool", "MaxPool2D", "PackedInt8BGRANHWCToNCHWCStylizerPreprocess", "PadImage", "PRelu"),
    *("Relu", "Softmax", "SpatialBN", "Dropout"),
}
"""Of these, a case of floats in NCHW has to run on the device, unless it is among the following."""
LEFT_TO_THE_HOST = {
    *("conv_1d", "conv_3d", "maxpool_3d", "averagepool_1d"),
    *("fc_axis2_4d", "fc_axis0", "fc_batch0", "softmax_axis2", "softmax_axis_neg1"),
    *("concat_add_axis0", "concat_int32", "concat_empty_input", "relu_empty", "sum_int"),
    *("add_numpy_both", "sub_numpy_both", "mul_numpy_both", "div_numpy_both"),
    *("add_int64", "mul_double", "reshape_input", "reshape_int32_shape_input", "reshape_zero_size"),
    *("spatialbn_scale_2d", "instancenorm_2d", "avgpool3d_kernel_larger_than_image"),
}


def weights_of(net, inputs):
    """Every float blob but the first that is read is filled by an init net, as weights are."""
    init = messages.NetDef(name="weights")
    for name, array in inputs.items():
        if name not in net.op[0].input[:1] and array.dtype == np.float32:
            definition = init.op.add(type="GivenTensorFill", output=[name])
            definition.arg.add(name="shape", ints=array.shape)
            definition.arg.add(name="values", floats=array.reshape(-1).tolist())
    filled = {name for one in init.op for name in one.output}
    return init, {name: array for name, array in inputs.items() if name not in filled}


def run(case, optimize):
    with np.load(CASES / case["file"]) as data:
        net = messages.NetDef.FromString(data["net"].tobytes())
        inputs = {name: data[f"in_{index}"] for index, name in enumerate(case["inputs"])}
        expected = {name: data[f"out_{index}"] for index, name in enumerate(case["outputs"])}
    init, fed = weights_of(net, inputs)
    engine = TorchEngine(threads=1, seed=0, backend="opengl", optimize=optimize)
    loaded = engine.load(init, net, fed, frozenset(expected))
    with engine._backend.observe() as log:
        loaded.run()
    return net, expected, {name: loaded.output(name) for name in expected}, log


@pytest.mark.parametrize("optimize", ["none", "fuse"])
@pytest.mark.parametrize("case", INDEX, ids=lambda case: case["id"])
def test_case(case, optimize):
    if case["expect"] == "error":
        with pytest.raises(NetError):
            run(case, optimize)
        return
    net, expected, found, log = run(case, optimize)
    for name, value in expected.items():
        assert found[name].shape == value.shape
        if case["check"] == "shape":
            continue
        assert found[name].dtype == value.dtype
        np.testing.assert_allclose(found[name].astype("f8"), value.astype("f8"), **case["tol"])
    assert all(name.startswith("opengl:") for name in log)
    is_channels_last = any(one.s == b"NHWC" for one in net.op[0].arg)
    is_own = len(net.op) == 1 and net.op[0].type in OWN and not is_channels_last
    if is_own:
        assert bool(log) == (case["id"] not in LEFT_TO_THE_HOST)
