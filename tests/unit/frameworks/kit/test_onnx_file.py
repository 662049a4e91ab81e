"""What is read of an ONNX file without the package onnx."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from benchmarking.frameworks.kit import onnx_file
from benchmarking.frameworks.kit.errors import ModelError
from tests.support import onnx_models


def written(tmp_path, model):
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return str(path)


def test_what_a_model_takes_and_gives(tmp_path):
    found = onnx_file.read(written(tmp_path, onnx_models.linear(opset=15, ir_version=9)))
    assert found.signature[:3] == ("tiny", (("x", "float", ("rows", 3)),), ("y",))
    assert found.operators == 2
    assert found.versions == "IR version 9, opset ai.onnx 15"


@pytest.mark.parametrize(
    ("weights", "operator", "precision"),
    [
        ([np.float32], "MatMul", "f32"),
        ([np.float16], "MatMul", "f16"),
        ([np.float32, np.float16], "MatMul", "f16"),
        ([np.float64], "MatMul", "f64"),
        ([np.float32, np.uint8], "MatMul", "f32"),  # unpacked before they are used
        ([np.uint8], "QuantizeLinear", "int8"),
        ([], "Relu", "f32"),
    ],
)
def test_what_a_model_asks_to_be_computed_in(tmp_path, weights, operator, precision):
    arrays = {f"w{number}": np.ones(2, kind) for number, kind in enumerate(weights)}
    nodes = [onnx_models.helper.make_node(operator, ["x"], ["y"])]
    ends = ([onnx_models.tensor("x", [2])], [onnx_models.tensor("y", [2])])
    found = onnx_file.read(written(tmp_path, onnx_models.model(nodes, *ends, arrays)))
    assert found.precision == precision


def test_weights_that_are_inputs_too_are_not_fed(tmp_path):
    model = onnx_models.linear()
    model.graph.input.append(onnx_models.tensor("w", [3, 2]))
    assert [one.name for one in onnx_file.read(written(tmp_path, model)).signature.inputs] == ["x"]


def test_a_model_without_a_name_has_that_of_its_file(tmp_path):
    assert onnx_file.read(written(tmp_path, onnx_models.linear(name=""))).signature.model == "model"


def test_weights_beside_the_model_are_its_own(tmp_path):
    assert (
        onnx_file.read(written(tmp_path, onnx_models.with_weights_in("model.data"))).signature.model == "tiny"
    )


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "a/../../secret", "link"])
def test_weights_elsewhere_are_refused(tmp_path, location):
    directory = tmp_path / "model"
    directory.mkdir()
    (directory / "link").symlink_to("/etc/hostname")
    with pytest.raises(ModelError, match=r"keeps weights in .*; they have to be in its directory"):
        onnx_file.read(written(directory, onnx_models.with_weights_in(location)))


def test_weights_elsewhere_are_found_in_graphs_of_operators(tmp_path):
    model = onnx_models.branches()
    inner = model.graph.node[1].attribute[0].g
    inner.initializer.append(onnx_models.with_weights_in("../x").graph.initializer[0])
    with pytest.raises(ModelError, match="they have to be in its directory"):
        onnx_file.read(written(tmp_path, model))


def in_a_function(weight):
    model = onnx_models.linear()
    constant = onnx_models.helper.make_node("Constant", [], ["c"], value=weight)
    opset = onnx_models.helper.make_opsetid("", 17)
    model.functions.append(onnx_models.helper.make_function("own", "F", [], ["c"], [constant], [opset]))
    return model


def by_default_in_a_function(weight):
    model = in_a_function(onnx_models.linear().graph.initializer[0])
    model.functions[0].attribute_proto.add(name="value").t.CopyFrom(weight)
    return model


def sparse(weight):
    model = onnx_models.linear()
    model.graph.sparse_initializer.add().values.CopyFrom(weight)
    return model


def places_of_sparse_values(weight):
    model = onnx_models.linear()
    model.graph.sparse_initializer.add().indices.CopyFrom(weight)
    return model


def sparse_in_an_attribute(weight):
    model = onnx_models.linear()
    model.graph.node[0].attribute.add().sparse_tensor.values.CopyFrom(weight)
    return model


def several_sparse_in_an_attribute(weight):
    model = onnx_models.linear()
    model.graph.node[0].attribute.add().sparse_tensors.add().values.CopyFrom(weight)
    return model


@pytest.mark.parametrize(
    "place",
    [
        in_a_function,
        by_default_in_a_function,
        sparse,
        places_of_sparse_values,
        sparse_in_an_attribute,
        several_sparse_in_an_attribute,
    ],
)
def test_weights_are_found_wherever_a_model_may_have_them(tmp_path, place):
    def weights_in(location):
        return onnx_models.with_weights_in(location).graph.initializer[0]

    assert onnx_file.read(written(tmp_path, place(weights_in("beside")))).data_files == ("beside",)
    with pytest.raises(ModelError, match="they have to be in its directory"):
        onnx_file.read(written(tmp_path, place(weights_in("../x"))))


def test_a_second_graph_is_refused_because_runtimes_merge_it(tmp_path):
    path = tmp_path / "two.onnx"
    model = onnx_models.linear().SerializeToString()
    path.write_bytes(model + b"\x3a\x00")
    with pytest.raises(ModelError, match="it has several graphs"):
        onnx_file.read(str(path))


def test_a_field_number_of_more_than_32_bits_is_refused_because_runtimes_shorten_it(tmp_path):
    path = tmp_path / "long.onnx"
    graph_plus_2_to_the_32 = b"\xba\x80\x80\x80\x10"
    path.write_bytes(onnx_models.linear().SerializeToString() + graph_plus_2_to_the_32 + b"\x00")
    with pytest.raises(ModelError, match="not a protobuf message"):
        onnx_file.read(str(path))


@given(st.binary(max_size=200))
@example(onnx_models.linear().SerializeToString()[:-1])
@example(b"\x3a\x02\x0a\xff")
@example(b"\x38\x01")
@example(b"\x08" + b"\xff" * 20)
def test_anything_else_is_one_line(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.onnx"
    path.write_bytes(content)
    try:
        onnx_file.read(str(path))
    except ModelError as error:
        assert str(error).startswith("--model: ")
        assert "\n" not in str(error)


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(ModelError, match=r"cannot read .*: No such file"):
        onnx_file.read(str(tmp_path / "missing.onnx"))


def test_graphs_in_graphs_end_somewhere(tmp_path):
    model = onnx_models.linear()
    graph = model.graph
    for _ in range(onnx_file._DEEPEST + 2):  # an empty graph is not written
        graph = graph.node.add(op_type="If").attribute.add(name="then_branch").g
    with pytest.raises(ModelError, match="its graphs are nested more than 50 deep"):
        onnx_file.read(written(tmp_path, model))


def test_operators_are_found_by_their_outputs_and_by_their_names(tmp_path):
    positions = onnx_file.read(written(tmp_path, onnx_models.linear())).positions
    assert positions == {"xw": 0, "product": 0, "MatMul_0": 0, "y": 1, "sum": 1, "Add_1": 1}


@pytest.mark.parametrize(("size", "shape"), [(-1, ("",)), (2**63 - 1, (2**63 - 1,)), (0, (0,))])
def test_a_negative_size_is_an_open_dimension(tmp_path, size, shape):
    model = onnx_models.linear(weights={})
    model.graph.input[0].CopyFrom(onnx_models.tensor("x", [size]))
    assert onnx_file.read(written(tmp_path, model)).signature.inputs[0].shape == shape


def test_an_element_type_that_is_not_known_is_named_by_its_number(tmp_path):
    for code, name in ((16, "bfloat16"), (17, "number 17")):
        model = onnx_models.linear()
        model.graph.input[0].type.tensor_type.elem_type = code
        assert onnx_file.read(written(tmp_path, model)).signature.inputs[0].type == name
