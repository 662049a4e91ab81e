"""The models with which ONNX's own package tests runtimes: right answers, or one line that says why not."""

import os
from pathlib import Path

import numpy as np
import pytest

from benchmarking.frameworks.kit.errors import ModelError
from benchmarking.frameworks.onnxruntime.program.onnxruntime_program import (
    OnnxRuntimeProgram,
    OnnxRuntimeSettings,
)
from benchmarking.frameworks.openvino.program.openvino_program import OpenVinoProgram, OpenVinoSettings

onnx = pytest.importorskip("onnx")
DATA = Path(onnx.__file__).parent / "backend/test/data"
DIRECTORIES = sorted([*DATA.glob("simple/*"), *DATA.glob("pytorch-*/*")])
RUNTIMES = {
    "onnxruntime": (OnnxRuntimeProgram, OnnxRuntimeSettings, 95),
    "openvino": (OpenVinoProgram, OpenVinoSettings, 115),
}
"""The last: how many of the 140 models run at least. The others have operators, or versions of operators, that
the runtime does not have."""


def values(directory, infos, kind):
    """The tensors among the inputs or outputs; sequences are left out."""
    files = [
        (one.name, directory / f"test_data_set_0/{kind}_{number}.pb") for number, one in enumerate(infos)
    ]
    tensors = {one.name for one in infos if one.type.HasField("tensor_type")}
    return {
        name: np.array(onnx.numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes())))
        for name, path in files
        if name in tensors
    }


def require_same(found, expected):
    assert found.shape == expected.shape
    if expected.dtype.kind in "OSU":
        assert [str(one) for one in found.flat] == [
            one.decode() if isinstance(one, bytes) else str(one) for one in expected.flat
        ]
    else:  # OpenVINO computes 64-bit floats in 32 bits, which have a largest number
        largest = np.finfo("f4").max
        pair = (one.astype("f8").clip(-largest, largest) for one in (found, expected))
        np.testing.assert_allclose(*pair, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_right_or_refused(runtime):
    pytest.importorskip(runtime)
    program, settings, least = RUNTIMES[runtime]
    right = []
    for directory in DIRECTORIES:
        path = directory / "model.onnx"
        graph = onnx.load(path).graph
        weights = {one.name for one in graph.initializer}
        inputs = values(directory, [one for one in graph.input if one.name not in weights], "input")
        try:
            loaded = program().prepare(settings(model=os.fspath(path))).load(inputs, frozenset())
            loaded.run()
        except ModelError as error:
            assert "\n" not in str(error)
            continue
        for name, expected in values(directory, graph.output, "output").items():
            require_same(loaded.output(name), expected)
        right.append(directory.name)
    assert len(right) >= least
