"""Parts of a fused net that oneDNN compiles as a whole, each one graph of torch.jit.

oneDNN's Graph API then also fuses a pointwise convolution with the depthwise one behind it, results go from
operator to operator without Python, and within a part memory is used again while it is in the cache.
"""

from __future__ import annotations

from functools import reduce
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import torch

from ..errors import NetError
from .arguments import Arguments
from .operators import onednn_graph
from .operators.convolution import FUSED_CONVOLUTION, HAS_RELU
from .operators.geometry import Fit, Window, is_channels_last, with_channels_innermost
from .operators.linear import as_matrix, canonical_axis, fitting
from .operators.pooling import fitter, rounds_up
from .operators.shape import axis_of_parts
from .overwriting import Node, to_keep
from .plan import PlannedOperator
from .registry import Compute, Operator

_LEAST_OPERATORS = 2
_TOLERANCE = 1e-4
"""Of the largest value: a part whose results differ more is not used."""
_VIEWS = ("aten::permute", "aten::reshape")
"""torch's operators that compute nothing."""


class Part(NamedTuple):
    """Operators that follow each other in the plan, as one function."""

    first: int
    """The position in the plan of the first of them."""
    operators: Sequence[PlannedOperator]
    inputs: Tuple[str, ...]
    """The blobs that it takes."""
    outputs: Tuple[str, ...]
    """The blobs that it returns, a tuple if there are several: those that are read afterwards. Others may
    follow.
    """
    compute: Compute
    kinds: Sequence[Tuple[str, str]]
    """torch's operators in it (``aten::conv2d``), each with the name of the operator that it is a part of."""


def parts(
    plan: Sequence[PlannedOperator], known: Mapping[str, Any], constants: Mapping[str, Any]
) -> List[Part]:
    """As few as possible; operators that oneDNN cannot compile are in none.

    ``known``: a tensor without values for every blob that is read or written; ``constants``: the values that
    are the same in every run.
    """
    if not onednn_graph.is_there():
        return []
    found: List[Part] = []
    try:
        builder = _Builder(0, known, constants)
        for position, planned in enumerate(plan):
            if not builder.adds(planned):
                found += builder.parts()
                builder = _Builder(position + 1, known, constants)
        return found + builder.parts()
    except (RuntimeError, AttributeError, TypeError):  # an older torch assembles graphs differently
        return []


def wrong_output(
    part: Part, inputs: Mapping[str, Any], run_operators: Callable[[Dict[str, Any]], None]
) -> Optional[str]:
    """The blob that the compiled part computes differently; None: there is none.

    ``run_operators`` computes its operators one by one, in a workspace. It is tried with two different sets
    of inputs, so that a value that was kept from an earlier run is found.
    """
    for shift in (0, 1):
        blobs = {name: torch.empty_like(blob).copy_(blob.roll(shift)) for name, blob in inputs.items()}
        given = [blob.clone() for blob in blobs.values()]
        results = part.compute(*blobs.values())
        for name, before in zip(blobs, given):
            if not torch.equal(blobs[name].nan_to_num(), before.nan_to_num()):
                return name
        run_operators(blobs)
        for name, result in zip(part.outputs, results if isinstance(results, tuple) else (results,)):
            if not _is_close(result, blobs[name]):
                return name
    return None


def _is_close(found: Any, expected: Any) -> bool:
    is_finite = expected.isfinite()
    if not torch.equal(is_finite, found.isfinite()):
        return False
    largest = expected[is_finite].abs().max() if is_finite.any() else 0.0
    return bool(((found - expected)[is_finite].abs() <= _TOLERANCE * largest).all())


class _NotCompilableError(Exception):
    pass


def _require(condition: bool) -> None:
    if not condition:
        raise _NotCompilableError


class _Builder:
    def __init__(self, first: int, known: Mapping[str, Any], constants: Mapping[str, Any]) -> None:
        self._known = known
        self._constants = constants
        self._graph = onednn_graph.Graph()
        self._kinds: List[Tuple[str, str]] = []
        self._nodes: List[Node] = []
        self._values: Dict[int, Any] = {}
        """The results of the nodes."""
        self._first = first
        self._operators: List[PlannedOperator] = []
        self._inputs: Dict[str, Any] = {}
        self._written: Dict[str, Any] = {}

    def adds(self, planned: PlannedOperator) -> bool:
        """False: it was not added, because oneDNN cannot compile it."""
        one = planned.definition
        emit = _EMITTERS.get(one.type)
        if emit is None:
            return False
        op = Operator(
            one.type,
            Arguments(one.arg),
            tuple(one.input),
            tuple(one.output),
            workspace={},
            seed=0,
            constants=self._constants.keys(),
            read_by_others=frozenset(),
            overwrites=False,
            prepare_net=_no_net,
        )
        try:
            _require(set(one.output[1:]) <= set(planned.frees))
            _require(not is_channels_last(op.arguments))
            for like in (self._known[name] for name in (*one.input, one.output[0])):
                _require(like.dtype == torch.float32 and like.numel() > 0)
            result = emit(_Place(self, planned.name, op))
        except (_NotCompilableError, NetError):
            return False
        self._written[one.output[0]] = result
        self._operators.append(planned)
        return True

    def parts(self) -> List[Part]:
        """None or one."""
        if len(self._operators) < _LEAST_OPERATORS:
            return []
        freed = {name for one in self._operators for name in one.frees}
        outputs = {name: value for name, value in self._written.items() if name not in freed}
        returned = {value.unique(): value for value in outputs.values()}
        kept = {number: self._values[number] for number in sorted(to_keep(self._nodes))}
        function = self._graph.function("part", list({**returned, **kept}.values()))
        returns_more = len(outputs) == 1 and not kept.keys() <= returned.keys()

        def compute(*inputs: Any) -> Any:
            # So all results have their channels innermost, as oneDNN computes them.
            found = function(*[with_channels_innermost(x) if x.dim() == 4 else x for x in inputs])
            return found[0] if returns_more else found

        inputs = tuple(self._inputs)
        return [Part(self._first, self._operators, inputs, tuple(outputs), compute, self._kinds)]

    # --- for the operators ----------------------------------------------------------------------------------

    def like(self, name: str) -> Any:
        return self._known[name]

    def blob(self, name: str) -> Any:
        """A blob that the net computes, as a value of the graph."""
        _require(name not in self._constants)
        if name in self._written:
            return self._written[name]
        if name not in self._inputs:
            self._inputs[name] = self._graph.input("x%d" % len(self._inputs))
        return self._inputs[name]

    def is_written(self, name: str) -> bool:
        return name in self._written

    def constant(self, name: str) -> Any:
        """A tensor that is the same in every run."""
        _require(name in self._constants)
        value = self._constants[name]
        return value.to_dense() if value.is_mkldnn else value

    def add(self, name: str, kind: str, inputs: Sequence[Any]) -> Any:
        """``inputs``: values of the graph, lists of them, or constants."""
        values: List[Any] = []
        reads: List[Any] = []
        for one in inputs:
            is_value = isinstance(one, torch._C.Value)
            is_list = isinstance(one, tuple)
            values.append(
                one if is_value else self._graph.list_of(one) if is_list else self._graph.constant(one)
            )
            reads += [one] if is_value else one if is_list else []
        if kind not in _VIEWS:
            self._kinds.append((kind, name))
        result = self._graph.add(kind, *values)
        read = tuple(value.unique() for value in reads)
        is_grouped = kind == "aten::conv2d" and inputs[-1] > 1
        self._nodes.append(Node(kind, read, result.unique(), is_grouped))
        self._values[result.unique()] = result
        return result


def _no_net(net: Any) -> Callable[[], None]:
    raise _NotCompilableError


class _Place(NamedTuple):
    """An operator in a part."""

    part: _Builder
    name: str
    op: Operator

    def x(self, index: int = 0) -> Any:
        return self.part.blob(self.op.inputs[index])

    def all(self, first: int = 0) -> Tuple[Any, ...]:
        return tuple(map(self.part.blob, self.op.inputs[first:]))

    def constant(self, index: int) -> Any:
        return self.part.constant(self.op.inputs[index])

    @property
    def like_x(self) -> Any:
        return self.part.like(self.op.inputs[0])

    @property
    def shape(self) -> List[int]:
        """Of the result."""
        return list(self.part.like(self.op.outputs[0]).shape)

    def add(self, kind: str, *inputs: Any) -> Any:
        return self.part.add(self.name, kind, inputs)


def _convolution(place: _Place) -> Any:
    """Inputs: x, weights, perhaps a bias and a blob to add; Relu comes last."""
    weight = place.constant(1)
    bias = place.constant(2) if place.op.input_count > 2 else None
    fit = Window.of(place.op.arguments).fit(place.like_x.shape[2:])
    _require(len(fit.kernel) == 2)
    others, x, padding = place.all(3), place.x(), fit.heads
    if not fit.is_symmetric:
        x, padding = place.add("aten::constant_pad_nd", x, fit.torch_padding, 0.0), [0, 0]
    group = place.op.arguments.integer("group", 1)
    y = place.add("aten::conv2d", x, weight.contiguous(), bias, fit.stride, padding, fit.dilation, group)
    for other in others:
        y = place.add("aten::add", y, other, 1)
    return place.add("aten::relu", y) if place.op.arguments.boolean(HAS_RELU, False) else y


def _relu(place: _Place) -> Any:
    return place.add("aten::relu", place.x())


def _parametric_relu(place: _Place) -> Any:
    """One slope for each value of a row of pixels, whose channels lie innermost behind a convolution."""
    _require(place.part.is_written(place.op.inputs[0]) and len(place.shape) == 4)
    count, channels, height, width = place.shape
    slope = place.constant(1).reshape(-1)
    _require(slope.numel() in (1, channels))
    pixels = place.add("aten::permute", place.x(), [0, 2, 3, 1])
    rows = place.add("aten::reshape", pixels, [count * height, width * channels])
    y = place.add("aten::prelu", rows, slope.expand(width, channels).reshape(-1))
    y = place.add("aten::reshape", y, [count, height, width, channels])
    return place.add("aten::permute", y, [0, 3, 1, 2])


def _sum(place: _Place) -> Any:
    _require(place.op.input_count > 1)
    return reduce(lambda one, other: place.add("aten::add", one, other, 1), place.all())


def _concatenation(place: _Place) -> Any:
    axis, adds_axis = axis_of_parts(place.op)
    _require(not adds_axis)
    return place.add("aten::cat", place.all(), canonical_axis(axis, len(place.shape)))


def _pooling_window(place: _Place) -> Tuple[Fit, bool]:
    sizes = place.like_x.shape[2:]
    fit = fitter(place.op)(sizes)
    up = rounds_up(fit, sizes)
    if len(fit.kernel) != 2 or up is None:
        raise _NotCompilableError
    return fit, up


def _max_pool(place: _Place) -> Any:
    fit, up = _pooling_window(place)
    return place.add("aten::max_pool2d", place.x(), fit.kernel, fit.stride, fit.heads, fit.dilation, up)


def _average_pool(place: _Place) -> Any:
    fit, up = _pooling_window(place)
    counts_padding = place.op.arguments.boolean("count_include_pad", False)
    _require(not counts_padding or (not up and fit.is_symmetric))
    window = (fit.kernel, fit.stride, fit.heads)
    return place.add("aten::avg_pool2d", place.x(), *window, up, counts_padding, None)


def _fully_connected(place: _Place) -> Any:
    weight, bias = place.constant(1), place.constant(2)
    layer = fitting(place.op, place.like_x, weight, bias)
    x = place.add("aten::reshape", place.x(), [layer.rows, layer.inputs])
    y = place.add("aten::linear", x, as_matrix(weight, layer).contiguous(), bias)
    return place.add("aten::reshape", y, place.shape)


_EMITTERS: Dict[str, Callable[[_Place], Any]] = {
    "Conv": _convolution,
    FUSED_CONVOLUTION: _convolution,
    "Relu": _relu,
    "PRelu": _parametric_relu,
    "Sum": _sum,
    "Concat": _concatenation,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "FC": _fully_connected,
}
