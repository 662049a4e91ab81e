"""Models in OpenVINO: answers, errors, and what is said of operators."""

import ctypes
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("openvino")

from onnx import TensorProto, helper

from benchmarking.frameworks.kit import costs
from benchmarking.frameworks.kit.errors import BenchmarkProgramError, ModelError
from benchmarking.frameworks.kit.flags import parse
from benchmarking.frameworks.kit.job import Job
from benchmarking.frameworks.openvino.program import compiled_model, execution_graph
from benchmarking.frameworks.openvino.program.openvino_program import OpenVinoProgram, OpenVinoSettings
from tests.support import onnx_models, tflite_models

LENET = "specifications/models/onnx/lenet/lenet.onnx"
ROWS = ("--input", "x", "--input_dims", "2,3")
IMAGE = ("--input", "data", "--input_dims", "2,1,28,28")


def job(path, *flags):
    program, settings = OpenVinoProgram(), parse(OpenVinoSettings, ["--model", str(path), *flags])
    program.require(settings)
    return Job(program, settings)


@pytest.fixture
def load(tmp_path):
    def load(model, *flags):
        path = tmp_path / "model.onnx"
        path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
        return job(path, *flags).load()

    return load


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """The linear model in OpenVINO's own files."""
    from benchmarking.frameworks.openvino.program.openvino_program import _runtime

    directory = tmp_path_factory.mktemp("converted")
    (directory / "tiny.onnx").write_bytes(onnx_models.linear().SerializeToString())
    openvino = _runtime()
    openvino.save_model(openvino.Core().read_model(directory / "tiny.onnx"), directory / "tiny.xml", False)
    return directory / "tiny.xml"


def answer(loaded, name="y"):
    loaded.run()
    return loaded.output(name)


def test_an_answer_of_each_kind_of_file(load, converted, tmp_path):
    values = tmp_path / "x.txt"
    values.write_text("1 2 3 4 5 6")
    flags = (*ROWS, "--input_file", str(values))
    expected = [[7, 8], [16, 17]]
    np.testing.assert_array_equal(answer(load(onnx_models.linear(), *flags)), expected)
    np.testing.assert_array_equal(answer(job(converted, *flags).load()), expected)
    elsewhere = tmp_path / "weights"
    converted.with_suffix(".bin").rename(elsewhere)
    np.testing.assert_array_equal(
        answer(job(converted, *flags, "--weights", str(elsewhere)).load()), expected
    )
    elsewhere.rename(converted.with_suffix(".bin"))


def test_signals_can_be_handled_when_models_are_gone(load):
    """A Core leaves a stack for them that does not exist any more, once it is gone."""
    stack = (ctypes.c_void_p * 3)()  # stack_t: address, flags, size
    first = load(onnx_models.linear(), *ROWS)
    second = load(onnx_models.linear(), *ROWS)
    for one in (first, second):
        one.run()
    del one, first
    del second
    assert ctypes.CDLL(None).sigaltstack(None, stack) == 0
    mapped = [line.split()[0].split("-") for line in Path("/proc/self/maps").read_text().splitlines()]
    assert not stack[0] or any(int(begin, 16) <= stack[0] < int(end, 16) for begin, end in mapped)


def test_a_model_of_tensorflow_lite_is_the_same(tmp_path):
    one, other = (answer(job(path, *IMAGE).load(), "softmax") for path in (LENET, tflite_models.LENET))
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_tensors_of_other_names_are_taken_in_order(load):
    loaded = load(onnx_models.linear(), "--input", "data", "--input_dims", "2,3", "--output", "softmax")
    assert answer(loaded, "softmax").shape == (2, 2)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--input", "x", "--input_dims", "2,4"), "'x' has the shape [2, 4]; the model has ['any', 3]"),
        (("--input", "x,z", "--input_dims", "2,3;1"), "has no input 'z'; it has 'x'"),
        (("--input", "x", "--input_dims", "0,3"), "output 'y' has the shape [0, 2]: nothing was computed"),
        ((*ROWS, "--input_type", "int64_t"), "--input_type: 'x' is int64; use float for it"),
        ((*ROWS, "--output", "xw"), "the model tiny has no output 'xw'; it has y"),
        ((*ROWS, "--backend", "fast"), "'fast' is not one of f32, bf16"),
        ((*ROWS, "--backend_options", "fast"), "'fast' is not throughput, the only option"),
        ((*ROWS, "--weights", "w.bin"), "--weights: "),
    ],
)
def test_what_is_wrong_is_one_line(load, flags, message):
    with pytest.raises(BenchmarkProgramError) as caught:
        load(onnx_models.linear(), *flags)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def unknown_operator():
    nodes = [helper.make_node("Mystery", ["x"], ["y"], "m", domain="test")]
    made = onnx_models.model(nodes, [onnx_models.tensor("x", [2, 3])], [onnx_models.tensor("y", [2, 3])])
    made.opset_import.append(helper.make_opsetid("test", 1))
    return made


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (unknown_operator(), "Mystery"),
        (onnx_models.linear().SerializeToString()[:-20], ""),
        (onnx_models.with_weights_in("../x"), "they have to be in its directory"),
        (onnx_models.with_weights_in("missing"), "missing"),
    ],
)
def test_models_that_cannot_be_run_are_one_line(load, model, reason):
    with pytest.raises(BenchmarkProgramError) as caught:
        load(model, *ROWS)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [('type="MatMul"', 'type="Mystery"', "Mystery"), ('size="24"', 'size="2400"', "weights")],
)
def test_files_of_its_own_that_are_damaged_are_one_line(converted, tmp_path, old, new, reason):
    damaged = tmp_path / "damaged.xml"
    text = converted.read_text()
    assert old in text
    damaged.write_text(text.replace(old, new))
    damaged.with_suffix(".bin").write_bytes(converted.with_suffix(".bin").read_bytes())
    with pytest.raises(BenchmarkProgramError) as caught:
        job(damaged, *ROWS).load()
    assert reason in str(caught.value)
    assert "OpenVINO IR" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_operators_are_timed_in_means_and_said_to_be_fused():
    loaded = job(LENET, *IMAGE).load()
    for runs in (3, 1):
        assert [loaded.run_operators() for _ in range(runs)] == [[]] * runs
        times = loaded.take_operator_times()
        assert list(times) == list(loaded.operator_names)
        assert {len(values) for values in times.values()} == {runs}
        assert {len(set(values)) for values in times.values()} == {1}
    kernels = loaded.observe().kernels
    assert kernels["ID_4_FullyConnected_fc3"].kernel.endswith("_f32 of fc3+relu3")
    assert all(one.own for one in kernels.values())
    assert (loaded.facts["precision"], loaded.facts["precision_asked"]) == ("f32", "f32")


def test_costs_are_those_of_what_ran():
    found = {one.name.split("_", 3)[-1]: costs.cost(one) for one in job(LENET, *IMAGE).load().operators()}
    convolution, connected = found["conv1/WithoutBiases"], found["fc3"]
    assert convolution == (520, 2 * 2 * 20 * 24 * 24 * 25, 4 * (2 * 784 + 520 + 2 * 20 * 576))
    assert connected == (400_500, 2 * 2 * 800 * 500, 4 * (2 * 800 + 400_500 + 2 * 500))


def test_operators_that_openvino_has_made_of_several_cost_what_these_cost(load):
    nodes = [
        helper.make_node("Exp", ["x"], ["a"], "exponential"),
        helper.make_node("Mul", ["a", "x"], ["b"], "product"),
        helper.make_node("Tanh", ["b"], ["y"], "tangent"),
    ]
    tensors = [onnx_models.tensor("x", [2, 4])], [onnx_models.tensor("y", [2, 4])]
    loaded = load(onnx_models.model(nodes, *tensors), "--input", "x", "--input_dims", "2,4")
    assert costs.total(loaded.operators()).flops == 3 * 8
    (kernel,) = loaded.observe().kernels.values()
    assert kernel.kernel.endswith(" of exponential+product+y")


def test_another_precision_is_reported_where_the_processor_has_it_or_is_a_reason():
    rows = {row["name"]: row for row in OpenVinoProgram().backends()}
    lower = job(LENET, *IMAGE, "--backend", "bf16")
    if not rows["bf16"]["available"]:
        with pytest.raises(BenchmarkProgramError, match="this CPU does not compute in bf16; use f32"):
            lower.load()
        return
    loaded = lower.load()
    assert loaded.facts["precision"] == "bf16"
    exact = answer(job(LENET, *IMAGE).load(), "softmax")
    deviation = np.abs(answer(loaded, "softmax") - exact).max()
    assert 1e-7 < deviation < 5e-2


@pytest.mark.parametrize(
    ("type_", "warnings"),
    [("double", ["the model is in f64, and OpenVINO computes it in f32"]), ("float", [])],
)
def test_64_bit_floats_are_computed_in_32_and_said_to_be(load, type_, warnings):
    """Weights in 64 bits that are only converted are no reason for it."""
    number = TensorProto.DataType.Value(type_.upper())
    nodes = [
        helper.make_node("Cast", ["wide"], ["w"], "cast", to=number),
        helper.make_node("MatMul", ["x", "w"], ["y"], "product"),
    ]
    x, y = (onnx_models.tensor(name, [2, 2], number) for name in ("x", "y"))
    model = onnx_models.model(nodes, [x], [y], {"wide": np.ones((2, 2))})
    loaded = load(model, "--input", "x", "--input_dims", "2,2", "--input_type", type_)
    assert answer(loaded).dtype == helper.tensor_dtype_to_np_dtype(number)
    assert (loaded.facts["precision"], loaded.warnings) == ("f32", warnings)


def test_throughput_is_several_inferences_at_once():
    loaded = job(LENET, *IMAGE, "--backend_options", "throughput", "--threads", "2").load()
    assert loaded.facts["inferences_per_iteration"] == 2
    assert (
        loaded.warnings[0] == "an iteration consists of 2 inferences at once; its time is that of all of them"
    )
    assert answer(loaded, "softmax").shape == (2, 10)
    with pytest.raises(BenchmarkProgramError, match="operators are not timed while several inferences run"):
        loaded.run_operators()


def test_inputs_of_several_types(load):
    flags = ("--input", "x,which", "--input_dims", "4;1", "--input_type", "float;bool")
    assert answer(load(onnx_models.branches(), *flags)).shape == (4,)


def test_an_opset_that_is_too_new_is_said_with_the_versions(load):
    node = helper.make_node("Cast", ["x"], ["y"], "c", to=TensorProto.FLOAT)
    made = onnx_models.model(
        [node], [onnx_models.tensor("x", [2, 3])], [onnx_models.tensor("y", [2, 3])], ir_version=8, opset=99
    )
    with pytest.raises(
        BenchmarkProgramError, match="opset 99 of ONNX, and this program knows those up to 2"
    ) as caught:
        load(made, *ROWS)
    assert "\n" not in str(caught.value)


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
    with pytest.raises(ModelError, match=r"output 'y' is of the type .*, which cannot be read"):
        loaded.output("y")


class Request:
    """Reports the mean of its runs as OpenVINO does: in whole microseconds."""

    def __init__(self, *durations_us):
        self._left, self._done = list(durations_us), []

    def infer(self, *, share_outputs):
        self._done.append(self._left.pop(0))

    def get_profiling_info(self):
        mean = timedelta(microseconds=sum(self._done) // len(self._done))
        status = SimpleNamespace(name="EXECUTED")
        return [SimpleNamespace(node_name="node", real_time=mean, status=status)]


def test_the_first_iteration_of_operators_is_not_in_their_mean(monkeypatch):
    operators = [SimpleNamespace(name="ID_0", node="node")]
    monkeypatch.setattr(execution_graph, "executed", lambda graph, profile: operators)
    compiled = SimpleNamespace(get_runtime_model=lambda: None)
    counted = compiled_model._Counted(compiled, Request(1000, 10, 11, 12))
    counted.begin()
    assert counted.means_ns() == {"ID_0": 0}
    for _ in range(3):
        counted.run()
    assert counted.means_ns() == {"ID_0": (4 * 258 - 1000) * 1000 // 3}


def test_other_iterations_do_not_blur_the_times_of_operators(load):
    """They are in one mean with all runs of a compiled model, in whole microseconds."""
    loaded = load(onnx_models.linear(), *ROWS)
    loaded.run()
    loaded.run_operators()
    loaded._requests.clear()
    assert list(loaded.take_operator_times()) == list(loaded.operator_names) != []


@pytest.mark.parametrize(("old", "new"), [(b"data", b"d\xffta"), (b"pool1", b"po\xffl1")])
def test_a_name_that_is_no_text_is_one_line(load, old, new):
    model = Path(LENET).read_bytes()
    assert old in model
    with pytest.raises(ModelError, match=r"OpenVINO .* cannot run lenet .*: 'utf-8' codec"):
        load(model.replace(old, new), *IMAGE).operators()
