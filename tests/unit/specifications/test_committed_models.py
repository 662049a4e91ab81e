import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarking.frameworks.caffe2.caffe2 import Caffe2
from benchmarking.frameworks.caffe2.program.caffe2_benchmark import net_file
from benchmarking.specs.expand import expand
from benchmarking.specs.reader import read_benchmarks

SPECIFICATIONS = Path(__file__).parents[3] / "specifications"
FILES = sorted([*SPECIFICATIONS.glob("models/**/*.json"), *SPECIFICATIONS.glob("benchmarks/**/*.json")])
FILES = [path for path in FILES if "golden" not in path.parts]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_specification_is_valid_and_its_files_are_what_it_says(path):
    cases = expand(read_benchmarks(path), None)
    framework = Caffe2()
    for case in cases:
        assert framework.check(case) == []
        for key, location in case.model_files.items():
            if not location.is_url:
                content = location.path.read_bytes()
                assert hashlib.md5(content).hexdigest() == case.model.files[key].md5
                assert hashlib.sha256(content).hexdigest() == case.model.files[key].sha256
                assert net_file.read(str(location.path), key).op


def test_committed_files_are_small():
    sizes = {path: path.stat().st_size for path in SPECIFICATIONS.rglob("*") if path.is_file()}
    assert max(sizes.values()) < 500_000
    assert sizes[SPECIFICATIONS / "models/caffe2/squeezenet/synthetic_init_net.pb"] < 100_000


def test_golden_digits_are_the_labels_that_the_model_was_told():
    golden = SPECIFICATIONS / "models/caffe2/lenet/golden"
    facts = json.loads((golden / "labels.json").read_text())
    for number, label in enumerate(facts["labels"]):
        values = [float(line) for line in (golden / f"digit_{number}_output.txt").read_text().split()]
        assert values.index(max(values)) == label
    assert facts["held_out_accuracy"] > 0.9


@pytest.mark.skipif(
    "CAFFE2_PYTHON" not in os.environ, reason="CAFFE2_PYTHON names no interpreter with real Caffe2"
)
def test_the_generator_gives_the_same_bytes_again(tmp_path):
    copy = tmp_path / "repository"
    shutil.copytree(SPECIFICATIONS, copy / "specifications")
    program = "benchmarking/frameworks/caffe2/program"
    shutil.copytree(SPECIFICATIONS.parent / program, copy / program)
    models = copy / "specifications/models/caffe2"
    subprocess.run(
        [sys.executable, models / "gen_caffe2_models.py", "--caffe2_python", os.environ["CAFFE2_PYTHON"]],
        check=True,
    )
    for path in models.rglob("*"):
        if path.suffix in (".pb", ".txt"):
            assert (
                path.read_bytes() == (SPECIFICATIONS / path.relative_to(copy / "specifications")).read_bytes()
            )
