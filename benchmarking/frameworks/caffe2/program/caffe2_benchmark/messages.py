"""The messages of ``caffe2_net.proto``, created at import from its compiled form.

Generated code restricts a program to a few versions of protobuf; the descriptor works with all of them. After
a change of the .proto, ``python -m grpc_tools.protoc --descriptor_set_out`` creates a new one (see the test).
"""

from __future__ import annotations

import base64
import zlib
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from .caffe2_net_descriptor import DESCRIPTOR

_POOL = (
    descriptor_pool.DescriptorPool()
)  # a private pool: real Caffe2 registers the same names in the default pool
_POOL.Add(descriptor_pb2.FileDescriptorProto.FromString(zlib.decompress(base64.b64decode(DESCRIPTOR))))


def _message_class(name: str) -> Any:
    descriptor = _POOL.FindMessageTypeByName("caffe2_benchmark." + name)
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    old_factory: Any = message_factory.MessageFactory(_POOL)  # protobuf before 4.22
    return old_factory.GetPrototype(descriptor)


Argument = _message_class("Argument")
BlobProto = _message_class("BlobProto")
NetDef = _message_class("NetDef")
OperatorDef = _message_class("OperatorDef")
TensorProto = _message_class("TensorProto")
