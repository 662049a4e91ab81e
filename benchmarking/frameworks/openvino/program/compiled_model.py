"""A model compiled by OpenVINO: runs it, and describes it by the graph that OpenVINO created."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import AbstractSet, Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from benchmarking.frameworks.kit import tensors
from benchmarking.frameworks.kit.costs import OperatorFacts
from benchmarking.frameworks.kit.errors import ModelError
from benchmarking.frameworks.kit.kernels import Fact, Kernel, Observation
from benchmarking.frameworks.kit.program import LoadedModel
from benchmarking.frameworks.kit.signature import (
    Signature,
    TensorSignature,
    require_computed,
    require_values,
)

from . import execution_graph
from .execution_graph import ExecutedOperator
from .ir_file import TYPES
from .model_file import ModelFile

_WHERE = re.compile(
    r"Exception from \S+:|Check '.{0,300}?' failed at \S{1,300}:|FrontEnd API failed with \w+:"
)
_SHOWN_CHARACTERS = 400


class OpenVinoModel(LoadedModel):
    operators_later = True

    def __init__(
        self,
        runtime: Any,
        core: Any,
        file: ModelFile,
        properties: Dict[str, Any],
        inputs: Mapping[str, Any],
        wanted: AbstractSet[str],
    ) -> None:
        self._file = file
        self._version = runtime.__version__.partition("-")[0]
        self._asked = properties["INFERENCE_PRECISION_HINT"]
        device = "CPU" if "INFERENCE_NUM_THREADS" in properties else "GPU"
        self._threads = properties.get("INFERENCE_NUM_THREADS", 0)
        self._core = core
        model = self._read()
        with self._one_line():  # here and below, names from the file may not be UTF-8
            self._signature = _signature(file.name, model)
        self._places = self._signature.find_outputs(wanted, self._signature.is_renamed(inputs))
        self._arrays = list(self._signature.feed(inputs).values())
        """The memory of OpenVINO's tensors, which do not keep it alive."""
        self._reshape(model)
        self._is_in_f64 = execution_graph.computes_in_f64(model)
        with self._one_line():
            self._how = device, properties
            self._tensor_type = runtime.Tensor
            self._compiled = self._core.compile_model(model, *self._how)
            self._requests = [self._make_request(self._compiled) for _ in range(max(self._streams, 1))]
            """One for each inference that runs at once; all have the same inputs."""
        for name, port in zip(self._signature.outputs, self._compiled.outputs):
            if port.partial_shape.is_static:
                require_values(name, port.shape)
        self._operators: Sequence[ExecutedOperator] = ()
        self._runs = 0
        self._counted: Optional[_Counted] = None
        self._untold = 0
        """The number of iterations by operators since the times were last requested."""

    def _read(self) -> Any:
        files = [self._file.path, self._file.weights]
        with self._one_line():
            return self._core.read_model(*filter(None, files))

    def _reshape(self, model: Any) -> None:
        if self._arrays:
            with self._one_line():
                model.reshape({port: list(one.shape) for port, one in zip(model.inputs, self._arrays)})

    def _compile_again(self) -> Tuple[Any, Any]:
        """The model once more, and a request with the same inputs."""
        model = self._read()
        self._reshape(model)
        with self._one_line():
            compiled = self._core.compile_model(model, *self._how)
            return compiled, self._make_request(compiled)

    def _make_request(self, compiled: Any) -> Any:
        request = compiled.create_infer_request()
        for at, array in enumerate(self._arrays):
            request.set_input_tensor(at, self._tensor_type(array, shared_memory=True))
        return request

    # --- whole ----------------------------------------------------------------------------------------------

    def run(self) -> None:
        self._runs += 1
        with self._one_line():
            if len(self._requests) == 1:
                self._requests[0].infer(share_outputs=True)
                return
            for request in self._requests:
                request.start_async()
            for request in self._requests:
                request.wait()

    def output_names(self) -> Sequence[str]:
        return self._signature.outputs

    def output(self, name: str) -> Any:
        if name not in self._places:
            self._signature.find_outputs({name})  # the message lists the available outputs
        return require_computed(name, _array(name, self._requests[0].get_output_tensor(self._places[name])))

    @property
    def facts(self) -> Mapping[str, Fact]:
        used = self._precisions()
        return {
            "precision": used[-1],
            "precisions": ",".join(used),
            "precision_asked": self._asked,
            "inferences_per_iteration": len(self._requests),
        }

    @property
    def warnings(self) -> Sequence[str]:
        found = []
        if len(self._requests) > 1:
            found.append(
                "an iteration consists of %d inferences at once; its time is that of all of them"
                % len(self._requests)
            )
        if self._threads and self._property("INFERENCE_NUM_THREADS") != self._threads:
            used = self._property("INFERENCE_NUM_THREADS")
            found.append("OpenVINO uses %d of the %d requested threads" % (used, self._threads))
        computed_in = self._precisions()[-1]
        if self._is_in_f64 and computed_in != "f64":
            found.append("the model is in f64, and OpenVINO computes it in %s" % computed_in)
        return found

    def _precisions(self) -> Sequence[str]:
        with self._one_line():
            return execution_graph.precisions(self._compiled.get_runtime_model())

    @property
    def _streams(self) -> int:
        return self._property("NUM_STREAMS") if self._threads else 1

    def _property(self, name: str) -> int:
        return int(self._compiled.get_property(name))

    @contextmanager
    def _one_line(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, UnicodeDecodeError) as error:
            text = " ".join(_WHERE.sub("", str(error)).split())[:_SHOWN_CHARACTERS]
            raise ModelError(
                "OpenVINO %s cannot run %s (%s): %s"
                % (self._version, self._file.name, self._file.versions, text)
            ) from error

    # --- operator by operator -------------------------------------------------------------------------------

    def _executed(self) -> Sequence[ExecutedOperator]:
        """Available once the model has run."""
        if not self._operators:
            if not self._runs:
                self.run()
            with self._one_line():
                graph, profile = self._compiled.get_runtime_model(), _profile(self._requests[0])
                self._operators = execution_graph.executed(graph, profile)
        return self._operators

    @property
    def operator_names(self) -> Sequence[str]:
        return [one.name for one in self._operators]

    def run_operators(self) -> List[int]:
        if len(self._requests) > 1:
            raise ModelError("operators are not timed while several inferences run; leave run_individual out")
        if self._counted is None:
            self._counted = _Counted(*self._compile_again())
            with self._one_line():
                self._counted.begin()
        with self._one_line():
            self._counted.run()
        self._untold += 1
        return []

    def take_operator_times(self) -> Mapping[str, List[int]]:
        """For each of them, the mean of all iterations by operators."""
        if self._counted is None:
            return {}
        count, self._untold = self._untold, 0
        with self._one_line():
            return {name: [mean_ns] * count for name, mean_ns in self._counted.means_ns().items()}

    def observe(self) -> Observation:
        operators = self._executed()
        lower = {"bf16", "f16"} - {self._asked}
        own = {
            one.name: one.precision not in lower and (self._asked == "f32" or one.precision == self._asked)
            for one in operators
        }
        return Observation(
            {one.name: Kernel(one.kernel, own[one.name]) for one in operators},
            "operators",
            [one.name for one in operators if one.layers],
        )

    def operators(self) -> Sequence[OperatorFacts]:
        model = self._read()
        self._reshape(model)
        with self._one_line():
            by_layer = execution_graph.layer_flops(model)
        return [
            one.facts._replace(flops=one.facts.flops or sum(by_layer.get(name, 0) for name in one.layers))
            for one in self._executed()
        ]


class _Counted:
    """A compiled model that runs only operator by operator: OpenVINO reports means of all runs in whole
    microseconds, and of few runs after many others a mean of their own would be mostly what was cut off.
    """

    def __init__(self, compiled: Any, request: Any) -> None:
        self._compiled = compiled
        self._request = request
        self._runs = 0
        self._first: Mapping[str, int] = {}

    def begin(self) -> None:
        """The first run, which is not counted: it sets up."""
        self.run()
        self._first = _profile(self._request)

    def run(self) -> None:
        self._request.infer(share_outputs=True)
        self._runs += 1

    def means_ns(self) -> Mapping[str, int]:
        means = _profile(self._request)
        operators = execution_graph.executed(self._compiled.get_runtime_model(), means)
        return {
            one.name: max(means[one.node] * self._runs - self._first.get(one.node, 0), 0)
            // max(self._runs - 1, 1)
            for one in operators
        }


def _profile(request: Any) -> Dict[str, int]:
    """The nanoseconds of the executed operators, by OpenVINO's names: means of all runs of the compiled
    model.
    """
    return {
        one.node_name: (one.real_time.seconds * 10**6 + one.real_time.microseconds) * 1000
        for one in request.get_profiling_info()
        if one.status.name == "EXECUTED"
    }


def _array(name: str, tensor: Any) -> Any:
    """
    Raises:
        ModelError: NumPy has no such type: OpenVINO gives its bytes another one.
    """
    type_ = tensor.element_type.get_type_name()
    if type_ == "bf16":
        return tensors.from_bfloat16(tensor.data.view("uint16"))
    if type_ not in TYPES and type_ not in ("u32", "u64"):
        raise ModelError("output %r is of the type %s, which cannot be read" % (name, type_))
    return tensor.data.copy()


def _signature(name: str, model: Any) -> Signature:
    aliases: Dict[str, str] = {}

    def own_name(port: Any) -> str:
        names = sorted(port.names)
        own: str = names[0] if names else port.node.get_friendly_name()
        aliases.update(dict.fromkeys(names[1:], own))
        return own

    inputs = []
    for port in model.inputs:
        shape = None
        if port.partial_shape.rank.is_static:
            shape = tuple(size.get_length() if size.is_static else "" for size in port.partial_shape)
        type_ = port.element_type.get_type_name()
        inputs.append(TensorSignature(own_name(port), TYPES.get(type_, type_), shape))
    outputs = tuple(own_name(port) for port in model.outputs)
    return Signature(name, tuple(inputs), outputs, in_order=True, aliases=aliases)
