"""The graph that OpenVINO runs: the kernel, the precision and the cost of each operator."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Mapping, NamedTuple, Sequence, Set

from benchmarking.frameworks.kit import flops
from benchmarking.frameworks.kit.costs import OperatorFacts, TensorFacts

_ITEM_BYTES = {"f64": 8, "i64": 8, "u64": 8, "f16": 2, "bf16": 2, "i16": 2, "u16": 2}
_ITEM_BYTES.update(dict.fromkeys(("i8", "u8", "boolean"), 1))
_CONSTANT = "Const"
_NUMBERED = re.compile(r"^([A-Z][A-Za-z]+)_\d+$")
"""A name that OpenVINO has generated from the type, with a number that differs between versions."""
_PRODUCTS = ("Convolution", "Deconvolution", "FullyConnected", "MatMul")
_PRECISIONS = ("f64", "f32", "f16", "bf16", "int8")
"""From the most precise to the least precise. Other types are those of indices and of data that is only
moved.
"""


class ExecutedOperator(NamedTuple):
    name: str
    """``ID_<place>_<type>_<name>``: the position among the executed operators of the model."""
    node: str
    """OpenVINO's name, which may differ from process to process."""
    kernel: str
    """Includes the layers that were fused into the operator."""
    precision: str
    layers: Sequence[str]
    """The layers of the model that it computes; empty: OpenVINO has inserted it to convert a layout or a
    type.
    """
    facts: OperatorFacts


def executed(graph: Any, profile: Mapping[str, int]) -> Sequence[ExecutedOperator]:
    """``graph``: a runtime model. ``profile``: the executed operators."""
    nodes = sorted(graph.get_ops(), key=lambda node: int(_text(node, "execOrder")))
    constants = _constants(nodes)
    operators: List[ExecutedOperator] = []
    seen: Dict[str, int] = {}
    place = 0
    for node in nodes:
        title = node.get_friendly_name()
        if title not in profile:
            continue
        layers = [layer for layer in _text(node, "originalLayersNames").split(",") if layer]
        type_ = _text(node, "layerType")
        own = _NUMBERED.sub(r"\1", title if layers else _consumer(node)).replace(" ", "_")
        name = "ID_%d_%s_%s" % (place, type_, own)
        place += bool(layers)
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            name += "_%d" % seen[name]
        operators.append(
            ExecutedOperator(
                name,
                title,
                _kernel(node, layers),
                _precision(node),
                layers,
                _facts(name, type_, node, constants),
            )
        )
    return operators


def layer_flops(model: Any) -> Dict[str, int]:
    """The operations of each layer of a model with fixed shapes. OpenVINO may compute several layers as one
    of another kind.
    """
    return {
        node.get_friendly_name(): flops.count(
            node.get_type_name(),
            [_tensor(port.get_source_output(), set()) for port in node.inputs()],
            [_tensor(port, set()) for port in node.outputs()],
        )
        for node in model.get_ops()
    }


def computes_in_f64(model: Any) -> bool:
    """Whether the file asks for it. Constants and inputs that are converted first do not."""
    return any(
        port.get_element_type().get_type_name() == "f64"
        for node in model.get_ops()
        if node.get_type_name() not in ("Parameter", "Constant", "Convert", "Result")
        for port in node.outputs()
    )


def precisions(graph: Any) -> Sequence[str]:
    """The precisions of the model's operators, the least precise last. The model need not have run."""
    used = {
        "int8"
        if _text(node, "layerType") in _PRODUCTS and _precision(node) in ("i8", "u8")
        else _precision(node)
        for node in graph.get_ops()
        if _text(node, "originalLayersNames") and not _text(node, "primitiveType").startswith("unknown")
    }
    return [one for one in _PRECISIONS if one in used] or ["f32"]


def _precision(node: Any) -> str:
    """The precision at the end of the kernel's name: OpenVINO's own value is the type of the weights if these
    are packed.
    """
    return _text(node, "primitiveType").rpartition("_")[2].lower()


def _kernel(node: Any, layers: List[str]) -> str:
    fused = " of %s" % "+".join(layers) if len(layers) > 1 else ""
    return "%s%s" % (_text(node, "primitiveType"), fused)


def _constants(nodes: Sequence[Any]) -> Set[str]:
    """The names of nodes that do not depend on an input of the model: weights, including
    reordered weights.
    """
    found: Set[str] = set()
    for node in nodes:
        sources = [port.get_source_output().get_node().get_friendly_name() for port in node.inputs()]
        if _text(node, "layerType") == _CONSTANT or (sources and found.issuperset(sources)):
            found.add(node.get_friendly_name())
    return found


def _consumer(node: Any) -> str:
    for output in node.outputs():
        for target in output.get_target_inputs():
            name: str = target.get_node().get_friendly_name()
            return name
    return ""


def _facts(name: str, type_: str, node: Any, constants: Set[str]) -> OperatorFacts:
    inputs = [_tensor(port.get_source_output(), constants) for port in node.inputs()]
    outputs = [_tensor(port, constants) for port in node.outputs()]
    return OperatorFacts(name, flops.count(type_, inputs, outputs), inputs, outputs)


def _tensor(port: Any, constants: Set[str]) -> TensorFacts:
    node = port.get_node()
    name = node.get_friendly_name()
    precision = _text(node, "outputPrecisions").split(",")[0]
    return TensorFacts(
        "%s/%d" % (name, port.get_index()),
        tuple(port.get_shape()) if port.get_partial_shape().is_static else (0,),
        _ITEM_BYTES.get(precision, 4),
        name in constants,
    )


def _text(node: Any, key: str) -> str:
    info = node.get_rt_info()
    value = info[key] if key in info else ""  # noqa: SIM401 - it has no get
    return str(getattr(value, "value", value))
