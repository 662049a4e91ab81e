"""Test cases without files, for what only looks at them."""

from pathlib import Path

from benchmarking.specs.expand import InputBlob, TestCase
from benchmarking.specs.location import Location
from benchmarking.specs.model import FileSpec, ModelSpec


def case(framework="caffe2", files=("init", "predict"), **changes):
    specs = {key: FileSpec(filename=f"{key}.pb", location=key, md5="0" * 32) for key in files}
    values = {
        "model": ModelSpec(name="tiny", format=framework, files=specs),
        "specification": Path("tiny.json"),
        "model_files": {key: Location(f"/models/{key}.pb") for key in files},
        "json_path": "$.tests[0]",
        "identifier": "0",
        "metric": "delay",
        "iterations": 3,
        "warmup": 1,
        "inputs": (InputBlob("data", (1, 3), "float"),),
        "golden_files": {},
        "commands": {},
    }
    return TestCase(**(values | changes))
