"""The inputs of a model, compared with those that it takes."""

import numpy as np
import pytest

from benchmarking.frameworks.kit import flops
from benchmarking.frameworks.kit.costs import TensorFacts
from benchmarking.frameworks.kit.errors import ModelError
from benchmarking.frameworks.kit.signature import Signature, TensorSignature, require_computed

ROWS = TensorSignature("rows", "float", ("batch", 3))
COUNT = TensorSignature("count", "int64_t", ())
STRICT = Signature("tiny", (ROWS, COUNT), ("y", "z"))
LOOSE = STRICT._replace(in_order=True)
GIVEN = {"rows": np.zeros((2, 3), np.float32), "count": np.int64(1) * np.ones((), np.int64)}


def test_arrays_come_in_the_order_of_the_model():
    assert list(STRICT.feed(dict(reversed(GIVEN.items())))) == ["rows", "count"]


def test_other_names_are_taken_in_order_where_a_program_says_so():
    renamed = dict(zip(("a", "b"), GIVEN.values(), strict=True))
    assert LOOSE.feed(renamed)["count"] is GIVEN["count"]
    with pytest.raises(ModelError, match="the model's input 'rows' is not fed"):
        STRICT.feed(renamed)


@pytest.mark.parametrize(
    "given",
    [
        {"a": GIVEN["count"], "b": GIVEN["rows"]},  # another order
        {"a": GIVEN["rows"]},
        {"rows": GIVEN["rows"], "b": GIVEN["count"]},  # one of the names is the model's
    ],
)
def test_names_in_order_have_to_fit_in_number_type_and_shape(given):
    with pytest.raises(ModelError, match=r"--input_type: 'a' is int64|the model's input .* is not fed"):
        LOOSE.feed(given)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        (
            "rows",
            np.zeros((2, 4), np.float32),
            r"'rows' .* \[2, 4\].* \['batch', 3\]: dimension 1 has to be 3",
        ),
        ("rows", np.zeros(3, np.float32), "dimensions have to be 2"),
        ("rows", np.zeros((2, 3)), "--input_type: 'rows' is float64; use float for it"),
        ("count", np.zeros(1, np.int64), "dimensions have to be 0"),
    ],
)
def test_what_does_not_fit_is_named_with_its_dimension(name, array, message):
    with pytest.raises(ModelError, match=message):
        STRICT.feed({**GIVEN, name: array})


def test_an_input_by_its_name_and_by_another_is_not_fed_twice():
    signature = LOOSE._replace(aliases={"lines": "rows"})
    assert signature.feed({"lines": GIVEN["rows"], "count": GIVEN["count"]})["rows"] is GIVEN["rows"]
    with pytest.raises(ModelError, match="--input: 'rows' and 'lines' are the same input"):
        signature.feed({**GIVEN, "lines": GIVEN["rows"]})


def test_a_type_that_nothing_can_feed_is_named():
    model = Signature("tiny", (TensorSignature("x", "complex64", None),), ())
    with pytest.raises(ModelError, match="'x' is of the type complex64, which cannot be fed"):
        model.feed({"x": np.zeros(1)})


def test_any_shape_fits_a_tensor_that_says_none():
    model = Signature("tiny", (TensorSignature("x", "float", None),), ())
    assert model.feed({"x": np.zeros((1, 2, 3), np.float32)})["x"].shape == (1, 2, 3)


def test_outputs_by_name_and_in_order():
    assert STRICT.find_outputs({"z"}) == {"y": 0, "z": 1}
    assert LOOSE.find_outputs(dict.fromkeys(("first", "second")).keys(), renamed=True)["second"] == 1
    for wanted, renamed in (({"first", "second"}, False), ({"first"}, True)):
        with pytest.raises(ModelError, match=r"--output: the model tiny has no output '\w*'; it has y, z"):
            LOOSE.find_outputs(wanted, renamed)


def test_names_that_a_model_has_besides_are_its_own():
    model = LOOSE._replace(aliases={"a": "rows", "b": "z", "rows": "count"})
    assert model.feed({"count": GIVEN["count"], "a": GIVEN["rows"]})["rows"] is GIVEN["rows"]
    assert not model.is_renamed({"a": 0, "other": 0})
    assert model.is_renamed({"other": 0, "another": 0})
    assert model.find_outputs({"b"})["b"] == 1


def test_an_output_without_values_is_an_error():
    with pytest.raises(ModelError, match=r"output 'y' has the shape \[0, 2\]: nothing was computed"):
        require_computed("y", np.zeros((0, 2)))


@pytest.mark.parametrize(
    ("kinds", "shapes", "expected"),
    [
        (("Conv", "CONV_2D", "conv2d"), ((1, 3, 8, 8), (4, 3, 3, 3), (1, 4, 6, 6)), 2 * 4 * 36 * 27),
        (("MatMul", "FULLY_CONNECTED"), ((5, 7), (7, 2), (5, 2)), 2 * 5 * 7 * 2),
        (("MaxPool", "MAX_POOL_2D"), ((1, 2, 4, 4), (1, 2, 2, 2)), 32),
        (("Reshape", "nonsense"), ((4,), (2, 2)), 0),
    ],
)
def test_runtimes_name_the_same_operators_alike(kinds, shapes, expected):
    *inputs, output = (TensorFacts("x", shape, 4, False) for shape in shapes)
    assert {flops.count(kind, inputs, [output]) for kind in kinds} == {expected}


def test_all_outputs_are_no_output_of_that_name():
    assert STRICT.find_outputs({"*"}) == {"y": 0, "z": 1}
