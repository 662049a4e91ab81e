"""The method ``forward`` of an ExecuTorch program: timed as a whole, and profiled by another one."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from typing import AbstractSet, Any, Dict, Iterator, List, Mapping, Sequence

import torch

from benchmarking.frameworks.kit import printed
from benchmarking.frameworks.kit.costs import OperatorFacts
from benchmarking.frameworks.kit.errors import ModelError
from benchmarking.frameworks.kit.kernels import Fact, Kernel, Observation
from benchmarking.frameworks.kit.program import LoadedModel
from benchmarking.frameworks.kit.signature import Signature, TensorSignature, require_computed

from . import profile

METHOD = "forward"
_TYPES = {
    0: "uint8_t",
    1: "int8_t",
    2: "int16_t",
    3: "int",
    4: "int64_t",
    5: "float16",
    6: "float",
    7: "double",
    11: "bool",
}
"""A specification's name of a type by the number that torch has for it."""


class MethodModel(LoadedModel):
    operators_later = True

    def __init__(
        self,
        runtime: Any,
        path: str,
        *,
        threads: int,
        inputs: Mapping[str, Any],
        wanted: AbstractSet[str],
        times_operators: bool,
    ) -> None:
        self._runtime = runtime
        self._path = path
        self._times_operators = times_operators
        self._name = os.path.splitext(os.path.basename(path))[0]
        self._profiled: Any = None
        self._names: Sequence[str] = ()
        with self._one_line():
            runtime._unsafe_reset_threadpool(threads)
        with self._one_line():
            self._program = self._load()
            self._method = self._program.load_method(METHOD)
        self._signature = self._read_signature()
        self._tensors = [torch.from_numpy(one) for one in self._signature.feed(inputs).values()]
        self._places = self._signature.find_outputs(wanted, self._signature.is_renamed(inputs))
        with self._one_line():
            self._method.set_inputs(self._tensors)  # checks their sizes

    def _load(self, **options: Any) -> Any:
        """Checked first: a damaged file would end the process."""
        check = self._runtime.Verification.InternalConsistency
        return self._runtime._load_program(self._path, program_verification=check, **options)

    def _read_signature(self) -> Signature:
        """A file has no names, and of a dimension that is open it has the largest size: the runtime checks
        sizes itself."""
        meta = self._method.method_meta()
        tensors = [meta.input_tensor_meta(at) for at in range(meta.num_inputs())]
        inputs = []
        for at, one in enumerate(tensors):
            type_ = _TYPES.get(one.dtype(), "number %d of torch's" % one.dtype())
            inputs.append(TensorSignature("input_%d" % at, type_, tuple(map(str, one.sizes()))))
        count = meta.num_outputs()
        outputs = tuple("output_%d" % at for at in range(count)) if count > 1 else ("output",)
        return Signature(self._name, tuple(inputs), outputs, in_order=True)

    def run(self) -> None:
        try:
            self._run(self._method)
        except RuntimeError as error:
            raise ModelError("ExecuTorch cannot run %s: %s" % (self._name, error)) from error

    def _run(self, method: Any) -> None:
        """Inputs are copied into memory that the method uses again for something else while it runs."""
        method.set_inputs(self._tensors)
        method.execute()

    @property
    def facts(self) -> Mapping[str, Fact]:
        return {"backends": ",".join(self._runtime._get_registered_backend_names())}

    def output_names(self) -> Sequence[str]:
        return self._signature.outputs

    def output(self, name: str) -> Any:
        if name not in self._places:
            self._signature.find_outputs({name})  # it says what there is
        value = self._method.get_outputs()[self._places[name]]
        return require_computed(name, value.contiguous().numpy())

    @contextmanager
    def _one_line(self) -> Iterator[None]:
        """The runtime prints why it fails, and raises no more than a number."""
        with printed.captured(printed.STDOUT, printed.STDERR) as text:
            try:
                yield
            except (RuntimeError, ValueError) as error:
                printed.flush()
                text.seek(0)
                lines = text.read().decode("utf-8", "replace").split("\n")
                reasons = [line.partition("] ")[2] for line in lines if line.startswith("[")]
                why = "; ".join([*reasons[-2:], str(error)])
                raise ModelError("ExecuTorch cannot run %s: %s" % (self._name, why)) from error

    # --- operator by operator -------------------------------------------------------------------------------

    @property
    def operator_names(self) -> Sequence[str]:
        return self._names

    def run_operators(self) -> List[int]:
        if self._profiled is None:
            with self._one_line():
                self._profiled = self._load(enable_etdump=True)
                self._profiled_method = self._profiled.load_method(METHOD)
                self._run(self._profiled_method)
            self._take()  # not counted: the first run sets up
        self._run(self._profiled_method)
        return []

    def take_operator_times(self) -> Mapping[str, List[int]]:
        return {one.name: list(one.times_ns) for one in self._take()} if self._profiled is not None else {}

    def _take(self) -> Sequence[profile.Operator]:
        with tempfile.NamedTemporaryFile(suffix=".etdump") as file:
            self._profiled.write_etdump_result_to_file(file.name)
            operators = profile.read(file.name)
        self._names = [one.name for one in operators]
        return operators

    def observe(self) -> Observation:
        if not self._times_operators:  # to read a profile takes seconds
            return Observation({}, "operators", ())
        kernels: Dict[str, Kernel] = {one.name: Kernel(one.kernel, True) for one in self._one_run()}
        return Observation(kernels, "operators", list(kernels))

    def operators(self) -> Sequence[OperatorFacts]:
        """None: a file keeps no shapes of what lies inside a backend."""
        return ()

    def _one_run(self) -> Sequence[profile.Operator]:
        self.run_operators()
        return self._take()
