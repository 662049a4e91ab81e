"""Small ONNX models, made for tests."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


def tensor(name, shape, type_=FLOAT):
    return helper.make_tensor_value_info(name, type_, shape)


def model(nodes, inputs, outputs, weights=None, *, name="tiny", opset=17, ir_version=8, **more):
    """``weights``: arrays by name."""
    initializers = [numpy_helper.from_array(array, key) for key, array in (weights or {}).items()]
    graph = helper.make_graph(nodes, name, inputs, outputs, initializers)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version, **more
    )


def linear(**changes):
    """y = x W + b, W of ones (3, 2), b of 1 and 2; any number of rows."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["xw"], "product"),
        helper.make_node("Add", ["xw", "b"], ["y"], "sum"),
    ]
    weights = {"w": np.ones((3, 2), np.float32), "b": np.array([1, 2], np.float32)}
    return model(
        nodes, [tensor("x", ["rows", 3])], [tensor("y", ["rows", 2])], **{"weights": weights, **changes}
    )


def branches():
    """Two graphs in an operator, If, between two operators without names."""
    then = helper.make_graph([helper.make_node("Neg", ["a"], ["t"], "then")], "then", [], [tensor("t", [4])])
    other = helper.make_graph([helper.make_node("Abs", ["a"], ["e"], "else")], "else", [], [tensor("e", [4])])
    nodes = [
        helper.make_node("Exp", ["x"], ["a"]),
        helper.make_node("If", ["which"], ["c"], "choice", then_branch=then, else_branch=other),
        helper.make_node("Sqrt", ["c"], ["y"]),
    ]
    inputs = [tensor("x", [4]), tensor("which", [1], TensorProto.BOOL)]
    return model(nodes, inputs, [tensor("y", [4])])


def converted_to(type_):
    """y is x, of four values, in another type."""
    nodes = [helper.make_node("Cast", ["x"], ["y"], to=type_)]
    return model(nodes, [tensor("x", [4])], [tensor("y", [4], type_)], opset=21, ir_version=10)


def with_weights_in(location):
    """The linear model; the weights W are said to lie in another file."""
    made = linear()
    (weight,) = (one for one in made.graph.initializer if one.name == "w")
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "0", "length": "24"}.items():
        entry = weight.external_data.add()
        entry.key, entry.value = key, value
    return made
