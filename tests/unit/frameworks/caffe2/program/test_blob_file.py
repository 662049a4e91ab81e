"""Tensors in BlobProto files."""

import numpy as np
import pytest

from benchmarking.frameworks.caffe2.program.caffe2_benchmark import blob_file, messages

T = messages.TensorProto


@pytest.mark.parametrize("type_", [type_ for type_, _ in blob_file._FIELDS.values()])
def test_what_is_written_is_read_again(type_):
    values = np.array([[0, 1, 1]]).astype(type_)
    found = blob_file.read(blob_file.to_proto("x", values).SerializeToString())
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        ({"data_type": T.UINT8, "dims": [2], "int32_data": [1, 300]}, "values that uint8 does not hold"),
        ({"data_type": T.INT8, "dims": [2], "int32_data": [1, 128]}, "values that int8 does not hold"),
        ({"data_type": T.UINT16, "dims": [2], "int32_data": [1, -1]}, "values that uint16 does not hold"),
        ({"data_type": T.BOOL, "dims": [2], "int32_data": [1, 2]}, "values that bool does not hold"),
        ({"data_type": T.FLOAT, "dims": [-1, 1], "float_data": [1, 2]}, r"its shape is \[-1, 1\]"),
        ({"data_type": T.FLOAT, "dims": [3], "float_data": [1, 2]}, "cannot reshape"),
        ({"data_type": T.STRING, "dims": [1]}, "data type 4 is not supported"),
    ],
)
def test_values_that_are_not_those_of_the_type_are_refused(tensor, message):
    content = messages.BlobProto(tensor=T(**tensor)).SerializeToString()
    with pytest.raises(ValueError, match=message):
        blob_file.read(content)


def test_nothing_is_a_tensor_too():
    content = messages.BlobProto(tensor=T(data_type=T.INT64, dims=[0, 3])).SerializeToString()
    assert blob_file.read(content).shape == (0, 3)
