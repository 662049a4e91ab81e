"""Creates the callable of a file, and its arguments."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from typing import AbstractSet, Any, Dict, Iterator, List, Mapping, Sequence, Tuple

import torch
from torch.utils import _pytree as pytree

from benchmarking.frameworks.kit.errors import ModelError, UsageError
from benchmarking.frameworks.kit.signature import Signature, TensorSignature

from . import model_file
from .backends import Backend
from .dispatched import is_operator
from .torch_model import Call, TorchModel, one_line

_FORMAT = "archive_format"


def get_ready(kind: str) -> None:
    """For all workers that are forked from here."""
    if kind == model_file.AOT_INDUCTOR:
        # Otherwise a package with a too small input computes with the memory that follows the input.
        os.environ["AOTI_RUNTIME_CHECK_INPUTS"] = "1"


def require_plain(path: str) -> None:
    """Raises:
    ModelError: loading the package could run something else than operators of torch's.
    """
    # torch.load may not accept more than tensors, even if it interprets this file differently.
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    records = _records(path)
    model_file.require_plain(path, records)


def load(
    path: str,
    kind: str,
    backend: Backend,
    threads: int,
    inputs: Mapping[str, Any],
    wanted: AbstractSet[str],
) -> TorchModel:
    """Raises:
    UsageError, ModelError: see ``Preparation.load``.
    """
    torch.set_num_threads(threads)
    if torch.get_num_interop_threads() != 1:
        torch.set_num_interop_threads(1)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = backend.tf32
    name = os.path.splitext(os.path.basename(path))[0]
    make = {
        model_file.EXPORTED: _exported,
        model_file.TORCHSCRIPT: _scripted,
        model_file.AOT_INDUCTOR: _packaged,
    }
    with one_line(name), _without_warnings(), torch.no_grad():
        call = make[kind](path, name, backend, inputs)
    if call.outputs is not None:
        Signature(name, (), call.outputs).find_outputs(wanted, call.renamed)
    return TorchModel(name, call, backend, wanted)


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Before torch raises an error, it logs a traceback."""
    disabled = logging.root.manager.disable
    logging.disable(max(disabled, logging.WARNING))
    try:
        yield
    finally:
        logging.disable(disabled)


def _records(path: str) -> Dict[str, bytes]:
    """As torch itself reads the archive; contents are read only if they are JSON or name the format."""
    try:
        reader: Any = torch._C.PyTorchFileReader(path)
        names = reader.get_all_records()
        read = [name for name in names if name.endswith(".json") or name == _FORMAT]
        # A record of a few bytes may unpack to any size; an older torch may not tell it.
        size_of = getattr(reader, "get_record_size", lambda _: 0)
        if sum(map(size_of, read)) > model_file.LARGEST_JSON:
            raise ModelError(
                "--model: %s has more than %d MB of JSON" % (path, model_file.LARGEST_JSON >> 20)
            )
        contents = {name: reader.get_record(name) if name in read else b"" for name in names}
    except (RuntimeError, UnicodeDecodeError) as error:
        raise ModelError("--model: %s is damaged: %s" % (path, str(error).split("\n")[0])) from error
    if contents.get(_FORMAT) != b"pt2":
        raise ModelError("--model: %s is damaged: its format is not pt2" % path)
    return contents


def _exported(path: str, name: str, backend: Backend, inputs: Mapping[str, Any]) -> Call:
    graphs = {record: content for record, content in _records(path).items() if record.startswith("models/")}
    if list(graphs) != ["models/model.json"]:
        raise ModelError(
            "--model: %s has the models %s instead of exactly one" % (path, ", ".join(graphs) or "none")
        )
    file = model_file.parse(path, graphs["models/model.json"])
    fed = file.signature.feed(inputs)
    file.require_ranges(fed)
    program = torch.export.load(path)
    if backend.device != "cpu":
        from torch.export.passes import move_to_device_pass

        program = move_to_device_pass(program, backend.device)
    module = program.module(check_guards=False)
    if backend.way == "channels_last":
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # in place
    tensors = _tensors(fed, backend)
    flat = [tensors[one] if isinstance(one, str) else one for one in file.placeholders]
    arguments, keywords = pytree.tree_unflatten(flat, program.call_spec.in_spec)
    # Not the module itself: its hooks would check the inputs again each time.
    run = module.forward
    renamed = file.signature.is_renamed(inputs)
    weights, labels = _weights(module), _labels(module.graph)
    call = Call(run, arguments, keywords, file.signature.outputs, renamed, weights, labels)
    if backend.way == "frozen":
        return _frozen(module, call)
    return call._replace(function=_compiled(module), eager=run) if backend.way == "inductor" else call


class _OfTensors(torch.nn.Module):
    """A graph whose inputs and outputs are only tensors, as in TorchScript."""

    def __init__(self, graph: Any, call: Call) -> None:
        super().__init__()
        self.graph = graph
        self.training = False  # eval() would be called on the graph, which cannot be trained
        self._leaves, self._structure = pytree.tree_flatten((call.arguments, call.keywords))

    @property
    def tensors(self) -> Tuple[Any, ...]:
        return tuple(one for one in self._leaves if isinstance(one, torch.Tensor))

    def forward(self, *tensors: Any) -> Any:
        fed = iter(tensors)
        leaves = [next(fed) if isinstance(one, torch.Tensor) else one for one in self._leaves]
        arguments, keywords = pytree.tree_unflatten(leaves, self._structure)
        return tuple(pytree.tree_leaves(self.graph(*arguments, **keywords)))


def _frozen(module: Any, call: Call) -> Call:
    """Only for these shapes, because TorchScript cannot be traced with open shapes."""
    fixed = torch.export.export(module, call.arguments, dict(call.keywords)).module(check_guards=False)
    graph = _OfTensors(fixed, call)
    traced = torch.jit.trace(graph, graph.tensors, check_trace=False)
    return Call(torch.jit.freeze(traced), graph.tensors, {}, call.outputs, call.renamed, call.weights)


def _compiled(module: Any) -> Any:
    import torch._inductor.config

    torch._inductor.config.compile_threads = 1
    return torch.compile(module, fullgraph=True, dynamic=False)


def _labels(graph: Any) -> List[str]:
    """The module of each operator, as it is named in the model's source."""
    labels = []
    for node in graph.nodes:
        if isinstance(node.target, torch._ops.OpOverload) and is_operator(node.target):
            modules = [path for path, _ in (node.meta.get("nn_module_stack") or {}).values() if path]
            labels.append(modules[-1] if modules else "")
    return labels


def _scripted(path: str, name: str, backend: Backend, inputs: Mapping[str, Any]) -> Call:
    module = torch.jit.load(path, map_location=backend.device).eval()
    if backend.way == "channels_last":
        module = module.to(memory_format=torch.channels_last)
    if backend.way == "frozen":
        module = torch.jit.freeze(module)
    taken = [
        one
        for one in module.forward.schema.arguments[1:]
        if not one.has_default_value() or one.name in inputs
    ]
    signature = Signature(
        name, tuple(TensorSignature(one.name, "", None) for one in taken), (), in_order=True
    )
    arguments = _tensors(signature.feed(inputs), backend)
    return Call(module, (), arguments, None, signature.is_renamed(inputs), _weights(module))


def _packaged(path: str, name: str, backend: Backend, inputs: Mapping[str, Any]) -> Call:
    model = torch._inductor.aoti_load_package(path)
    device = model.get_metadata().get("AOTI_DEVICE_KEY", backend.device)
    if device != backend.device:
        which = "inductor" if device == "cpu" else "%s_inductor" % device
        raise UsageError(
            "--backend %s: the package was compiled for %s; use %s" % (backend.name, device, which)
        )
    takes, gives = model.loader.get_call_spec()
    count = pytree.treespec_loads(takes).num_leaves
    if count != len(inputs):
        raise ModelError("--input: the model %s has %d inputs, and %d are fed" % (name, count, len(inputs)))
    flat = list(_tensors(inputs, backend).values())
    arguments, keywords = pytree.tree_unflatten(flat, pytree.treespec_loads(takes))
    return Call(model, arguments, keywords, model_file.output_names(gives), renamed=True)


def _tensors(arrays: Mapping[str, Any], backend: Backend) -> Dict[str, Any]:
    tensors = {name: torch.from_numpy(array).to(backend.device) for name, array in arrays.items()}
    if backend.way == "channels_last":
        return {
            name: one.contiguous(memory_format=torch.channels_last) if one.dim() == 4 else one
            for name, one in tensors.items()
        }
    return tensors


def _weights(module: Any) -> Sequence[Any]:
    return [*module.parameters(), *module.buffers()]
