"""Specifications, nets and golden files as they are committed."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarking.frameworks import tensor_file
from benchmarking.frameworks.caffe2.program.caffe2_benchmark import net_file
from benchmarking.frameworks.frameworks import FRAMEWORKS
from benchmarking.frameworks.kit import onnx_file, tflite_file
from benchmarking.frameworks.pytorch.program import model_file
from benchmarking.specs.expand import expand
from benchmarking.specs.reader import read_benchmarks

SPECIFICATIONS = Path(__file__).parents[3] / "specifications"
MODELS = SPECIFICATIONS / "models/caffe2"
SUITES = SPECIFICATIONS / "benchmarks/caffe2"
FILES = sorted([*SPECIFICATIONS.glob("models/**/*.json"), *SPECIFICATIONS.glob("benchmarks/**/*.json")])
FILES = [path for path in FILES if "golden" not in path.parts]
OFFLINE = [*sorted(MODELS.glob("*/*_synthetic.json")), MODELS / "lenet/lenet.json"]
GOLDEN_CASES = [
    case for path in OFFLINE for case in expand(read_benchmarks(path), None) if case.metric == "error"
]

IMAGE = {"shapes": [[1, 3, 224, 224]], "type": "float"}
ZOO = {
    "bvlc_alexnet": ("85eddd88e17abaac31dba6408d1953bb", "e1414dd8979f06db0374794a6c24776f", {"data": IMAGE}),
    "bvlc_googlenet": (
        "5b002c7f5528029d77d650c872696ea4",
        "8b18c0c6d4cc85eca157b0e8d81e2f94",
        {"data": IMAGE},
    ),
    "bvlc_reference_caffenet": (
        "1c2b24cafc6e6013152184c765ce8fe9",
        "165ea54221cc40ec7f14e518178d6845",
        {"data": IMAGE},
    ),
    "bvlc_reference_rcnn_ilsvrc13": (
        "b58cdeed9d117ebf31badc87e7edf71e",
        "960b6ea7a44230d75ff95a737904bd43",
        {"data": IMAGE},
    ),
    "densenet121": ("b61a2e3c32d7f14324fa4373b09a9e01", "f53cb9ef2ceb556770e3609510bdf37d", {"data": IMAGE}),
    "inception_v1": ("444c31e8f4040a1ed243c669a8088ee9", "b1167d7c6e8915176417557c628d3ae7", {"data": IMAGE}),
    "inception_v2": ("8af24bc1ff981dcc18526b9b7e6a69be", "f2e45908788017f6218e88503146f9fa", {"data": IMAGE}),
    "resnet50": (
        "39b37229696842b43ca764198afca9d0",
        "95eae1836d0a0ddb3aaa649667b9a5bd",
        {"gpu_0/data": IMAGE},
    ),
    "shufflenet": (
        "b4769da2f2090e2b5a87347bb35b274d",
        "711758bb6d38ca8f74adda2fe72340a9",
        {"gpu_0/data": IMAGE},
    ),
    "squeezenet": (
        "a589d31d93c44d353ae2cd92af4d5a3f",
        "694bfdd02e9ccb57bfc4acb451fbfb2d",
        {"data": {"shapes": [[1, 3, 30, 30], [64, 3, 30, 30], [1, 3, 224, 224]], "type": "float"}},
    ),
    "style_transfer": (
        "eb2fd0b370d1840b79af5b185ea10df7",
        "63d3ed009753843ff45cbb6eee1152ae",
        {"data_int8_bgra": {"shapes": [[1, 640, 360, 4]], "type": "uint8_t"}},
    ),
    "vgg16": ("22b9f99a54f832a8d1b7b83214a31716", "e556e4623a61b1ce05c13ffa0520ee2e", {"gpu_0/data": IMAGE}),
    "vgg19": ("9f85a47c433ba97bafebd263af50d2fe", "1f66f287e43b2c1197d2d28533d4700e", {"data": IMAGE}),
}
"""Of each net of the zoo: MD5 of the init net and the predict net, inputs."""

REBUILT = ("resnet50", "shufflenet", "vgg16")
"""Their predict nets are ours: the zoo's bytes are not known."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_specification_is_valid_and_its_files_are_what_it_says(path):
    for case in expand(read_benchmarks(path), None):
        assert any(can_run(name, case) for name in FRAMEWORKS)
        for name in case.formats:
            require_intact(case.in_first_format_of([name]))


def can_run(framework, case):
    kind = FRAMEWORKS[framework]
    chosen = case.in_first_format_of(kind.formats)
    return chosen.model.format in kind.formats and kind().check(chosen) == []


def require_intact(case):
    for key, location in case.model_files.items():
        if not location.is_url:
            content = location.path.read_bytes()
            assert hashlib.md5(content).hexdigest() == case.model.files[key].md5
            assert hashlib.sha256(content).hexdigest() == case.model.files[key].sha256
            if case.model.format == "caffe2":
                assert net_file.read(str(location.path), key).op
            elif case.model.format == "onnx":
                assert onnx_file.read(str(location.path)).operators
            elif case.model.format == "tflite":
                assert tflite_file.read(str(location.path)).operators
            elif case.model.format == "pytorch":
                assert model_file.read(str(location.path)).signature.outputs


@pytest.mark.parametrize("name", ZOO)
def test_every_net_of_the_zoo_is_downloaded_as_the_zoo_has_it(name):
    init, predict, inputs = ZOO[name]
    folder = "style_transfer/animals" if name == "style_transfer" else name
    specification = json.loads((MODELS / name / f"{name}.json").read_text())
    for key, digest in (("init", init), ("predict", predict)):
        assert specification["model"]["files"][key] == {
            "filename": f"{key}_net.pb",
            "location": f"https://s3.amazonaws.com/download.caffe2.ai/models/{folder}/{key}_net.pb",
            "md5": digest,
        }
    (delay,) = (test for test in specification["tests"] if test["metric"] == "delay")
    assert delay["inputs"] == inputs


@pytest.mark.parametrize("name", [name for name in ZOO if name not in REBUILT])
def test_the_predict_net_beside_synthetic_weights_is_the_zoos(name):
    content = (MODELS / name / "predict_net.pb").read_bytes()
    assert hashlib.md5(content).hexdigest() == ZOO[name][1]


def suite(name):
    benchmarks = json.loads((SUITES / f"{name}.json").read_text())["benchmarks"]
    return {(SUITES / one).resolve() for one in benchmarks}


def test_the_suites_list_every_net():
    assert {MODELS / name / f"{name}.json" for name in ZOO} <= suite("cnn") | suite("cnn-mobile")
    assert suite("synthetic") == set(MODELS.glob("*/*_synthetic.json"))


@pytest.mark.parametrize("name", ["synthetic", "quickstart"])
def test_the_offline_suites_download_nothing(name):
    for case in expand(read_benchmarks(SUITES / f"{name}.json"), None):
        assert not any(location.is_url for location in case.model_files.values())


def test_committed_files_are_small():
    sizes = {
        path: path.stat().st_size
        for path in SPECIFICATIONS.rglob("*")
        if path.is_file() and not any("cache" in part for part in path.relative_to(SPECIFICATIONS).parts)
    }
    assert max(sizes.values()) < 600_000
    nets = [path for path in sizes if path.suffix == ".pb" and path.parent.name != "lenet"]
    assert max(sizes[path] for path in nets) < 100_000
    assert sum(size for path, size in sizes.items() if "golden" in path.parts) < 1_000_000


@pytest.mark.parametrize("case", GOLDEN_CASES, ids=lambda case: f"{case.model.name}-{case.identifier}")
def test_golden_files_fit_their_inputs_and_outputs(case):
    for blob in case.inputs:
        assert tensor_file.read(blob.file.path).size == np.prod(blob.shape)
    for name, location in case.golden_files.items():
        values = tensor_file.read(location.path)
        assert np.isfinite(values).all()
        if "softmax" in name or name == "prob":
            assert values.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    "case",
    [case for case in GOLDEN_CASES if case.model.name.endswith("_synthetic")],
    ids=lambda case: case.model.name,
)
def test_synthetic_outputs_are_neither_saturated_nor_all_the_same(case):
    """Else they would say nothing about the layers before."""
    for name, location in case.golden_files.items():
        values = tensor_file.read(location.path)
        assert values.std() > 0.01 * np.abs(values).mean()
        if "softmax" in name or name == "prob":
            assert values.max() < 0.1
            assert len(set(values)) > 0.95 * values.size


def test_golden_digits_are_the_labels_of_the_images():
    golden = MODELS / "lenet/golden"
    facts = json.loads((golden / "labels.json").read_text())
    for number, label in enumerate(facts["labels"]):
        values = [float(line) for line in (golden / f"digit_{number}_output.txt").read_text().split()]
        assert values.index(max(values)) == label
    assert facts["held_out_accuracy"] > 0.9
