"""ExecuTorch through the harness: the quick start of docs/executorch.md, where the package is installed."""

import json
import re
import shlex
import subprocess
import sys

import pytest

from tests.support.workshop import COMMIT, ROOT

pytest.importorskip("executorch", reason="executorch is not installed; it takes 1.5 GB")


def test_the_quick_start(workshop):
    (commands,) = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/executorch.md").read_text(), flags=re.DOTALL)
    _, make, run = commands.replace("build/executorch", str(workshop.directory)).splitlines()
    subprocess.run([sys.executable, *shlex.split(make)[1:]], cwd=ROOT, check=True)
    tests = [
        {"net": "lenet", "metric": "error", "identifier": "golden-0"},
        {"net": "lenet", "metric": "delay", "identifier": "delay-6"},
    ]
    _, _, *arguments, _ = shlex.split(run)
    info = json.dumps({"treatment": COMMIT, "tests": tests})
    document, done = workshop.json(*arguments, "--info", info, benchmark=workshop.directory / "lenet.json")
    assert done.returncode == 0, done.stderr
    golden, delay = document["results"]
    assert golden["types"][0]["error"]["max_absolute"] < 1e-6
    assert delay["meta"]["program"]["engine"] == "executorch"
    assert any("Convolution" in one["type"] for one in delay["types"])
