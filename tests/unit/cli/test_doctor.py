"""``mlbench doctor``: its table, its document, and the noise figure of this machine."""

import json
from pathlib import Path

import pytest

from benchmarking.cli import commands, doctor
from benchmarking.cli.doctor import Report, Runtime
from benchmarking.driver import noise
from benchmarking.driver.noise import NoiseFigure
from benchmarking.driver.survey import FoundDevice
from benchmarking.platforms.host import examination
from benchmarking.platforms.host.examination import Finding, State
from tests.support import golden

REPORT = Report(
    machine="Linux-x86_64-Intel-Xeon",
    findings=(
        Finding("cores", "2 usable of 2", "one for the programs in turn, another for the harness"),
        Finding("temperature", "unknown", "there is no sensor in /sys/class/thermal", State.UNKNOWN),
        Finding(
            *("SMT", "on", "a thread on the other half of a core makes a program slower", State.HARMFUL),
            ("echo off | sudo tee /sys/devices/system/cpu/smt/control", "leave the sibling idle"),
        ),
        Finding(
            *("other load", "1.9 cores, load 4.2", "programs wait for cores and lose their caches"),
            *(State.HARMFUL, ("stop what takes the cores: evil\x1b]0;title\x07 (90 %)",)),
        ),
    ),
    runtimes=(
        Runtime(
            "onnxruntime", "ONNX Runtime", "1.26.0", "pip install x", "disabled (ORT_DISABLE_TELEMETRY=1)"
        ),
        Runtime("openvino", "OpenVINO", None, "python -m pip install 'ml-benchmark-platform[openvino]'", ""),
        Runtime("litert", "LiteRT", "2.3.0", "pip install x", ""),
    ),
    devices=(
        FoundDevice("host", "Linux-x86_64-Intel-Xeon", "abc", facts={"kernel": "6.1", "logical_cores": 2}),
        FoundDevice("gpu", state="none", reason="there is no NVIDIA driver"),
    ),
    noise=(
        NoiseFigure(10.0, 3, {"cpu": None, "wall": None}),
        NoiseFigure(30.0, 40, {"cpu": 0.0134, "wall": 0.121}),
        NoiseFigure(60.0, 83, {"cpu": 0.0063, "wall": 0.0712}),
    ),
)


@pytest.fixture(autouse=True)
def _briefly(monkeypatch):
    monkeypatch.setattr(examination, "OBSERVED_S", 0.1)
    monkeypatch.setattr(noise, "DURATIONS_S", (0.1, 1.5))


def test_the_table(capsys):
    doctor._show(REPORT)
    text = capsys.readouterr().out
    golden.check(text, "doctor/table_80.txt")
    table, advice = text.split("how to mend it")
    assert max(map(len, table.splitlines())) <= 80
    assert "    echo off | sudo tee /sys/devices/system/cpu/smt/control\n" in advice
    assert "\x1b" not in text


def test_this_machine_is_examined(capsys):
    assert commands.main(["doctor", "--json"]) == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert {"cores", "governor", "clock source"} <= {one["name"] for one in report["findings"]}
    assert {one["name"] for one in report["runtimes"]} >= {"caffe2", "onnxruntime", "openvino"}
    assert {one["platform"] for one in report["devices"]} == {"host", "gpu", "android", "linux"}
    first, last = report["noise"]
    assert first == {"duration_s": 0.1, "pairs": first["pairs"], "smallest_change": first["smallest_change"]}
    assert last["pairs"] >= first["pairs"]
    assert {*last["smallest_change"]} == {"cpu", "wall"}
    assert report["noise_unknown"] == ""
    assert captured.err == "measuring the smallest change that can be found here: 1.5 s ...\n"


def test_the_command_of_the_documentation(capsys):
    page = Path(__file__).parents[3] / "docs/doctor.md"
    command = page.read_text(encoding="utf-8").partition("```sh\n")[2].partition("\n")[0]
    assert commands.main(command.split()[1:]) == 0
    captured = capsys.readouterr()
    assert "smallest change that can be found: unknown: it was not measured (--quick)" in captured.out
    assert captured.err == ""


def test_what_cannot_be_measured_is_no_failure(capsys, monkeypatch):
    monkeypatch.setattr(noise, "PROGRAM", "benchmarking.nonesuch")
    assert commands.main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["noise"] is None
    assert "it does not speak the worker protocol" in report["noise_unknown"]


def test_what_is_missing_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(doctor, "installed_version", lambda module: None)
    runtimes = {one.name: one for one in doctor._runtimes()}
    assert runtimes["openvino"].version is None
    assert runtimes["openvino"].install.endswith("requirements-openvino.txt")


@pytest.mark.parametrize(("pairs", "found"), [(3, False), (40, True)])
def test_the_smallest_change_follows_from_the_scatter(pairs, found):
    scatter = [0.01 * (-1) ** number * (1 + number / pairs) for number in range(pairs)]
    smallest = noise._smallest_change(scatter)
    assert (smallest is not None) == found
    if found:
        assert noise._smallest_change([2 * one for one in scatter]) == pytest.approx(2 * smallest, rel=0.02)
        assert noise._smallest_change([one + 0.5 for one in scatter]) == pytest.approx(smallest)
