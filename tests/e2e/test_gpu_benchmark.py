"""benchmarks/gpu.sh, which is for a machine with a card: here on the processor, and with small counts."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks/gpu.sh"
START = [SCRIPT, "--python", sys.executable, "--backend", "default"]
SMALL = [
    *("--every", "60", "--golden", "squeezenet", "--nets", "squeezenet", "--batches", "1", "--size", "32"),
    *("--rounds", "2", "--identical", "1", "--slower", "1", "--block_rounds", "2", "--seconds", "1000"),
]


def findings(folder):
    return [json.loads(line) for line in (folder / "findings.jsonl").read_text().splitlines()]


@pytest.mark.timeout(600)
def test_every_part_is_tried_and_ends_in_a_table(tmp_path):
    done = subprocess.run(
        [*START, "--output", tmp_path, *SMALL], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = findings(tmp_path)
    parts = [one["part"] for one in found]
    assert list(dict.fromkeys(parts)) == [
        *("machine", "conformance", "golden", "clocks", "plain torch", "other frameworks", "comparisons"),
    ]
    assert not any(one["wrong"] for one in found)
    assert [len(one["verdicts"]) for one in found if "verdicts" in one] == [1, 1]
    table = (tmp_path / "table.md").read_text()
    assert table in done.stdout
    assert table.count("\n") == 2 + len(found)


def test_what_was_found_is_kept_where_it_is_stopped(tmp_path):
    with subprocess.Popen(
        [*START, "--output", tmp_path, "--parts", "conformance", "--seconds", "1000"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout.readline().startswith("machine: ")
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
    assert process.returncode == 128 + signal.SIGTERM
    assert [one["part"] for one in findings(tmp_path)][-1] == "stopped"
    assert (tmp_path / "table.md").read_text() in rest


def test_out_of_time_is_a_finding(tmp_path):
    done = subprocess.run(
        [*START, "--output", tmp_path, "--parts", "conformance,golden", "--seconds", "0"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 1
    assert [one["part"] for one in findings(tmp_path) if "time is spent" in one["found"]] == [
        "conformance",
        "golden",
    ]


@pytest.mark.parametrize(
    ("python", "words", "part"),
    [
        ("/nonesuch/python", [], "not a Python 3.11 or newer"),
        (sys.executable, ["--python"], "--python: a value is missing"),
        (sys.executable, ["--parts", "nonsense"], "--parts: nonsense"),
        (sys.executable, ["--backend", "cuda"], "--backend cuda: "),
    ],
)
def test_what_is_missing_is_one_line(tmp_path, python, words, part):
    if words == ["--backend", "cuda"]:
        torch = pytest.importorskip("torch")
        if torch.cuda.is_available():
            pytest.skip("there is a card")
    done = subprocess.run(
        [SCRIPT, "--python", python, *words], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 2
    assert part in done.stderr
    assert "Traceback" not in done.stderr


def test_without_protobuf_it_wants_a_folder_of_wheels(tmp_path):
    """A Python that has torch and numpy only."""
    fake = tmp_path / "python"
    fake.write_text(
        f'#!/bin/sh\ncase "$*" in *"import google.protobuf"*) exit 1 ;; esac\nexec {sys.executable} "$@"\n'
    )
    fake.chmod(0o755)
    environment = {**os.environ, "PIP_CONFIG_FILE": os.devnull}
    for words, part in (
        ([], "has no protobuf; name a folder with its wheel: --wheels"),
        (["--wheels", str(tmp_path)], "protobuf cannot be installed from"),
    ):
        done = subprocess.run(
            [SCRIPT, "--python", fake, *words], capture_output=True, text=True, check=False, env=environment
        )
        assert done.returncode == 2
        assert part in done.stderr
