"""Inputs of every type and of no dimension."""

import numpy as np
import pytest

from benchmarking.frameworks.kit import tensors
from benchmarking.frameworks.kit.errors import TensorError, UsageError
from benchmarking.frameworks.kit.flags import Settings
from benchmarking.frameworks.onnxruntime.onnxruntime import OnnxRuntime
from benchmarking.frameworks.onnxruntime.program.onnxruntime_program import OnnxRuntimeProgram
from benchmarking.specs.tensor_types import NUMPY_NAMES


def fed(**flags):
    return tensors.inputs(OnnxRuntimeProgram(), Settings(**flags))


def test_the_types_are_those_of_specifications():
    kinds = {name: np.dtype(kind).name for name, kind in tensors.TYPES.items()}
    assert kinds == {**NUMPY_NAMES, "string": "object"}
    assert {*OnnxRuntimeProgram.input_types} == {*OnnxRuntime.input_types} == {*NUMPY_NAMES}


@pytest.mark.parametrize("type_", [name for name in tensors.TYPES if name != "string"])
def test_a_scalar_of_each_type(tmp_path, type_):
    noise = fed(input="x,y", input_dims="[];1,2", input_type=type_)
    assert (noise["x"].shape, noise["y"].shape) == ((), (1, 2))
    assert noise["x"].dtype == tensors.TYPES[type_]
    np.save(tmp_path / "x.npy", np.array(1, dtype=tensors.TYPES[type_]))
    (read,) = fed(input="x", input_dims="[]", input_type=type_, input_file=str(tmp_path / "x.npy")).values()
    assert read.shape == ()
    assert read == 1


@pytest.mark.parametrize("name", ["x.npy", "x.txt"])
def test_strings(tmp_path, name):
    texts = ["word", "zwei Wörter", ""]
    if name == "x.npy":
        np.save(tmp_path / name, np.array(texts))
    else:
        (tmp_path / name).write_text("\n".join([*texts, ""]), encoding="utf-8")
    (read,) = fed(input="x", input_dims="3,1", input_type="string", input_file=str(tmp_path / name)).values()
    assert read.dtype == object
    assert read.tolist() == [[text] for text in texts]
    assert tensors._as_text(read).decode().splitlines()[0] == '"word"'


def test_an_input_is_named_once():
    with pytest.raises(UsageError, match="--input lists 'x' twice"):
        fed(input="x,y,x", input_dims="1;1;1")


def test_strings_have_no_noise():
    with pytest.raises(UsageError, match="'x' is a tensor of strings, which have no noise"):
        fed(input="x", input_dims="1", input_type="string")


@pytest.mark.parametrize(
    ("content", "type_", "problem"),
    [
        (np.array(["a"]), "float", "contains <U1; 'x' needs float32"),
        (np.array([1.0]), "string", "contains float64; 'x' needs object"),
        (b"\x93NUMPY\x01\x00\x10\x00{'descr': (((((\n", "float", "NumPy cannot read it"),
        (b"\x93NUMPY", "float", "NumPy cannot read it"),
    ],
)
def test_a_file_of_something_else_is_one_line(tmp_path, content, type_, problem):
    path = tmp_path / "x.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)
    with pytest.raises(TensorError, match=problem):
        fed(input="x", input_dims="1", input_type=type_, input_file=str(path))


@pytest.mark.parametrize(
    ("text", "type_", "values"),
    [
        ("9007199254740993 -9223372036854775808", "int64_t", [2**53 + 1, -(2**63)]),
        ("1e3 7.0", "int", [1000, 7]),
        ("0 255", "uint8_t", [0, 255]),
        ("0 1", "bool", [False, True]),
        ("inf -inf 65504", "float16", [np.inf, -np.inf, 65504]),
        ("0.5 nan", "float", [0.5, np.nan]),
    ],
)
def test_numbers_of_a_text_are_fed_as_they_are(tmp_path, text, type_, values):
    (tmp_path / "x.txt").write_text(text, encoding="utf-8")
    (read,) = fed(input="x", input_type=type_, input_file=str(tmp_path / "x.txt")).values()
    assert read.dtype == tensors.TYPES[type_]
    np.testing.assert_array_equal(read, np.array(values, dtype=read.dtype))


@pytest.mark.parametrize(
    ("text", "type_", "wrong"),
    [
        ("1 256", "uint8_t", "256"),
        ("-1", "uint16_t", "-1"),
        ("1.5", "int", "1.5"),
        ("nan", "int64_t", "nan"),
        ("9223372036854775808", "int64_t", r"9\.22.*e\+18"),
        ("2", "bool", "2"),
        ("1e39", "float", r"1e\+39"),
        ("0 65536", "float16", "65536"),
    ],
)
def test_numbers_that_a_type_does_not_hold_are_refused(tmp_path, text, type_, wrong):
    (tmp_path / "x.txt").write_text(text, encoding="utf-8")
    with pytest.raises(TensorError, match=rf"x\.txt: {wrong}.* cannot be fed as {NUMPY_NAMES[type_]}$"):
        fed(input="x", input_type=type_, input_file=str(tmp_path / "x.txt"))


@pytest.mark.parametrize(
    ("array", "problem"),
    [
        (np.array([2**63], np.uint64), "9223372036854775808 cannot be fed as int64"),
        (np.array([1j]), "it contains complex128 instead of int64"),
    ],
)
def test_arrays_that_a_type_does_not_hold_are_refused(tmp_path, array, problem):
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(TensorError, match=problem):
        fed(input="x", input_type="int64_t", input_file=str(tmp_path / "x.npy"))


def test_a_shape_of_more_values_than_64_bits_count_is_one_line(tmp_path):
    np.save(tmp_path / "x.npy", np.empty(0, np.float32))
    dims = "4294967296,4294967296"
    with pytest.raises(TensorError, match="needs 18446744073709551616"):
        fed(input="x", input_dims=dims, input_file=str(tmp_path / "x.npy"))


def test_an_output_that_is_no_number_is_one_line(tmp_path):
    program, settings = OnnxRuntimeProgram(), Settings(output_folder=str(tmp_path))
    tensors.write(program, settings, {"x": np.array([1.5])})
    with pytest.raises(TensorError, match="--output: 'y' contains complex128, which cannot be written"):
        tensors.write(program, settings, {"y": np.array([1j])})


def test_noise_is_another_one_for_another_name_or_seed():
    def noise(name, seed, type_="int64_t"):
        return fed(input=name, input_dims="64", input_type=type_, seed=seed)[name].tolist()

    assert noise("x", 1) == noise("x", 1)
    assert len({tuple(noise(name, seed)) for name in "xy" for seed in (0, 1, 2, 3)}) == 8
    assert {*noise("x", 0)} == {0, 1}
    bytes_ = fed(input="x", input_dims="9999", input_type="uint8_t")["x"]
    assert (bytes_.min(), bytes_.max()) == (0, 255)


@pytest.mark.parametrize("type_", ["float32", "float64", "float16"])
def test_every_digit_of_an_output_is_written(type_):
    values = np.random.RandomState(0).standard_normal(500).astype(type_)
    assert np.array(tensors._as_text(values).split(), dtype=type_).tolist() == values.tolist()


def test_a_negative_size_is_refused():
    with pytest.raises(UsageError, match="--input_dims: '1,-1' contains a negative number"):
        fed(input="x", input_dims="1,-1")


def test_outputs_are_written_below_the_current_directory_unless_another_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tensors.write(OnnxRuntimeProgram(), Settings(), {".a/b": np.ones(1)})
    assert [path.name for path in tmp_path.iterdir()] == ["%2Ea%2Fb.txt"]
