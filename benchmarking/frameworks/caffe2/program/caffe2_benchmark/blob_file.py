"""Tensors in the format in which Caffe2 writes them to files: BlobProto."""

from __future__ import annotations

from typing import Any, Dict, Tuple

import numpy as np
from google.protobuf.message import DecodeError

from . import messages

_T = messages.TensorProto
_FIELDS: Dict[int, Tuple[Any, str]] = {
    _T.FLOAT: (np.float32, "float_data"),
    _T.DOUBLE: (np.float64, "double_data"),
    _T.INT64: (np.int64, "int64_data"),
    _T.INT32: (np.int32, "int32_data"),
    _T.INT16: (np.int16, "int32_data"),
    _T.UINT16: (np.uint16, "int32_data"),
    _T.INT8: (np.int8, "int32_data"),
    _T.BOOL: (np.bool_, "int32_data"),
    _T.UINT8: (np.uint8, "byte_data"),
    _T.BYTE: (np.uint8, "byte_data"),
}


def read(content: bytes) -> Any:
    """The array in a BlobProto.

    Raises:
        ValueError: it is not a tensor.
    """
    try:
        return from_proto(messages.BlobProto.FromString(content).tensor)
    except DecodeError as error:
        raise ValueError(str(error)) from error


def from_proto(tensor: Any) -> Any:
    """The array in a TensorProto.

    Raises:
        ValueError: its type is unknown or does not hold a value, or its values do not fill its shape.
    """
    if tensor.data_type not in _FIELDS:
        raise ValueError("a tensor of data type %d is not supported" % tensor.data_type)
    dtype, field = _FIELDS[tensor.data_type]
    data = getattr(tensor, field)
    if tensor.raw_data:
        array = np.frombuffer(tensor.raw_data, dtype=dtype)
    elif isinstance(data, bytes) and data:
        array = np.frombuffer(data, dtype=dtype)
    else:
        values = np.array(data if not isinstance(data, bytes) else tensor.int32_data)
        array = values.astype(dtype)
        if values.dtype.kind == "i" and not np.array_equal(array, values):
            raise ValueError("it has values that %s does not hold" % np.dtype(dtype))
    if any(size < 0 for size in tensor.dims):
        raise ValueError("its shape is %s" % list(tensor.dims))
    return array.reshape(tuple(tensor.dims))


def to_proto(name: str, array: Any) -> Any:
    by_dtype = {
        np.dtype(dtype): (number, field) for number, (dtype, field) in reversed(list(_FIELDS.items()))
    }
    number, field = by_dtype[array.dtype]
    tensor = messages.TensorProto(dims=array.shape, data_type=number, name=name)
    if field == "byte_data":
        tensor.byte_data = array.tobytes()
    else:
        values = array.astype(np.int32) if array.dtype == np.bool_ else array
        getattr(tensor, field).extend(values.reshape(-1).tolist())
    return messages.BlobProto(name=name, type="Tensor", tensor=tensor)
