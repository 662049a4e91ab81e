"""The information about a PyTorch file that is needed before it is loaded. This needs nothing from torch.

Model files are not trusted, and loading one with torch may run code in it: pickles, but also names of
functions and expressions in a torch.export package. Only files that are certain to be plain graphs are
accepted.
"""

from __future__ import annotations

import ast
import json
import os
import re
import zipfile
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

from benchmarking.frameworks.kit.errors import ModelError
from benchmarking.frameworks.kit.signature import Signature, TensorSignature

EXPORTED, AOT_INDUCTOR, TORCHSCRIPT = "torch.export", "AOTInductor", "TorchScript"
_TYPES = {
    1: "uint8_t",
    2: "int8_t",
    3: "int16_t",
    4: "int",
    5: "int64_t",
    6: "float16",
    7: "float",
    8: "double",
    12: "bool",
    13: "bfloat16",
    28: "uint16_t",
}
"""Maps the number of a type in ``model.json`` to its name in specifications."""
LARGEST_JSON = 2**28
_SYMBOL = re.compile(r"Symbol\('(\w+)'[^()]*\)")

_OPERATORS = re.compile(
    r"torch\.ops\.(aten|prims|quantized|quantized_decomposed|mkldnn|onednn)\.(?!from_file)(?!__)\w+\.\w+"
    r"|torch\.ops\.higher_order\.(cond|while_loop|map_impl|scan|associative_scan|wrap_with_set_grad_enabled"
    r"|wrap_with_autocast)"
    r"|_operator\.(add|sub|mul|floordiv|truediv|mod|pow|neg|pos|eq|ne|lt|le|gt|ge|and_|or_|not_|getitem|abs)"
    r"|math\.(ceil|floor|trunc|sqrt)|torch\.sym_\w+"
)
_NAMES = re.compile(r"[\w.\-/:+ ]*")
"""Any other text in a graph may become part of code that torch generates."""
_FREE = frozenset(("metadata", "guards_code", "as_string", "target", "expr_str", "in_spec", "out_spec"))
"""Texts that are checked separately, or that never become part of code."""
_HARMLESS = (
    *(ast.Expression, ast.Call, ast.keyword, ast.Load, ast.Compare, ast.cmpop),
    *(ast.UnaryOp, ast.unaryop, ast.BinOp, ast.operator),
)
_PICKLED = re.compile(r"(^|/)(custom_obj_|opaque_obj_)|^data/(weights|constants)/[^/]*\.pt$")

Range = Tuple[Optional[int], Optional[int]]


class ExportedFile(NamedTuple):
    """The graph of a torch.export package."""

    signature: Signature
    ranges: Mapping[str, Range]
    """The ranges of the dimensions that are not fixed."""
    placeholders: Sequence[Union[str, bool, int, float, None]]
    """The arguments of the graph, in order: the name of an input, or a value from the export."""

    def require_ranges(self, inputs: Mapping[str, Any]) -> None:
        """Raises:
        ModelError: a dimension is beyond its range, or two that have to be the same are not.
        """
        sizes: Dict[str, Tuple[int, str]] = {}
        for one in self.signature.inputs:
            for at, (symbol, size) in enumerate(zip(one.shape or (), inputs[one.name].shape)):
                if symbol not in self.ranges:
                    continue
                problem = _beyond(size, self.ranges[str(symbol)])
                first, where = sizes.setdefault(str(symbol), (size, one.name))
                if not problem and first != size:
                    problem = "the same as that of %r, %d" % (where, first)
                if problem:
                    raise ModelError(
                        "--input_dims: %r has the shape %s: dimension %d (%s) has to be %s"
                        % (one.name, list(inputs[one.name].shape), at, symbol, problem)
                    )


def _beyond(size: int, limits: Range) -> str:
    low, high = limits
    if (low is None or size >= low) and (high is None or size <= high):
        return ""
    return "%s to %s" % ("any" if low is None else low, "any" if high is None else high)


def kind(path: str) -> str:
    """
    Raises:
        ModelError: it cannot be read, or is not a model that torch runs.
    """
    names = list(_records(path))
    if any(name.startswith("data/aotinductor/") for name in names):
        return AOT_INDUCTOR
    if any(name.startswith("models/") for name in names):
        return EXPORTED
    if any(name.startswith("code/") for name in names):
        return TORCHSCRIPT
    if "data.pkl" not in names:
        raise ModelError("--model: %s is not a PyTorch model, though it is a zip archive" % path)
    raise ModelError(
        "--model: %s contains no program, because torch.save writes none: export the model with"
        " torch.export.save" % path
    )


def read(path: str) -> ExportedFile:
    """The part of the graph that the harness needs; the program relies on ``parse``.

    Raises:
        ModelError: it is not a torch.export package.
    """
    with _opened(path) as archive:
        graphs = [info for name, info in _infos(archive).items() if re.fullmatch(r"models/.*\.json", name)]
        if not graphs or graphs[0].file_size > LARGEST_JSON:
            raise ModelError("--model: %s is not a torch.export package" % path)
        try:
            content = archive.read(graphs[0])
        except Exception as error:  # each compression has errors of its own
            raise ModelError("--model: %s is damaged: %s" % (path, error)) from error
    return parse(path, content)


def _records(path: str) -> Iterator[str]:
    with _opened(path) as archive:
        yield from _infos(archive)


def _infos(archive: zipfile.ZipFile) -> Dict[str, zipfile.ZipInfo]:
    """By the name without the first directory, whose name is that of the file."""
    return {info.filename.partition("/")[2]: info for info in archive.infolist()}


def _opened(path: str) -> zipfile.ZipFile:
    try:
        if os.path.getsize(path) == 0:
            raise ModelError("--model: %s is empty" % path)
        return zipfile.ZipFile(path)
    except OSError as error:
        raise ModelError("--model: cannot read %s: %s" % (path, error.strerror or error)) from error
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise ModelError("--model: %s is not a PyTorch model (%s)" % (path, error)) from error


# --- the graph ----------------------------------------------------------------------------------------------


def parse(path: str, content: bytes) -> ExportedFile:
    """
    Raises:
        ModelError: it is not a graph.
    """
    try:
        model = json.loads(content)
        module = model["graph_module"]
        ranges = {name: (one["min_val"], one["max_val"]) for name, one in model["range_constraints"].items()}
        values = module["graph"]["tensor_values"]
        inputs: List[TensorSignature] = []
        placeholders: List[Any] = []
        for spec in module["signature"]["input_specs"]:
            for argument in [spec["user_input"]["arg"]] if "user_input" in spec else []:
                placeholders.append(_argument(argument))
                if "as_tensor" in argument:
                    name = argument["as_tensor"]["name"]
                    inputs.append(_tensor(name, values[name]))
            if "constant_input" in spec:
                placeholders.append(_argument(spec["constant_input"]["value"]))
        outputs = output_names(module["module_call_graph"][0]["signature"]["out_spec"])
        net = os.path.splitext(os.path.basename(path))[0]
        return ExportedFile(Signature(net, tuple(inputs), outputs, in_order=True), ranges, placeholders)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ModelError(
            "--model: %s is not a torch.export package that can be read: %r" % (path, error)
        ) from error


def _argument(argument: Mapping[str, Any]) -> Union[str, bool, int, float, None]:
    ((form, value),) = argument.items()
    if form == "as_tensor":
        return str(value["name"])
    if form in ("as_none", "as_int", "as_float", "as_bool"):
        return None if form == "as_none" else value
    raise ModelError("the model takes %s as an input: only tensors can be fed" % form[3:])


def _tensor(name: str, meta: Mapping[str, Any]) -> TensorSignature:
    shape = [
        one["as_int"] if "as_int" in one else _SYMBOL.sub(r"\1", one["as_expr"]["expr_str"])
        for one in meta["sizes"]
    ]
    return TensorSignature(
        name, _TYPES.get(meta["dtype"], "number %s of torch's" % meta["dtype"]), tuple(shape)
    )


def output_names(tree: str) -> Tuple[str, ...]:
    """The names of outputs in a structure as torch's pytree writes it: keys, and positions in lists, joined
    by dots; a single tensor is ``output``, and positions at the top level are ``output_0``, ``output_1`` ...
    """
    _, spec = json.loads(tree)
    return (
        tuple(name if not name[:1].isdigit() else "output_" + name for name in _leaves(spec, ""))
        if spec["type"]
        else ("output",)
    )


def _leaves(spec: Mapping[str, Any], prefix: str) -> Iterator[str]:
    if not spec["type"]:
        yield prefix
        return
    children = spec["children_spec"]
    context = json.loads(spec["context"]) if isinstance(spec["context"], str) else spec["context"]
    keyed = isinstance(context, list) and len(context) == len(children)
    for at, child in enumerate(children):
        key = str(context[at]) if keyed else str(at)
        yield from _leaves(child, "%s.%s" % (prefix, key) if prefix else key)


# --- untrusted files ----------------------------------------------------------------------------------------


def require_plain(path: str, records: Mapping[str, bytes]) -> None:
    """``records``: the archive as torch itself reads it, by name; only JSON records have content.

    Raises:
        ModelError: loading the package could run something else than operators of torch's.
    """
    for name, content in records.items():
        if _PICKLED.search(name):
            _refuse(path, "pickled objects (%s)" % name)
        if name.endswith(".json"):
            try:
                _require_plain(path, json.loads(content), "")
            except (ValueError, RecursionError) as error:
                raise ModelError("--model: %s is damaged: %s: %s" % (path, name, error)) from error


def _require_plain(path: str, value: Any, key: str) -> None:
    if isinstance(value, dict):
        if value.get("use_pickle"):
            _refuse(path, "pickled tensors")
        for name, inner in value.items():
            if not _NAMES.fullmatch(name):
                _refuse(path, "the name %r" % name[:100])
            if name != "metadata":
                _require_plain(path, inner, name)
    elif isinstance(value, list):
        for inner in value:
            _require_plain(path, inner, key)
    elif isinstance(value, str):
        _require_plain_text(path, value, key)


def _require_plain_text(path: str, text: str, key: str) -> None:
    if key in ("target", "as_operator") and not _OPERATORS.fullmatch(text):
        _refuse(path, "the operator %s" % text[:100])
    if key == "expr_str" and not _is_expression(text):
        _refuse(path, "the expression %r" % text[:100])
    if key in ("in_spec", "out_spec") and "default_factory" in text:
        _refuse(path, "a defaultdict")
    if key not in _FREE and not _NAMES.fullmatch(text):
        _refuse(path, "the name %r" % text[:100])


def _is_expression(text: str) -> bool:
    """Accepts numbers, symbols and sympy's classes: torch passes the text to sympy, which evaluates it as
    Python.
    """
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return all(_is_harmless(node) for node in ast.walk(tree))


def _is_harmless(node: ast.AST) -> bool:
    if isinstance(node, ast.Name):
        return re.fullmatch(r"[A-Z]\w*|[a-z]\d+|floor|ceiling|true|false|int_oo|oo", node.id) is not None
    if isinstance(node, ast.Constant):
        return (
            not isinstance(node.value, (str, bytes)) or re.fullmatch(r"\w{1,50}", str(node.value)) is not None
        )
    return isinstance(node, _HARMLESS)


def _refuse(path: str, what: str) -> None:
    raise ModelError(
        "--model: %s has %s, which could be run as code: it is not loaded without the option --allow_code"
        % (path, what)
    )
