"""Files of the later form that other people have, below the directory that SPECIFICATIONS_OF_OTHERS names.

Every test of delays is read and composed; every other test is refused in one line, and no file is faulty.
"""

import json
import os
import re
from pathlib import Path

import pytest

from benchmarking.frameworks.caffe2.caffe2 import Caffe2
from benchmarking.frameworks.framework_base import Invocation
from benchmarking.frameworks.generic.generic import Generic
from benchmarking.specs.expand import expand
from benchmarking.specs.reader import read_benchmarks

DIRECTORY = os.environ.get("SPECIFICATIONS_OF_OTHERS")
FILES = sorted(Path(DIRECTORY).rglob("*.json")) if DIRECTORY else []


@pytest.mark.skipif(not FILES, reason="SPECIFICATIONS_OF_OTHERS names no directory with specifications")
def test_every_test_is_composed_or_refused(tmp_path):
    composed, refused = 0, 0
    for file in FILES:
        tests = json.loads(file.read_text(encoding="utf-8")).get("tests")
        if tests is None:  # a suite
            assert expand(read_benchmarks(file), tmp_path), file
            continue
        cases = expand(read_benchmarks(file), tmp_path)
        assert len(cases) == len(tests), file
        for case, test in zip(cases, tests, strict=True):
            assert (case.refusal is None) == (test["metric"] == "delay"), f"{file}: {case.json_path}"
            if case.refusal is None:
                _check_command(case, test)
                composed += 1
            else:
                assert "\n" not in case.refusal
                refused += 1
    print(f"{composed} tests composed, {refused} refused")
    assert composed


def _check_command(case, test):
    framework = Caffe2() if case.model.format == "caffe2" else Generic()
    assert list(framework.check(case)) == []
    files = {key: f"/device/{key}" for key in case.model_files}
    invocation = Invocation(case=case, launcher=("/device/program",), model_files=files, input_files={})
    argv = framework.compose(invocation).argv
    words = " ".join(argv)
    assert argv[0] == "/device/program"
    assert not re.search(r"\{[A-Za-z_]|\"", words)
    assert all(path in words for path in files.values())
    assert str(test["iter"]) in re.split("[ =]", words)
    mask = test.get("platform_args", {}).get("taskset")
    assert case.affinity_mask == (int(mask, 16) if mask else None)
