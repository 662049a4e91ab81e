"""``--optimize fuse``: the optimizations that a deployed runtime applies to a net before it runs it.

Operators of constants are computed once; batch normalization and other factors and offsets per channel are
folded into the weights of the preceding convolution, or into each other; a convolution adds another blob and
applies Relu while its result is in cache; Dropout is left out; results overwrite inputs that are no longer
needed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import AbstractSet, Any, Callable, Dict, List, Optional, Set, Tuple

import torch

from .. import messages
from ..errors import NetError
from ..net_check import inner_nets, label_of, observed_name, own_name
from .arguments import Arguments
from .operators import OPERATORS
from .operators.convolution import FUSED_CONVOLUTION, HAS_RELU
from .operators.elementwise import require_copy
from .operators.geometry import is_channels_last
from .operators.normalization import factor_and_offset, require_test_mode
from .plan import PlannedOperator, writes_through_alias, written_blobs

_RANDOM = ("UniformFill", "GaussianFill", "XavierFill", "MSRAFill", "UniformIntFill")
_PER_CHANNEL = ("SpatialBN", "AffineChannel", "Mul", "Add")
_CONVOLUTIONS = ("Conv", FUSED_CONVOLUTION)
_OVERWRITABLE_INPUT = {"Relu": 0, "Clip": 0, "ReluN": 0, "Sum": 0, "AffineChannel": 0, FUSED_CONVOLUTION: 3}

EVERYTHING = "*"
"""Stands for all blobs that are left."""

ComputeOnce = Callable[[PlannedOperator], Dict[str, Any]]
"""Takes an operator that reads only constants; returns the blobs that it writes."""


@dataclass
class _Node:
    index: int
    """The name of its first operator in the net."""
    definition: Any
    own_name: str
    """The outputs of its last operator."""
    types: List[str] = field(default_factory=list)
    """The types of all its operators."""

    @property
    def output(self) -> str:
        return str(self.definition.output[0])


def why_not(net: Any, blobs: AbstractSet[str]) -> Optional[str]:
    """The reason why a net cannot be fused; None: it can. ``blobs``: those that exist before it runs."""
    if inner_nets(net):
        return "the net contains other nets"
    if writes_through_alias(net):
        return "the net overwrites a blob that also has another name"
    if blobs & written_blobs(net):
        return "the net overwrites its inputs or weights"
    return None


def fused(
    net: Any, constants: Dict[str, Any], wanted: AbstractSet[str], compute_once: ComputeOnce
) -> Tuple[List[PlannedOperator], Dict[str, Any]]:
    """The plan, and the remaining constants.

    ``wanted``: the blobs that must exist afterwards, in addition to the net's outputs. The net has to be one
    that can be fused (``why_not``).
    """
    graph = _Graph(net, dict(constants), wanted | set(net.external_output), compute_once)
    for change in (
        graph.fold_constants,
        graph.leave_out_dropout,
        graph.fold_factors_and_offsets,
        graph.add_within_convolutions,
        graph.apply_relu_within_convolutions,
    ):
        change()
    return graph.plan(), graph.constants_left()


class _Graph:
    """The net with a separate name for each value: a blob that is written again is a new value."""

    def __init__(
        self, net: Any, constants: Dict[str, Any], kept: AbstractSet[str], compute_once: ComputeOnce
    ) -> None:
        self._constants = constants
        self._kept = kept
        self._compute_once = compute_once
        self._nodes = _with_single_assignments(net)
        self._unnamed = constants.keys() - {name for one in net.op for name in one.input}

    # --- what there is --------------------------------------------------------------------------------------

    def _readers(self) -> Dict[str, List[_Node]]:
        readers: Dict[str, List[_Node]] = {}
        for node in self._nodes:
            for name in node.definition.input:
                readers.setdefault(name, []).append(node)
        return readers

    def _producers(self) -> Dict[str, _Node]:
        return {name: node for node in self._nodes for name in node.definition.output}

    def _is_only_for(self, name: str, node: _Node, readers: Dict[str, List[_Node]]) -> bool:
        return name not in self._kept and readers.get(name) == [node]

    def _only_source(
        self, node: _Node, readers: Dict[str, List[_Node]], producers: Dict[str, _Node]
    ) -> Optional[_Node]:
        """The operator that computes the first input, if the input is computed only for this node."""
        source = node.definition.input[0] if node.definition.input else ""
        return producers.get(source) if self._is_only_for(source, node, readers) else None

    def _constant_inputs(self, node: _Node, first: int) -> Optional[List[Any]]:
        """The inputs from ``first`` on, if all of them are constants."""
        names = node.definition.input[first:]
        return [self._constants[name] for name in names] if set(names) <= set(self._constants) else None

    def _add_constant(self, name: str, value: Any) -> str:
        self._constants[name] = value
        return name

    # --- changes --------------------------------------------------------------------------------------------

    def fold_constants(self) -> None:
        left = []
        for node in self._nodes:
            one = node.definition
            is_known = one.type not in _RANDOM and set(one.input) <= set(self._constants)
            if is_known and not self._kept & set(one.output):
                self._constants.update(self._compute_once(_planned(node, False)))
            else:
                left.append(node)
        self._nodes = left

    def leave_out_dropout(self) -> None:
        producers, left = self._producers(), []
        renamed: Dict[str, str] = {}
        for node in self._nodes:
            one = node.definition
            one.input[:] = [renamed.get(name, name) for name in one.input]
            source = one.input[0] if one.input else ""
            if not _only_copies(one) or self._kept & set(one.output):
                left.append(node)
                continue
            renamed[one.output[0]] = source
            if source in producers:
                producers[source].types.append(one.type)
        self._nodes = left

    def fold_factors_and_offsets(self) -> None:
        readers, producers, left = self._readers(), self._producers(), []
        for node in self._nodes:
            known = self._factor_and_offset(node)
            before = self._only_source(node, readers, producers)
            if known is not None and before is not None and self._fold_into(before, *known):
                self._absorb(before, node)
                producers[before.output] = before
            else:
                left.append(node)
        self._nodes = left

    def add_within_convolutions(self) -> None:
        readers, producers = self._readers(), self._producers()
        place = {id(node): number for number, node in enumerate(self._nodes)}
        absorbed: Set[int] = set()
        for node in self._nodes:
            names = list(node.definition.input)
            if node.definition.type != "Sum" or len(names) != 2:
                continue
            # The operator that is computed later finds the other result already there.
            names.sort(key=lambda name: place[id(producers[name])] if name in producers else -1)
            other, late = names
            convolution = producers.get(late)
            if (
                convolution is None
                or convolution.definition.type != "Conv"
                or not self._is_only_for(late, node, readers)
                or not self._can_be_fused(convolution)
            ):
                continue
            self._as_fused(convolution)
            convolution.definition.input.append(other)
            self._absorb(convolution, node)
            producers[convolution.output] = convolution
            absorbed.add(id(node))
        self._nodes = [node for node in self._nodes if id(node) not in absorbed]

    def apply_relu_within_convolutions(self) -> None:
        readers, producers, left = self._readers(), self._producers(), []
        for node in self._nodes:
            before = self._only_source(node, readers, producers)
            if node.definition.type == "Relu" and before is not None and self._can_be_fused(before):
                self._as_fused(before)
                before.definition.arg.add(name=HAS_RELU, i=1)
                self._absorb(before, node)
                producers[before.output] = before
            else:
                left.append(node)
        self._nodes = left

    # --- parts of changes -----------------------------------------------------------------------------------

    def _absorb(self, before: _Node, node: _Node) -> None:
        before.types += node.types
        before.own_name = node.own_name
        before.definition.output[:] = node.definition.output[:1]

    def _factor_and_offset(self, node: _Node) -> Optional[Tuple[Any, Any]]:
        """The vectors of an operator that computes y = factor * x + offset channel by channel."""
        try:
            return self._known_factor_and_offset(node)
        except NetError:
            return None  # an argument is wrong: the operator reports this, with its name, when it is prepared

    def _known_factor_and_offset(self, node: _Node) -> Optional[Tuple[Any, Any]]:
        one, arguments = node.definition, Arguments(node.definition.arg)
        values = self._constant_inputs(node, 1)
        if one.type not in _PER_CHANNEL or values is None or is_channels_last(arguments):
            return None
        # Parameters of other shapes stay with their operator, which reports what is wrong with them.
        if not all(one.dtype == torch.float32 and one.shape == (values[0].numel(),) for one in values):
            return None
        if one.type == "SpatialBN" and len(one.output) == 1:
            require_test_mode(arguments)
            return factor_and_offset(values[:4], arguments.number("epsilon", 1e-5))
        if one.type == "AffineChannel":
            return values[0], values[1]
        if one.type in ("Mul", "Add"):
            if not arguments.boolean("broadcast", False) or arguments.integer("axis", -1) != 1:
                return None
            zeros = torch.zeros_like(values[0])
            return (values[0], zeros) if one.type == "Mul" else (zeros + 1, values[0])
        return None

    def _fold_into(self, before: _Node, factor: Any, offset: Any) -> bool:
        """Makes an operator compute factor * its result + offset; False: this is not possible."""
        if before.definition.type == "Conv":
            return self._fold_into_convolution(before, factor, offset)
        known = self._factor_and_offset(before)
        if known is None or before.definition.type not in ("AffineChannel", "SpatialBN"):
            return False
        first_factor, first_offset = known
        if first_factor.shape != factor.shape:
            return False
        name = before.definition.output[0]
        inputs = [
            before.definition.input[0],
            self._add_constant(name + " factor", first_factor * factor),
            self._add_constant(name + " offset", first_offset * factor + offset),
        ]
        before.definition = messages.OperatorDef(type="AffineChannel", input=inputs, output=[name])
        return True

    def _fold_into_convolution(self, before: _Node, factor: Any, offset: Any) -> bool:
        one = before.definition
        weights = self._constant_inputs(before, 1)
        if weights is None or not _is_channels_first(one):
            return False
        if not all(one.dim() > 0 and one.shape[0] == len(factor) for one in weights):
            return False
        bias = weights[1] if len(weights) == 2 else torch.zeros_like(factor)
        name = one.output[0]
        shape = (-1,) + (1,) * (weights[0].dim() - 1)
        one.input[1:] = [
            self._add_constant(name + " weights", weights[0] * factor.reshape(shape)),
            self._add_constant(name + " bias", bias * factor + offset),
        ]
        return True

    def _can_be_fused(self, node: _Node) -> bool:
        one = node.definition
        if one.type not in _CONVOLUTIONS or not _is_channels_first(one):
            return False
        return set(one.input[1:3]) <= set(self._constants) and self._constants[one.input[1]].dim() == 4

    def _as_fused(self, node: _Node) -> None:
        """The operator with a place for the added blob and for Relu; its third input is always a bias."""
        one = node.definition
        one.type = FUSED_CONVOLUTION
        if len(one.input) == 2:
            weight = self._constants[one.input[1]]
            one.input.append(self._add_constant(node.output + " bias", torch.zeros(weight.shape[0])))

    # --- the result -----------------------------------------------------------------------------------------

    def constants_left(self) -> Dict[str, Any]:
        """Includes those that the net has never named: some operators know a blob by its name."""
        left = {name for node in self._nodes for name in node.definition.input} | self._kept | self._unnamed
        return {name: value for name, value in self._constants.items() if name in left}

    def plan(self) -> List[PlannedOperator]:
        readers, producers = self._readers(), self._producers()
        return [
            _planned(
                node, self._may_overwrite(node, readers, producers), self._frees(node, readers, producers)
            )
            for node in self._nodes
        ]

    def _frees(
        self, node: _Node, readers: Dict[str, List[_Node]], producers: Dict[str, _Node]
    ) -> Tuple[str, ...]:
        """What it reads last, and outputs that nobody reads; a first output that nobody reads is a result."""
        if EVERYTHING in self._kept:
            return ()
        read_last = [name for name in dict.fromkeys(node.definition.input) if readers[name][-1] is node]
        unread = [name for name in node.definition.output[1:] if name not in readers]
        return tuple(name for name in (*read_last, *unread) if name in producers and name not in self._kept)

    def _may_overwrite(
        self, node: _Node, readers: Dict[str, List[_Node]], producers: Dict[str, _Node]
    ) -> bool:
        """Whether the input that it can overwrite is not read after it, under any name."""
        inputs = node.definition.input
        number = _OVERWRITABLE_INPUT.get(node.definition.type)
        if number is None or number >= len(inputs):
            return False
        name = inputs[number]
        producer = producers.get(name)
        if producer is None or name in self._kept or readers[name][-1] is not node:
            return False
        touching = [producer, *readers[name]]
        return list(inputs).count(name) == 1 and not any(
            OPERATORS[one.definition.type].shares_memory for one in touching
        )


def _only_copies(definition: Any) -> bool:
    if definition.type != "Dropout":
        return False
    try:
        require_copy(Arguments(definition.arg))
    except NetError:
        return False  # the operator reports this, with its name, when it is prepared
    return True


def _is_channels_first(definition: Any) -> bool:
    """Also False if the order is wrong, which the operator reports when it is prepared."""
    try:
        return not is_channels_last(Arguments(definition.arg))
    except NetError:
        return False


def _planned(node: _Node, overwrites: bool, frees: Tuple[str, ...] = ()) -> PlannedOperator:
    types = "+".join(node.types)
    return PlannedOperator(
        node.definition,
        label_of(node.index, types, node.own_name),
        observed_name(node.index, types, node.own_name),
        tuple(node.types),
        overwrites,
        frees=frees,
    )


def _with_single_assignments(net: Any) -> List[_Node]:
    """The last value of a blob keeps its name."""
    last_writer = {name: index for index, one in enumerate(net.op) for name in one.output}
    current: Dict[str, str] = {}
    nodes = []
    for index, one in enumerate(net.op):
        definition = messages.OperatorDef()
        definition.CopyFrom(one)
        definition.input[:] = [current.get(name, name) for name in one.input]
        for name in one.output:
            current[name] = name if last_writer[name] == index else "%s @%d" % (name, index)
        definition.output[:] = [current[name] for name in one.output]
        nodes.append(_Node(index, definition, own_name(one), [one.type]))
    return nodes
