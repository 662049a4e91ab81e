"""What is read of a .tflite file without any package."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from benchmarking.frameworks.kit import tflite_file
from benchmarking.frameworks.kit.errors import ModelError
from tests.support import tflite_models

CONTENT = tflite_models.LENET.read_bytes()


def test_what_a_model_takes_and_gives():
    found = tflite_file.read(str(tflite_models.LENET))
    assert found.signature[:3] == ("lenet", (("data", "float", ("", 1, 28, 28)),), ("softmax",))
    assert found.operators == 17
    assert found.signature.in_order


def test_names_of_the_signature_are_others_of_the_same_tensors(tmp_path):
    pytest.importorskip("ai_edge_litert")
    path = tmp_path / "linear.tflite"
    path.write_bytes(tflite_models.linear(aliases=({"args_0": "x"}, {"output_0": "y"})))
    assert tflite_file.read(str(path)).signature.aliases == {"args_0": "x", "output_0": "y"}


@given(st.one_of(st.binary(max_size=100), st.integers(0, 3000).map(lambda size: CONTENT[:size])))
@example(b"")
@example(b"\x00\x00\x00\x00TFL3")
@example(b"\xff\xff\xff\xffTFL3" + bytes(40))
@example(b"\x08\x00\x00\x00TFL3\xff\xff\xff\x7f")
def test_anything_else_is_one_line(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.tflite"
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        tflite_file.read(str(path))
    assert str(caught.value).startswith(f"--model: {path} is not a TensorFlow Lite model: ")
    assert "\n" not in str(caught.value)


@given(st.integers(8, 3000), st.integers(0, 255))
def test_a_byte_that_was_changed_is_one_line_at_most(tmp_path_factory, at, byte):
    path = tmp_path_factory.getbasetemp() / "changed.tflite"
    path.write_bytes(CONTENT[:at] + bytes([byte]) + CONTENT[at + 1 :])
    try:
        tflite_file.read(str(path))
    except ModelError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("field", ["externalBufferGroups", "externalBuffers"])
def test_weights_in_other_files_are_refused(tmp_path, field):
    pytest.importorskip("ai_edge_litert")
    from ai_edge_litert import schema_py_generated as schema

    graph = tflite_models.writer()
    graph.tensor("x", [1])
    one = schema.ExternalBufferGroupT() if field.endswith("Groups") else schema.ExternalBufferT()
    setattr(graph._model, field, [one])
    path = tmp_path / "model.tflite"
    path.write_bytes(graph.written(["x"], ["x"]))
    with pytest.raises(ModelError, match="keeps weights in other files, which are not opened"):
        tflite_file.read(str(path))


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(ModelError, match=r"cannot read .*: No such file"):
        tflite_file.read(str(tmp_path / "missing.tflite"))
