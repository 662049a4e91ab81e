"""ONNX models through the harness whose weights lie in files of their own."""

import numpy as np
import pytest

from tests.support import onnx_models

pytest.importorskip("onnxruntime")


def test_weights_beside_the_model_are_found(workshop):
    """With names that the model cache changes: the file of the weights keeps its own."""
    (workshop.directory / "linear.onnx").write_bytes(
        onnx_models.with_weights_in("w.data").SerializeToString()
    )
    (workshop.directory / "w.data").write_bytes(np.full(6, 2, np.float32).tobytes())
    (workshop.directory / "x.txt").write_text("1 2 3")
    (workshop.directory / "y.txt").write_text("13 14")
    benchmark = workshop.benchmark(
        {
            "metric": "error",
            "iter": 1,
            "inputs": {"x": {"shapes": [[1, 3]]}},
            "input_files": {"x": "x.txt"},
            "output_files": {"y": "y.txt"},
            "tolerance": {"atol": 1e-6},
        },
        name="linear",
        format="onnx",
        files={"model": {"filename": "linear.onnx", "location": "linear.onnx"}},
    )
    document, done = workshop.json("--framework", "onnxruntime", benchmark=benchmark)
    assert done.returncode == 0, done.stderr
    assert document["results"][0]["types"][0]["error"]["max_absolute"] == 0
    (workshop.directory / "w.data").unlink()
    document, _ = workshop.json("--framework", "onnxruntime", benchmark=benchmark)
    assert "there is no file" in document["results"][0]["failure"]["message"]
