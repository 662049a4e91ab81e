"""Relates the operators in a profile to the operators of the file."""

from __future__ import annotations

import re
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

import numpy as np

from benchmarking.frameworks.kit import flops
from benchmarking.frameworks.kit.costs import OperatorFacts, TensorFacts

from .profiler import Event

_DELEGATE = "DELEGATE"
_KINDS = {
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D"), "convolution"),
    "TRANSPOSE_CONV": "deconvolution",
    "MAX_POOL_2D": "maxpooling",
    "AVERAGE_POOL_2D": "averagepooling",
    "BATCH_MATMUL": "batchmatrixmultiply",
    "LOGISTIC": "sigmoid",
    "SUB": "subtract",
    "MUL": "multiply",
    "DIV": "divide",
    "RESHAPE": "reshape",
    "CONCATENATION": "concatenate",
    "PAD": "constantpad",
}
"""Maps the kind of an operator in the file to XNNPACK's kind, if they differ."""
_ADDED = re.compile(r"^(Static|Dynamic|Global) ")


_PRODUCTS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "BATCH_MATMUL")
_PRECISIONS = {"int8": "int8", "uint8": "int8", "float16": "f16"}
"""The precision of products by the type of an input; f32 otherwise. Weights that an operator unpacks are not
among their inputs.
"""


class Node(NamedTuple):
    """An operator of the file; tensors are numbers."""

    kind: str
    inputs: Sequence[int]
    outputs: Sequence[int]


class Graph(NamedTuple):
    nodes: Sequence[Node]
    tensors: Dict[int, TensorFacts]
    precision: str
    """The precision of the least precise product."""

    @classmethod
    def of(cls, interpreter: Any) -> "Graph":
        """The graph of an interpreter whose tensors have been allocated."""
        nodes = [
            Node(entry["op_name"], [at for at in entry["inputs"] if at >= 0], entry["outputs"])
            for entry in interpreter._get_ops_details()
            if entry["op_name"] != _DELEGATE
        ]
        fed = {entry["index"] for entry in interpreter.get_input_details()}
        moving = _computed(nodes, fed)
        entries = {entry["index"]: entry for entry in interpreter.get_tensor_details()}
        types = {index: np.dtype(entry["dtype"]).name for index, entry in entries.items()}
        multiplied = {types.get(at, "") for node in nodes if node.kind in _PRODUCTS for at in node.inputs}
        found = {_PRECISIONS[type_] for type_ in multiplied if type_ in _PRECISIONS}
        tensors = {
            index: TensorFacts(
                entry["name"],
                tuple(int(size) for size in entry["shape"]),
                np.dtype(entry["dtype"]).itemsize,
                index not in moving,
            )
            for index, entry in entries.items()
        }
        return cls(nodes, tensors, max(found, default="f32"))


def _computed(nodes: Sequence[Node], fed: Set[int]) -> Set[int]:
    """The tensors that depend on an input; all others are weights, even if an operator unpacks them."""
    moving = set(fed)
    for node in nodes:
        if moving.intersection(node.inputs) or not node.inputs:
            moving.update(node.outputs)
    return moving


class ExecutedOperator(NamedTuple):
    name: str
    """``ID_<place>_<kind>_<tensor>``: the name of its output in the file, if it is known."""
    kernel: str
    by_xnnpack: bool
    place: Optional[int]
    """The properties of the corresponding operator in the file."""

    def facts(self, graph: Graph) -> OperatorFacts:
        if self.place is None:
            return OperatorFacts(self.name, 0, (), ())
        node = graph.nodes[self.place]
        inputs = [graph.tensors[at] for at in node.inputs if at in graph.tensors]
        outputs = [graph.tensors[at] for at in node.outputs if at in graph.tensors]
        if node.kind == "DEPTHWISE_CONV_2D" and len(inputs) > 1 and len(inputs[1].shape) == 4:
            _, height, width, _ = inputs[1].shape
            count = 2 * outputs[0].size * height * width
        elif node.kind == "TRANSPOSE_CONV" and len(inputs) > 2:  # the shape, the weights, the input
            count = 2 * inputs[2].size * inputs[1].size // max(inputs[1].shape[-1], 1)
        else:
            count = flops.count(node.kind, inputs, outputs)
        return OperatorFacts(self.name, count, inputs, outputs)


def executed(graph: Graph, events: Sequence[Event]) -> Sequence[ExecutedOperator]:
    """XNNPACK does not report which operators of the file it computes, but keeps their order: each of its
    operators corresponds to the first remaining operator of the same kind.
    """
    left = list(range(len(graph.nodes)))
    for event in events:
        if not event.by_xnnpack and event.place in left:
            left.remove(event.place)
    found = []
    for number, event in enumerate(events):
        place = event.place if not event.by_xnnpack else _first(graph, left, event.tag)
        if event.by_xnnpack and place is not None:
            left.remove(place)
        if place is not None and place >= len(graph.nodes):
            place = None
        kind, tensor = _names(graph, place, event.tag)
        name = "_".join(filter(None, ("ID_%d" % number, kind, tensor))).replace(" ", "_")
        by = "XNNPACK" if event.by_xnnpack else "builtin"
        found.append(ExecutedOperator(name, "%s: %s" % (by, event.tag), event.by_xnnpack, place))
    return found


def _first(graph: Graph, left: List[int], tag: str) -> Optional[int]:
    kind = _plain(_ADDED.sub("", tag.split(" (")[0]))
    return next((at for at in left if _kind(graph.nodes[at].kind) == kind), None)


def _kind(kind: str) -> str:
    return _KINDS.get(kind, _plain(kind))


def _plain(text: str) -> str:
    return re.sub(r"[^a-z]", "", text.lower())


def _names(graph: Graph, place: Optional[int], tag: str) -> Tuple[str, str]:
    if place is None:
        return tag.split(" (")[0].replace(" ", ""), ""
    node = graph.nodes[place]
    first = graph.tensors.get(node.outputs[0]) if len(node.outputs) else None
    return node.kind, first.name if first else ""
