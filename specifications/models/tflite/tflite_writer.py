"""Writes small TensorFlow Lite models by hand: tensors and operators of one graph become a .tflite file.

Needs ai-edge-litert, which brings the format's schema and flatbuffers.
"""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

TYPES = {"float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "bool": 6, "int16": 7, "int8": 9}
"""Numbers of the schema's TensorType."""
VERSION = 3


class GraphWriter:
    """One graph. Tensors are known by their names."""

    def __init__(self) -> None:
        self._model = schema.ModelT()
        self._model.version = VERSION
        self._model.buffers = [schema.BufferT()]  # the first one is that of all tensors without a value
        self._model.operatorCodes = []
        self._graph = schema.SubGraphT()
        self._graph.tensors, self._graph.operators = [], []
        self._model.subgraphs = [self._graph]
        self._places: dict[str, int] = {}

    def tensor(self, name: str, shape: list[int], type_: str = "float32") -> str:
        """A tensor that is computed or fed; a dimension of -1 is open."""
        tensor = schema.TensorT()
        tensor.name, tensor.type, tensor.buffer = name, TYPES[type_], 0
        tensor.shape = [abs(size) for size in shape]
        if -1 in shape:
            tensor.shapeSignature = shape
        self._places[name] = len(self._graph.tensors)
        self._graph.tensors.append(tensor)
        return name

    def constant(self, name: str, array: np.ndarray, scale: float | None = None) -> str:
        """``scale``: of a tensor of integers that stand for their products with it."""
        self.tensor(name, list(array.shape), array.dtype.name)
        tensor, buffer = self._graph.tensors[-1], schema.BufferT()
        buffer.data = np.frombuffer(array.tobytes(), np.uint8)
        tensor.buffer = len(self._model.buffers)
        self._model.buffers.append(buffer)
        if scale is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [scale], [0]
        return name

    def operator(
        self, kind: str, inputs: list[str], outputs: list[str], options: str = "", **fields: Any
    ) -> None:
        """``kind``: of the schema's BuiltinOperator. ``options``: the name of its table of options."""
        code = schema.OperatorCodeT()
        number = getattr(schema.BuiltinOperator, kind)
        code.builtinCode, code.deprecatedBuiltinCode, code.version = number, min(number, 127), 1
        self._add(code, inputs, outputs, options, fields)

    def custom_operator(self, name: str, inputs: list[str], outputs: list[str]) -> None:
        code = schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = 32, 32, 1
        code.customCode = name
        self._add(code, inputs, outputs, "", {})

    def _add(
        self, code: Any, inputs: list[str], outputs: list[str], options: str, fields: dict[str, Any]
    ) -> None:
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self._model.operatorCodes)
        self._model.operatorCodes.append(code)
        operator.inputs = [self._places[name] for name in inputs]
        operator.outputs = [self._places[name] for name in outputs]
        if options:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            operator.builtinOptions = getattr(schema, f"{options}T")()
            for name, value in fields.items():
                setattr(operator.builtinOptions, name, value)
        self._graph.operators.append(operator)

    def written(
        self,
        inputs: list[str],
        outputs: list[str],
        input_aliases: dict[str, str] | None = None,
        output_aliases: dict[str, str] | None = None,
    ) -> bytes:
        """The file. ``input_aliases``, ``output_aliases``: tensors by other names for them."""
        self._graph.inputs = [self._places[name] for name in inputs]
        self._graph.outputs = [self._places[name] for name in outputs]
        if input_aliases and output_aliases:
            definition = schema.SignatureDefT()
            definition.signatureKey = "serving_default"
            definition.inputs = [self._named(*item) for item in input_aliases.items()]
            definition.outputs = [self._named(*item) for item in output_aliases.items()]
            self._model.signatureDefs = [definition]
        builder = flatbuffers.Builder(1024)
        builder.Finish(self._model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    def _named(self, alias: str, name: str) -> Any:
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = alias, self._places[name]
        return entry
