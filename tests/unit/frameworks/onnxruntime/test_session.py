"""Models in sessions of ONNX Runtime: answers, errors, and what is said of operators."""

import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper

from benchmarking.frameworks.kit import costs
from benchmarking.frameworks.kit.errors import BenchmarkProgramError, ModelError
from benchmarking.frameworks.kit.flags import parse
from benchmarking.frameworks.kit.job import Job
from benchmarking.frameworks.onnxruntime.program import profile
from benchmarking.frameworks.onnxruntime.program.onnxruntime_program import (
    OnnxRuntimeProgram,
    OnnxRuntimeSettings,
)
from tests.support import onnx_models

LENET = "specifications/models/onnx/lenet/lenet.onnx"


def job(path, *flags):
    settings = parse(OnnxRuntimeSettings, ["--model", str(path), *flags])
    return Job(OnnxRuntimeProgram(), settings)


@pytest.fixture
def load(tmp_path):
    def load(model, *flags):
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return job(path, *flags).load()

    return load


ROWS = ("--input", "x", "--input_dims", "2,3")


def test_an_answer(load, tmp_path):
    values = tmp_path / "x.txt"
    values.write_text("1 2 3 4 5 6")
    loaded = load(onnx_models.linear(), *ROWS, "--input_file", str(values))
    loaded.run()
    assert loaded.output_names() == ("y",)
    np.testing.assert_array_equal(loaded.output("y"), [[7, 8], [16, 17]])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--input", "z", "--input_dims", "2,3"), "the model's input 'x' is not fed"),
        (("--input", "x,z", "--input_dims", "2,3;1"), "has no input 'z'; it has 'x'"),
        (
            ("--input", "x", "--input_dims", "2,4"),
            "'x' has the shape [2, 4]; the model has ['rows', 3]: dimension 1 has to be 3",
        ),
        (
            ("--input", "x", "--input_dims", "3"),
            "'x' has the shape [3]; the model has ['rows', 3]: dimensions have to be 2",
        ),
        ((*ROWS, "--input_type", "int64_t"), "--input_type: 'x' is int64; use float for it"),
        ((*ROWS, "--output", "xw"), "the model tiny has no output 'xw'; it has y"),
        ((*ROWS, "--backend", "fast"), "'fast' is not one of default, extended"),
        ((*ROWS, "--backend", "xnnpack"), "no execution provider xnnpack; compile onnxruntime with it"),
        ((*ROWS, "--backend_options", "tf32"), "the backend default has no option 'tf32'"),
    ],
)
def test_what_is_wrong_is_one_line(load, flags, message):
    with pytest.raises(BenchmarkProgramError) as caught:
        load(onnx_models.linear(), *flags)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_open_dimensions_of_the_same_name_may_have_different_sizes(load):
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    made = onnx_models.model(
        nodes, [onnx_models.tensor("x", ["?", "?"])], [onnx_models.tensor("y", ["?", "?"])]
    )
    loaded = load(made, *ROWS)
    loaded.run()
    assert loaded.output("y").shape == (2, 3)


def test_what_goes_wrong_in_a_run_is_one_line(load, tmp_path):
    nodes = [onnx_models.helper.make_node("Reshape", ["x", "shape"], ["y"])]
    inputs = [
        onnx_models.tensor("x", [2, 3]),
        onnx_models.tensor("shape", [2], onnx_models.TensorProto.INT64),
    ]
    (tmp_path / "x.txt").write_text("1 2 3 4 5 6")
    (tmp_path / "shape.txt").write_text("4 4")
    files = f"{tmp_path}/x.txt,{tmp_path}/shape.txt"
    flags = (
        "--input",
        "x,shape",
        "--input_dims",
        "2,3;2",
        "--input_type",
        "float;int64_t",
        "--input_file",
        files,
    )
    with pytest.raises(ModelError, match=r"ONNX Runtime .* cannot run tiny .*reshaped") as caught:
        load(onnx_models.model(nodes, inputs, [onnx_models.tensor("y", None)]), *flags).run()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "versions", "reason"),
    [
        ({"ir_version": 99}, "IR version 99, opset ai.onnx 17", "Unsupported model IR version: 99"),
        ({"opset": 99}, "IR version 8, opset ai.onnx 99", "99"),
    ],
)
def test_a_model_that_is_too_new_is_reported_with_both_versions(load, changes, versions, reason):
    with pytest.raises(BenchmarkProgramError) as caught:
        load(onnx_models.linear(**changes), *ROWS)
    assert str(caught.value).startswith("ONNX Runtime ")
    assert f"cannot run tiny ({versions}): " in str(caught.value)
    assert reason in str(caught.value).partition("): ")[2]
    assert "\n" not in str(caught.value)


def test_operators_are_timed_later_and_nothing_is_left_on_disk(load, tmp_path, monkeypatch):
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(directory))
    loaded = load(onnx_models.linear(), *ROWS)
    names = ["ID_0_MatMul_product", "ID_1_Add_sum"]
    for runs in (3, 1):
        assert [loaded.run_operators() for _ in range(runs)] == [[]] * runs
        assert list(directory.iterdir()) == []
        times = loaded.take_operator_times()
        assert list(times) == list(loaded.operator_names)
        assert {len(values) for values in times.values()} == {runs}
    assert [name for name in times if "MatMul" in name or "Gemm" in name]
    assert loaded.take_operator_times() == {name: [] for name in times}
    basic = load(onnx_models.linear(), *ROWS, "--backend", "disabled")
    assert list(basic.operator_names) == names


def test_a_long_profile_is_closed_in_between(load, monkeypatch):
    monkeypatch.setattr("benchmarking.frameworks.onnxruntime.program.session.MOST_EVENTS", 5)
    loaded = load(onnx_models.linear(), *ROWS)
    for _ in range(7):
        loaded.run_operators()
    assert {len(values) for values in loaded.take_operator_times().values()} == {7}


def test_an_operator_with_graphs_is_one_operator(load):
    flags = ("--input", "x,which", "--input_dims", "4;1", "--input_type", "float;bool")
    loaded = load(onnx_models.branches(), *flags, "--backend", "disabled")
    assert list(loaded.operator_names) == ["ID_0_Exp_Exp_0", "ID_1_If_choice", "ID_2_Sqrt_Sqrt_2"]
    loaded.run_operators()
    assert {len(values) for values in loaded.take_operator_times().values()} == {1}


def test_costs_are_those_of_what_ran():
    def flops(backend):
        loaded = job(LENET, "--input", "data", "--input_dims", "2,1,28,28", "--backend", backend).load()
        return {one.name.split("_", 3)[-1]: costs.cost(one) for one in loaded.operators()}

    basic = flops("basic")
    assert basic["conv1"] == (520, 2 * 2 * 20 * 24 * 24 * 25, 4 * (2 * 784 + 520 + 2 * 20 * 576))
    assert basic["fc3"] == (400_500, 2 * 2 * 800 * 500, 4 * (2 * 800 + 400_500 + 2 * 500))
    assert basic["relu3"].flops == 2 * 500
    fused = flops("extended")
    assert "relu3" not in fused
    assert fused["fused_fc3"].flops == basic["fc3"].flops


def test_names_do_not_depend_on_the_order_that_the_runtime_chose():
    """Which of two branches runs first, and how operators are numbered that it adds, differs by process."""

    def events(*branches):
        run = [("Split", "split"), *branches, ("Concat", "")]
        nodes = [
            {
                "cat": "Node",
                "name": f"{name}_kernel_time",
                "ts": at,
                "dur": at,
                "args": {"op_name": type_, "provider": "x"},
            }
            for at, (type_, name) in enumerate(run, start=1)
        ]
        return [*nodes, {"name": "SequentialExecutor::Execute", "ts": 0}, {"name": "model_run"}]

    positions = {"split": 0, "left": 1, "right": 2, "": 3}
    left = (("Conv", "left_nchwc"), ("ReorderOutput", "ReorderOutput_token_3"), ("Cast", "to_token_7"))
    right = (("Conv", "fused right"), ("ReorderOutput", "ReorderOutput"))
    one, other = (profile.parse(events(*a, *b), 1, positions) for a, b in ((left, right), (right, left)))
    assert (
        [operator.name for operator in one.operators]
        == [operator.name for operator in other.operators]
        == [
            *("ID_0_Split_split", "ID_1_Cast_to_left_nchwc", "ID_1_Conv_left_nchwc"),
            *(
                "ID_1_ReorderOutput_left_nchwc",
                "ID_2_Conv_fused_right",
                "ID_2_ReorderOutput_fused_right",
                "ID_3_Concat_Concat",
            ),
        ]
    )
    assert one.times_ns[0]["ID_1_Conv_left_nchwc"] == 2000
    assert other.times_ns[0]["ID_1_Conv_left_nchwc"] == 4000


def test_nothing_is_sent_or_written_at_home(tmp_path):
    """Without CI in the environment, where ONNX Runtime keeps still by itself."""
    home = tmp_path / "home"
    home.mkdir()
    code = (
        "import os, sys; from tests.unit.frameworks.onnxruntime.test_session import LENET, job;"
        "job(LENET, '--input', 'data', '--input_dims', '1,1,28,28').load();"
        "print(len(os.listdir('/proc/self/task')) if os.path.exists('/proc/self/task') else 1)"
    )
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "GITHUB_ACTIONS")}
    environment |= {"HOME": str(home), "PYTHONPATH": ".", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME"):
        environment.pop(name, None)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    assert list(home.rglob("*")) == []


def test_strings_and_scalars_are_fed_and_read(load, tmp_path):
    label = {"domain": "ai.onnx.ml", "keys_strings": ["a", "b"], "values_int64s": [1, 2], "default_int64": 9}
    nodes = [
        helper.make_node("LabelEncoder", ["texts"], ["labels"], "encode", **label),
        helper.make_node("Identity", ["texts"], ["same"], "copy"),
        helper.make_node("Add", ["labels", "offset"], ["sum"], "add"),
    ]
    inputs = [
        onnx_models.tensor("texts", ["n"], TensorProto.STRING),
        onnx_models.tensor("offset", [], TensorProto.INT64),
    ]
    outputs = [
        onnx_models.tensor("sum", ["n"], TensorProto.INT64),
        onnx_models.tensor("same", ["n"], TensorProto.STRING),
    ]
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 2)]
    (tmp_path / "texts.txt").write_text("a\nno\n")
    (tmp_path / "offset.txt").write_text("10")
    loaded = load(
        helper.make_model(graph, opset_imports=opsets, ir_version=8),
        *("--input", "texts,offset", "--input_type", "string;int64_t", "--input_dims", "2;[]"),
        *("--input_file", f"{tmp_path}/texts.txt,{tmp_path}/offset.txt"),
    )
    loaded.run()
    assert loaded.output("sum").tolist() == [11, 19]
    assert loaded.output("same").tolist() == ["a", "no"]
    loaded.run_operators()
    assert len(loaded.take_operator_times()) == 3


FOUR = ("--input", "x", "--input_dims", "4")


@pytest.mark.parametrize("type_", [TensorProto.BFLOAT16, TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_an_output_of_each_type_has_the_values_that_were_computed(load, tmp_path, type_):
    np.save(tmp_path / "x.npy", np.array([1.5, -2, 0.25, 3], np.float32))
    loaded = load(onnx_models.converted_to(type_), *FOUR, "--input_file", str(tmp_path / "x.npy"))
    loaded.run()
    assert loaded.output("y").tolist() == [1.5, -2, 0.25, 3]


@pytest.mark.parametrize("type_", [TensorProto.INT4, TensorProto.FLOAT8E4M3FN])
def test_an_output_of_a_type_that_numpy_lacks_is_one_line(load, type_):
    loaded = load(onnx_models.converted_to(type_), *FOUR)
    loaded.run()
    with pytest.raises(ModelError, match=r"an output is of the type tensor\(.*\), which cannot be read"):
        loaded.output("y")


def test_a_message_with_a_name_that_is_no_text_is_one_line(tmp_path):
    model = onnx_models.linear().SerializeToString()
    assert b"MatMul" in model
    path = tmp_path / "model.onnx"
    path.write_bytes(model.replace(b"MatMul", b"Mat\xfful"))
    with pytest.raises(ModelError, match=r"ONNX Runtime .* cannot run tiny .*: 'utf-8' codec"):
        job(path, *ROWS).load()
