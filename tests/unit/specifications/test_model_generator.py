"""The committed nets and golden files can be made again."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarking.frameworks import tensor_file

ROOT = Path(__file__).parents[3]
MODELS = Path("specifications/models/caffe2")
TRAINED = [ROOT / MODELS / "lenet/init_net.pb", *(ROOT / MODELS / "lenet/golden").glob("digit_*_input.txt")]
NETS = [path for path in (ROOT / MODELS).glob("*/*.pb") if path not in TRAINED]
GOLDEN = [path for path in (ROOT / MODELS).glob("**/golden/*") if path.suffix in (".txt", ".npy")]
GOLDEN_OUTPUTS = [path for path in GOLDEN if path.stem.endswith("_output")]
GOLDEN_INPUTS = [path for path in GOLDEN if path not in (*GOLDEN_OUTPUTS, *TRAINED)]


def generate(copy, missing, *arguments):
    """Runs the generator in a copy of the repository without the files ``missing``; returns each pair."""
    for part in ("specifications", "benchmarking/frameworks/caffe2/program"):
        shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("*cache*"))
    pairs = [(copy / path.relative_to(ROOT), path) for path in missing]
    for made, _ in pairs:
        made.unlink()
    subprocess.run([sys.executable, copy / MODELS / "gen_caffe2_models.py", *arguments], check=True)
    return pairs


def test_nets_and_golden_inputs_are_the_same_bytes_again(tmp_path):
    assert len(NETS) > 30
    assert len(GOLDEN_INPUTS) >= 5
    for made, committed in generate(tmp_path, [*NETS, *GOLDEN_INPUTS]):
        assert made.read_bytes() == committed.read_bytes(), committed


@pytest.mark.skipif(
    "CAFFE2_PYTHON" not in os.environ, reason="CAFFE2_PYTHON names no interpreter with real Caffe2"
)
def test_golden_outputs_are_what_real_caffe2_gives(tmp_path):
    """Other processors round otherwise."""
    assert len(GOLDEN_OUTPUTS) > 20
    pairs = generate(tmp_path, GOLDEN_OUTPUTS, "--caffe2_python", os.environ["CAFFE2_PYTHON"])
    for made, committed in pairs:
        expected = tensor_file.read(committed)
        grey_level_or_rounding = 1 if committed.suffix == ".npy" else 1e-5 * np.abs(expected).max()
        np.testing.assert_allclose(
            tensor_file.read(made), expected, atol=grey_level_or_rounding, rtol=2e-5, err_msg=str(committed)
        )
