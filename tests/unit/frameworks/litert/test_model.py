"""Models in LiteRT: answers, errors, and what is said of operators."""

import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from benchmarking.frameworks.kit import costs, main
from benchmarking.frameworks.kit.errors import BenchmarkProgramError
from benchmarking.frameworks.kit.flags import parse
from benchmarking.frameworks.kit.job import Job
from benchmarking.frameworks.litert.litert import LiteRt
from benchmarking.frameworks.litert.program import profiler
from benchmarking.frameworks.litert.program.litert_program import LiteRtProgram, LiteRtSettings
from benchmarking.programs.command import Command, Outcome
from tests.support import tflite_models
from tests.support.cases import case

ROWS = ("--input", "x", "--input_dims", "2,3")
PARTLY = ("--input", "x,which", "--input_dims", "2,4;2", "--input_type", "float;int")


@pytest.fixture
def load(tmp_path):
    def load(content, *flags):
        path = tmp_path / "tiny.tflite"
        path.write_bytes(content)
        program, settings = LiteRtProgram(), parse(LiteRtSettings, ["--model", str(path), *flags])
        program.require(settings)
        return Job(program, settings).load()

    return load


def test_the_committed_model_is_what_its_generator_writes():
    assert tflite_models.module("gen_tflite_models").lenet() == tflite_models.LENET.read_bytes()


@pytest.mark.parametrize("backend", ["xnnpack", "builtin"])
def test_an_answer(load, tmp_path, backend):
    values = tmp_path / "x.txt"
    values.write_text("1 2 3 4 5 6")
    loaded = load(tflite_models.linear(), *ROWS, "--input_file", str(values), "--backend", backend)
    loaded.run()
    np.testing.assert_array_equal(loaded.output("y"), [[7, 8], [16, 17]])


def test_tensors_are_known_by_the_names_of_the_signature_and_in_order(load):
    content = tflite_models.linear(aliases=({"args_0": "x"}, {"output_0": "y"}))
    shape = ("--input_dims", "2,3")
    loaded = load(content, "--input", "args_0", *shape, "--output", "output_0")
    assert loaded.output("output_0").shape == (2, 2)
    renamed = load(content, "--input", "data", *shape, "--output", "softmax")
    assert renamed.output("softmax").shape == (2, 2)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--input", "x", "--input_dims", "2,4"), "'x' has the shape [2, 4]; the model has ['any', 3]"),
        (("--input", "z", "--input_dims", "2,4"), "'z' has the shape [2, 4]; the model has ['any', 3]"),
        (("--input", "x,z", "--input_dims", "2,3;1"), "the model tiny has no input 'z'; it has 'x'"),
        (("--input", "x", "--input_dims", "0,3"), "output 'y' has the shape [0, 2]: nothing was computed"),
        ((*ROWS, "--input_type", "int"), "--input_type: 'x' is int32; use float for it"),
        ((*ROWS, "--output", "softmax"), "the model tiny has no output 'softmax'; it has y"),
        ((*ROWS, "--backend_options", "fast"), "LiteRT's backends have no options"),
    ],
)
def test_what_is_wrong_is_one_line(load, flags, message):
    with pytest.raises(BenchmarkProgramError) as caught:
        load(tflite_models.linear(), *flags)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_operator_that_nobody_knows_is_named(load):
    with pytest.raises(BenchmarkProgramError) as caught:
        load(tflite_models.linear(custom="Mystery"), *ROWS)
    assert str(caught.value).startswith("LiteRT cannot run tiny: ")
    assert "Mystery" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_that_is_damaged_is_one_line(load):
    with pytest.raises(BenchmarkProgramError, match=r"LiteRT cannot run tiny: .*'utf-8'"):
        load(tflite_models.linear().replace(b"\0w\0", b"\0\xff\0"), *ROWS)


def test_what_xnnpack_has_no_kernel_for_is_not_its_own(load):
    loaded = load(tflite_models.partly(), *PARTLY)
    observed = loaded.observe()
    assert {name: one.own for name, one in observed.kernels.items()} == {
        "ID_0_LOGISTIC_exponential": True,
        "ID_1_GATHER_rows": False,
        "ID_2_TANH_y": True,
    }
    assert "XNNPACK: " in observed.kernels["ID_0_LOGISTIC_exponential"].kernel
    assert observed.kernels["ID_1_GATHER_rows"].kernel == "builtin: GATHER"
    assert observed.facts("xnnpack")["backend_summary"] == "xnnpack: 2 of 3 operators, 1 fell back"
    assert len(loaded.run_operators()) == 3


def test_costs_are_those_of_the_shapes_that_ran():
    flags = ("--model", str(tflite_models.LENET), "--input", "data", "--input_dims", "2,1,28,28")
    loaded = Job(LiteRtProgram(), parse(LiteRtSettings, flags)).load()
    found = {one.name.split("_", 2)[-1]: costs.cost(one) for one in loaded.operators()}
    assert found["CONV_2D_conv1"] == (520, 2 * 2 * 20 * 24 * 24 * 25, 4 * (2 * 784 + 520 + 2 * 20 * 576))
    assert found["FULLY_CONNECTED_fc3"] == (400_500, 2 * 2 * 800 * 500, 4 * (2 * 800 + 400_500 + 2 * 500))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.parametrize("crash", [lambda: os.kill(os.getpid(), 9), lambda: 1 / 0, list])
def test_a_profile_that_cannot_be_read_costs_the_operators_alone(load, tmp_path, monkeypatch, capsys, crash):
    class Crashing:
        def __init__(self, wanted):
            pass

        def run(self):
            return crash()

    monkeypatch.setattr(profiler, "ProfiledModel", Crashing)
    path = tmp_path / "tiny.tflite"
    path.write_bytes(tflite_models.linear())
    flags = ("--model", str(path), *ROWS, "--iter", "3", "--run_individual", "true")
    assert main.run(LiteRtProgram(), flags) == 0
    outcome = Outcome(Command(("program",)), 0, "", capsys.readouterr().err, 0.1)
    asked = case("tflite", ("model",), commands={"litert": {"run_individual": "true"}})
    report = LiteRt().parse(outcome, asked)
    assert [one.type for one in report.measurements] == ["NET_DELAY"]
    assert report.costs == report.kernels == {}
    (warning,) = report.warnings
    assert warning.startswith("operators are not reported: a process that tried LiteRT's profile ended with ")
    assert load(tflite_models.linear(), *ROWS).run_operators() == []


def test_another_version_is_not_asked_for_its_profile(load, monkeypatch):
    monkeypatch.setattr("ai_edge_litert.__version__", "2.4.0")
    reason = load(tflite_models.linear(), *ROWS).operators_missing
    assert reason.startswith("operators are not reported: only the profile of LiteRT 2.3.* is known")


def test_a_profile_that_is_laid_out_otherwise_is_not_read():
    with pytest.raises(
        profiler.UnreadableProfileError, match="the profile of this LiteRT has another layout"
    ):
        profiler._valid(profiler._Event(b"Conv", 8, 0, 2**63))


OPEN_FILES = Path("/proc/self/fd")


@pytest.mark.skipif(not OPEN_FILES.is_dir(), reason="the system lists no open files")
def test_a_profiled_session_leaves_nothing_behind(tmp_path):
    """Each keeps its model's file open, and takes its memory."""
    path = tmp_path / "tiny.tflite"
    path.write_bytes(tflite_models.linear())
    make = profiler.Maker(str(path), {"x": np.zeros((2, 3), np.float32)}, 1, by_xnnpack=True)
    before = len(list(OPEN_FILES.iterdir()))
    session = make()
    assert session.run()
    assert len(list(OPEN_FILES.iterdir())) > before
    del session
    assert len(list(OPEN_FILES.iterdir())) == before
