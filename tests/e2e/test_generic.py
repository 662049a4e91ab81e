"""Any program through the harness: the quick start of docs/generic.md, golden outputs and A/B."""

import json
import re
import shlex

from tests.support.workshop import COMMIT, OLDER, ROOT

TEXT = (ROOT / "docs/generic.md").read_text(encoding="utf-8")
EXAMPLE = ROOT / "examples/generic/polynomial.json"


def test_the_quick_start(workshop):
    (command,) = re.findall(r"```sh\npython harness.py (.*?)\n```", TEXT)
    words = [
        str(ROOT / word) if word.startswith("examples/") else word
        for word in shlex.split(command)
        if word != "--screen_reporter"
    ]
    document, done = workshop.json(*words, "--local_reporter", workshop.results, benchmark=EXAMPLE)
    assert done.returncode == 0, done.stderr
    delay, golden = document["results"]
    assert len(delay["types"][0]["values"]) == 20
    assert golden["types"][0]["error"]["max_absolute"] == 0
    assert delay["meta"]["program_command"].endswith("--runs=20 --save=/dev/null")


def test_the_options_that_are_shown_are_those_of_the_example():
    (shown,) = re.findall(r"```json\n(.*?)```", TEXT, flags=re.DOTALL)
    assert json.loads(shown) == json.loads(EXAMPLE.read_text(encoding="utf-8"))["model"]["commands"]


def test_two_versions_are_compared(workshop):
    program = ROOT / "examples/generic/polynomial.py"
    info = json.dumps(
        {
            "treatment": COMMIT,
            "control": OLDER,
            "tests": [{"net": "polynomial", "metric": "delay", "identifier": "delay"}],
        }
    )
    arguments = (
        "--framework",
        "generic",
        "--program",
        program,
        "--ab_pairs",
        "2",
        "--canary",
        "off",
        "--info",
        info,
    )
    document, done = workshop.json(*arguments, benchmark=EXAMPLE)
    assert done.returncode == 0, done.stderr
    (result,) = document["results"]
    (net,) = result["types"]
    assert len(net["values"]) == len(net["control_values"]) == 40
