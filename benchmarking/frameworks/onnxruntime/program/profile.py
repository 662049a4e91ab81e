"""What ONNX Runtime writes at the end of a profiled session: a trace with an event for each operator."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from typing import Any, BinaryIO, Dict, List, NamedTuple, Sequence, Tuple

from benchmarking.frameworks.kit.errors import ModelError

_SUFFIX = "_kernel_time"
_NUMBERED = re.compile(r"_token_\d+")
"""Added to names that ONNX Runtime gives to operators of its own: the numbers differ from run to run."""


class Tensor(NamedTuple):
    type: str
    """As ONNX has it: ``float``, ``int64`` ..."""
    shape: Tuple[int, ...]


class ProfiledOperator(NamedTuple):
    name: str
    """``ID_<index>_<type>_<name>``, the same in every run; two operators may have the same name."""
    type: str
    provider: str
    inputs: Sequence[Tensor]
    """Those that are left out, and weights that were packed before, are not among them."""
    outputs: Sequence[Tensor]
    parameter_bytes: int

    @property
    def kernel(self) -> str:
        return "%s (%s)" % (self.type, self.provider.replace("ExecutionProvider", ""))


class Profile(NamedTuple):
    operators: Sequence[ProfiledOperator]
    times_ns: List[List[int]]
    """By run, in the order of the operators. ONNX Runtime counts whole microseconds."""


class ProfileFile:
    """It is open and without a name while the session writes to it: whoever is killed leaves nothing."""

    def __init__(self) -> None:
        try:
            self._directory = tempfile.mkdtemp(prefix="onnxruntime-")
        except OSError as error:
            raise ModelError("no place for a profile: %s; set TMPDIR" % error) from error
        self.prefix = os.path.join(self._directory, "profile")

    def opened(self) -> None:
        """The session has been made."""
        (name,) = os.listdir(self._directory)
        self._stream: BinaryIO = open(os.path.join(self._directory, name), "rb")  # noqa: SIM115
        shutil.rmtree(self._directory)

    def read(self, runs: int) -> Profile:
        """The session has ended.

        Raises:
            ModelError: it does not say what is needed, for each of as many runs.
        """
        with self._stream:
            try:
                return parse(json.load(self._stream), runs)
            except ValueError as error:
                raise ModelError("ONNX Runtime's profile cannot be read: %s" % error) from error


def parse(events: List[Dict[str, Any]], runs: int) -> Profile:
    """Raises:
    ValueError: see ``ProfileFile.read``.
    """
    found = [run for run in _runs(events) if run]
    counts = {len(run) for run in found}
    if len(found) != runs or len(counts) != 1:
        raise ValueError("it has %d runs of %s operators; %d were made" % (len(found), counts, runs))
    operators = [_operator(index, event) for index, event in enumerate(found[0])]
    return Profile(operators, [[int(event["dur"]) * 1000 for event in run] for run in found])


def _runs(events: List[Dict[str, Any]]) -> List[List[Dict[str, Any]]]:
    """The operators of each run. Events come when they end: a graph in an operator before the operator."""
    runs: List[List[Dict[str, Any]]] = []
    operators: List[Dict[str, Any]] = []
    for event, following in zip(events, [*events[1:], {}]):
        if event.get("cat") == "Node" and event["name"].endswith(_SUFFIX):
            operators.append(event)
        elif event.get("name") == "SequentialExecutor::Execute":
            if following.get("name") == "model_run":
                runs.append(operators)
                operators = []
            else:  # of a graph in an operator, whose time includes it
                operators = [one for one in operators if one["ts"] < event["ts"]]
    return runs


def _operator(index: int, event: Dict[str, Any]) -> ProfiledOperator:
    values = event["args"]
    type_, name = values["op_name"], _NUMBERED.sub("", event["name"][: -len(_SUFFIX)])
    return ProfiledOperator(
        "ID_%d_%s_%s" % (index, type_, name.replace(" ", "_") or type_),
        type_,
        values["provider"],
        _tensors(values.get("input_type_shape", [])),
        _tensors(values.get("output_type_shape", [])),
        int(values.get("parameter_size", 0)),
    )


def _tensors(values: List[Dict[str, List[int]]]) -> List[Tensor]:
    return [Tensor(type_, tuple(shape)) for value in values for type_, shape in value.items()]
