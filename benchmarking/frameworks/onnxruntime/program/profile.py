"""Reads the trace that ONNX Runtime writes at the end of a profiled session, with an event for
each operator.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from typing import Any, BinaryIO, Dict, List, Mapping, NamedTuple, Sequence, Tuple

from benchmarking.frameworks.kit.errors import ModelError

_SUFFIX = "_kernel_time"
_ADDED = re.compile(r"^fused |_nchwc$")
"""Added to the name of an operator of the file, or of its output."""
_NUMBERED = re.compile(r"_token_\d+")
"""Added to the names of operators that ONNX Runtime inserts: the numbers differ from run to run."""


class Tensor(NamedTuple):
    type: str
    """The type in ONNX's terms: ``float``, ``int64`` ..."""
    shape: Tuple[int, ...]


class ProfiledOperator(NamedTuple):
    name: str
    """``ID_<place in the file>_<type>_<name>``: the runtime's own order differs from process to process."""
    type: str
    provider: str
    inputs: Sequence[Tensor]
    """Inputs that are left out, and weights that were packed before, are not included."""
    outputs: Sequence[Tensor]
    parameter_bytes: int

    @property
    def kernel(self) -> str:
        return "%s (%s)" % (self.type, self.provider.replace("ExecutionProvider", ""))


class Profile(NamedTuple):
    operators: Sequence[ProfiledOperator]
    times_ns: List[Dict[str, int]]
    """The nanoseconds by run and operator. ONNX Runtime counts whole microseconds."""


class ProfileFile:
    """The file is open and has no name while the session writes to it, so that a killed process leaves
    nothing behind.
    """

    def __init__(self) -> None:
        try:
            self._directory = tempfile.mkdtemp(prefix="onnxruntime-")
        except OSError as error:
            raise ModelError("no place for a profile: %s; set TMPDIR" % error) from error
        self.prefix = os.path.join(self._directory, "profile")

    def opened(self) -> None:
        """Called when the session has been created."""
        (name,) = os.listdir(self._directory)
        self._stream: BinaryIO = open(os.path.join(self._directory, name), "rb")  # noqa: SIM115
        shutil.rmtree(self._directory)

    def read(self, runs: int, positions: Mapping[str, int]) -> Profile:
        """Called when the session has ended.

        Raises:
            ModelError: it does not say what is needed, for each of as many runs.
        """
        with self._stream:
            try:
                return parse(json.load(self._stream), runs, positions)
            except ValueError as error:
                raise ModelError("ONNX Runtime's profile cannot be read: %s" % error) from error


def parse(events: List[Dict[str, Any]], runs: int, positions: Mapping[str, int]) -> Profile:
    """``positions``: the positions of operators in the model's file, by name.

    Raises:
        ValueError: see ``ProfileFile.read``.
    """
    found = [run for run in _runs(events) if run]
    counts = {len(run) for run in found}
    if len(found) != runs or len(counts) != 1:
        raise ValueError("it has %d runs of %s operators instead of %d" % (len(found), counts, runs))
    names = _names(found[0], positions)
    operators = [_operator(name, event) for name, event in zip(names, found[0])]
    operators.sort(key=lambda one: (int(one.name.split("_", 2)[1]), one.name))
    times_ns = [{name: int(event["dur"]) * 1000 for name, event in zip(names, run)} for run in found]
    return Profile(operators, times_ns)


def _names(events: List[Dict[str, Any]], positions: Mapping[str, int]) -> List[str]:
    """An operator that the runtime has inserted is named after the operator before it."""
    names: List[str] = []
    seen: Dict[str, int] = {}
    position, last = 0, ""
    for event in events:
        type_, own = event["args"]["op_name"], event["name"][: -len(_SUFFIX)]
        known = positions.get(_ADDED.sub("", own))
        if known is None:
            own = _NUMBERED.sub("", own)
            own = "_".join(filter(None, ("" if own == type_ else own, last)))
        else:
            position, last = known, own
        name = "ID_%d_%s_%s" % (position, type_, own.replace(" ", "_") or type_)
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else "%s_%d" % (name, seen[name]))
    return names


def _runs(events: List[Dict[str, Any]]) -> List[List[Dict[str, Any]]]:
    """The operators of each run. Events are in the order of their ends: a graph in an operator comes before
    the operator.
    """
    runs: List[List[Dict[str, Any]]] = []
    operators: List[Dict[str, Any]] = []
    for event, following in zip(events, [*events[1:], {}]):
        if event.get("cat") == "Node" and event["name"].endswith(_SUFFIX):
            operators.append(event)
        elif event.get("name") == "SequentialExecutor::Execute":
            if following.get("name") == "model_run":
                runs.append(operators)
                operators = []
            else:  # belongs to a graph in an operator, whose time includes it
                operators = [one for one in operators if one["ts"] < event["ts"]]
    return runs


def _operator(name: str, event: Dict[str, Any]) -> ProfiledOperator:
    values = event["args"]
    return ProfiledOperator(
        name,
        values["op_name"],
        values["provider"],
        _tensors(values.get("input_type_shape", [])),
        _tensors(values.get("output_type_shape", [])),
        int(values.get("parameter_size", 0)),
    )


def _tensors(values: List[Dict[str, List[int]]]) -> List[Tensor]:
    return [Tensor(type_, tuple(shape)) for value in values for type_, shape in value.items()]
