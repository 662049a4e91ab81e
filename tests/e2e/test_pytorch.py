"""PyTorch through the harness: golden outputs, A/B and several backends."""

import json
import re
import sys

import pytest

from tests.support.workshop import COMMIT, OLDER, ROOT

pytest.importorskip("torch")

LENET = ROOT / "specifications/models/pytorch/lenet/lenet.json"


def chosen(*identifiers, **info):
    tests = [
        {"net": "lenet", "metric": "delay" if one.startswith("delay") else "error", "identifier": one}
        for one in identifiers
    ]
    return json.dumps({"treatment": COMMIT, "tests": tests, **info})


def run(workshop, *arguments, info):
    document, done = workshop.json("--framework", "pytorch", *arguments, "--info", info, benchmark=LENET)
    assert done.returncode == 0, done.stderr
    return document["results"]


def test_the_quick_start_gives_the_golden_outputs_and_times_operators(workshop):
    golden, delay = run(workshop, info=chosen("golden-0", "delay-5"))
    assert (golden["failure"], delay["failure"]) == (None, None)
    (error,) = (one["error"] for one in golden["types"])
    assert error["max_absolute"] < 1e-6
    program = delay["meta"]["program"]
    assert program["engine"] == "pytorch"
    assert program["python_executable"] == sys.executable
    operators = [one for one in delay["types"] if one["type"].startswith("ID_")]
    assert any("Linear_fc3" in one["type"] for one in operators)
    assert all(len(one["values"]) == 50 for one in operators)


def test_ab_has_the_operators(workshop):
    arguments = ("--ab_pairs", "1", "--canary", "off", "--ab_mode", "iteration")
    (result,) = run(workshop, *arguments, info=chosen("delay-6", control=OLDER))
    operators = [one for one in result["types"] if one["type"].startswith("ID_")]
    assert operators
    assert all(len(one["values"]) == len(one["control_values"]) > 0 for one in operators)
    assert result["meta"]["control_program"]["load_ns"] > 0


def test_backends_are_compared(workshop):
    results = run(workshop, "--backend", "eager,channels_last", "--blocks", "1", info=chosen("delay-5"))
    assert [one["meta"]["backend"] for one in results] == ["eager", "channels_last"]
    assert [one["meta"]["program"]["way"] for one in results] == ["eager", "channels_last"]


def test_the_page_shows_the_quick_start():
    (commands,) = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/pytorch.md").read_text(), flags=re.DOTALL)
    suite = re.search(r"--framework pytorch --benchmark_file (\S+)", commands)[1]
    (model,) = json.loads((ROOT / suite).read_text())["benchmarks"]
    assert (ROOT / suite).parent.joinpath(model).resolve() == LENET
