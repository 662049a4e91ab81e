"""The information about OpenVINO's own files, a graph in XML and its weights, that is needed before they are
loaded.
"""

from __future__ import annotations

import os
import re
from typing import Dict, List, NamedTuple, Tuple
from xml.etree import ElementTree

from benchmarking.frameworks.kit.errors import ModelError
from benchmarking.frameworks.kit.signature import TensorSignature

TYPES = {
    "f64": "double",
    "f32": "float",
    "f16": "float16",
    "i64": "int64_t",
    "i32": "int",
    "i16": "int16_t",
    "i8": "int8_t",
    "u16": "uint16_t",
    "u8": "uint8_t",
    "boolean": "bool",
    "string": "string",
}
"""Maps OpenVINO's name of a type to that in specifications."""


_ENCODING = re.compile(rb"""(?:\xef\xbb\xbf)?<\?xml[^>]*?\sencoding\s*=\s*["']([^"']*)""")
_ENCODINGS = (b"utf-8", b"us-ascii", b"ascii")


class IrFile(NamedTuple):
    name: str
    outputs: Tuple[str, ...]
    weights: str
    """The file of the weights; empty: the model has none."""


def read(path: str, weights: str) -> IrFile:
    """``weights``: the file of the weights; empty: the file next to the model.

    Raises:
        ModelError: it is not such a model, or it has no weights where they have to be.
    """
    root = _parsed(path)
    needed = any(layer.get("type") == "Const" for layer in root.iter("layer"))
    weights = weights or (_beside(path) if needed else "")
    # The name in the file is usually that of the converter.
    name = os.path.splitext(os.path.basename(path))[0]
    return IrFile(name, tuple(_outputs(root)), weights)


def inputs(path: str) -> Tuple[TensorSignature, ...]:
    """
    Raises:
        ModelError: it is not such a model.
    """
    found = []
    for layer in _parsed(path).iter("layer"):
        data = layer.find("data")
        if layer.get("type") != "Parameter" or data is None:
            continue
        ports = [one.get("id", "") for one in layer.iterfind("output/port")]
        name = _port_name(layer, ports[0] if ports else "")
        texts = [text.strip() for text in data.get("shape", "").split(",") if text.strip()]
        shape = tuple(int(text) if text.isdigit() else "" for text in texts)
        found.append(TensorSignature(name, TYPES.get(data.get("element_type", ""), ""), shape))
    return tuple(found)


def _parsed(path: str) -> ElementTree.Element:
    try:
        with open(path, "rb") as stream:
            content = stream.read()
    except OSError as error:
        raise ModelError("--model: cannot read %s: %s" % (path, error.strerror)) from error
    try:
        if b"<!" in content.replace(b"<!--", b""):
            raise ValueError("it declares entities or a document type")
        encoding = _ENCODING.match(content)
        if b"\0" in content or (encoding and encoding[1].lower() not in _ENCODINGS):
            raise ValueError("it is in another encoding than UTF-8")  # in which this may be written otherwise
        root = ElementTree.fromstring(content)  # noqa: S314 - nothing but elements is left
        if root.tag != "net":
            raise ValueError("it has no net")
        return root
    except (ValueError, ElementTree.ParseError) as error:
        raise ModelError("--model: %s is not an OpenVINO model: %s" % (path, error)) from error


def _beside(path: str) -> str:
    """Model files are not trusted: weights outside the model's directory are not opened."""
    weights = os.path.splitext(path)[0] + ".bin"
    if not os.path.exists(weights):
        raise ModelError("--weights is missing: %s has no weights next to it, in %s" % (path, weights))
    found = os.path.realpath(weights)
    if os.path.dirname(found) != os.path.realpath(os.path.dirname(path) or "."):
        raise ModelError("--model: %s keeps weights in %r; they have to be in its directory" % (path, found))
    return weights


def _outputs(root: ElementTree.Element) -> List[str]:
    """The names of the tensors that lead to results, or the name of the layer if a tensor has none."""
    layers: Dict[str, ElementTree.Element] = {one.get("id", ""): one for one in root.iter("layer")}
    sources = {edge.get("to-layer", ""): edge for edge in root.iterfind("edges/edge")}
    names = []
    for number, layer in layers.items():
        source = sources.get(number)
        if layer.get("type") == "Result" and source is not None:
            made = layers.get(source.get("from-layer", ""))
            names.append("" if made is None else _port_name(made, source.get("from-port", "")))
    return names


def _port_name(layer: ElementTree.Element, number: str) -> str:
    for port in layer.iterfind("output/port"):
        if port.get("id") == number:
            return sorted(port.get("names", "").split(","))[0] or layer.get("name", "")
    return layer.get("name", "")
