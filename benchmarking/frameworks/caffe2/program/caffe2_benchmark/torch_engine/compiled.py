"""Parts of a fused net that oneDNN computes as a whole, without torch between the operators.

Each part is a list of oneDNN's primitives on memory that was laid out once: channels innermost, and memory of
blobs that nobody reads any more is used again while it is in the cache. What reads a concatenation reads its
parts, where it can: a convolution of it is a sum of convolutions.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import torch

from .. import library_kernels
from ..errors import NetError
from .allocator import LargePages, aligned
from .arguments import Arguments
from .host_kernels import NOTHING
from .onednn_library import (
    AVERAGE,
    AVERAGE_WITH_PADDING,
    BIAS,
    DST,
    MAX,
    SRC,
    SRC_1,
    WEIGHTS,
    Description,
    Layout,
    Library,
    OnednnError,
    Primitive,
)
from .operators.convolution import FUSED_CONVOLUTION, HAS_RELU
from .operators.geometry import Window, is_channels_last
from .operators.linear import as_matrix, canonical_axis, fitting
from .operators.pooling import fitter, rounds_up
from .operators.shape import axis_of_parts
from .plan import PlannedOperator
from .registry import Compute, Operator

_LEAST_OPERATORS = 2
_MOST_PARTS = 4
"""A convolution of more blobs than this one by one takes longer than to bring them together."""
_TOLERANCE = 1e-4
"""Of the largest value: a part whose results differ more is not used."""
_FLOAT_BYTES = 4


class Part(NamedTuple):
    """Operators that follow each other in the plan, as one function."""

    first: int
    """The position in the plan of the first of them."""
    operators: Sequence[PlannedOperator]
    inputs: Tuple[str, ...]
    """The blobs that it takes."""
    outputs: Tuple[str, ...]
    """The blobs that it returns, a tuple if there are several: those that are read afterwards."""
    compute: Compute
    """Its results stay in the same memory in every run."""
    kernels: Mapping[str, Sequence[str]]
    """Of each operator, by its name: those that compute come first."""


def parts(
    library: Library,
    plan: Sequence[PlannedOperator],
    known: Mapping[str, Any],
    constants: Mapping[str, Any],
) -> List[Part]:
    """As few as possible; operators that oneDNN does not compute well are in none.

    ``known``: a tensor without values for every blob that is read or written; ``constants``: the values that
    are the same in every run.
    """
    reads = Counter(name for one in plan for name in one.definition.input)
    net = _Net(library, known, constants, reads, LargePages())
    found: List[Part] = []
    builder = _Builder(net, 0)
    for position, planned in enumerate(plan):
        if not builder.adds(planned):
            found += builder.parts()
            builder = _Builder(net, position + 1)
    return found + builder.parts()


def wrong_output(
    part: Part, inputs: Mapping[str, Any], run_operators: Callable[[Dict[str, Any]], None]
) -> Optional[str]:
    """The blob that the part computes differently; None: there is none.

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


class _NotPossibleError(Exception):
    pass


def _require(condition: bool) -> None:
    if not condition:
        raise _NotPossibleError


class _Memory:
    """Of one blob, or of several that follow each other."""

    def __init__(self, count: int, name: str = "", tensor: Any = None) -> None:
        """``name``: of the blob that a part takes; ``tensor``: one that is there already."""
        self.count = count
        self.name = name
        self.tensor = tensor
        self.address = 0
        self.is_result = False
        self.first = self.last = -1
        """The numbers of the primitives that write it first and read it last."""

    @property
    def is_own(self) -> bool:
        return not self.name and self.tensor is None


class _Value(NamedTuple):
    layout: Layout
    memory: _Memory
    offset: int = 0
    """In numbers."""


class _Input:
    """Where primitives find a blob that the part takes: images whose channels are outermost are copied, by
    oneDNN, because every operator of torch takes a tenth of a millisecond when its code is not in the cache.
    """

    def __init__(
        self,
        library: Library,
        pages: LargePages,
        layout: Layout,
        readers: Sequence[Tuple[Primitive, int]],
    ) -> None:
        """``readers``: with the position of the argument."""
        self._library = library
        self._readers = readers
        self._place = 0
        self._is_image = len(layout.shape) == 4
        if self._is_image:
            dense = Layout.dense(layout.shape)
            self._copy = pages.take(_FLOAT_BYTES * math.prod(layout.shape))
            self._copied_from = self._copy.data_ptr()
            places = {SRC: (dense, self._copied_from), DST: (layout, self._copy.data_ptr())}
            self._copying = library.primitive(library.copy(dense, layout), places)

    def take(self, x: Any) -> Any:
        """Returns what has to exist as long as it is read."""
        copies = self._is_image and not x.is_contiguous(memory_format=torch.channels_last)
        if copies or not self._is_image:
            x = x.contiguous()
        if copies:
            if x.data_ptr() != self._copied_from:
                self._copied_from = x.data_ptr()
                self._library.relocate(self._copying, 0, self._copied_from)
            self._library.run([self._copying])
        place = (self._copy if copies else x).data_ptr()
        if place != self._place:
            self._place = place
            for primitive, position in self._readers:
                self._library.relocate(primitive, position, place)
        return x


class _Planned(NamedTuple):
    """A primitive whose memory has no address yet."""

    description: Description
    values: Mapping[int, _Value]
    """By the number of oneDNN's argument."""
    packed: Mapping[int, Tuple[Any, Any]]
    """The weights: as ``Library.packed`` returns them."""


class _Net(NamedTuple):
    """As the arguments of ``parts``."""

    library: Library
    known: Mapping[str, Any]
    constants: Mapping[str, Any]
    reads: Mapping[str, int]
    """How often each blob is read."""
    pages: LargePages


class _Builder:
    def __init__(self, net: _Net, first: int) -> None:
        self.net = net
        self._first = first
        self._operators: List[PlannedOperator] = []
        self._kernels: Dict[str, List[str]] = {}
        self._primitives: List[_Planned] = []
        self._inputs: Dict[str, _Value] = {}
        self._written: Dict[str, Tuple[_Value, ...]] = {}
        """Several: the parts of a concatenation that is not in memory."""

    def adds(self, planned: PlannedOperator) -> bool:
        """False: it was not added, because oneDNN does not compute it well."""
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
            constants=self.net.constants.keys(),
            read_by_others=frozenset(),
            overwrites=False,
            prepare_net=_no_net,
        )
        count, inputs, written = len(self._primitives), dict(self._inputs), dict(self._written)
        try:
            _require(set(one.output[1:]) <= set(planned.frees))
            _require(not is_channels_last(op.arguments))
            for like in (self.net.known[name] for name in (*one.input, one.output[0])):
                _require(like.dtype == torch.float32 and like.numel() > 0)
            result = emit(_Place(self, planned, op))
        except (_NotPossibleError, NetError, OnednnError):
            del self._primitives[count:]
            self._inputs, self._written = inputs, written
            return False
        self._written[one.output[0]] = result
        self._operators.append(planned)
        added = self._primitives[count:]
        kernels = [library_kernels.ONEDNN + step.description.implementation for step in added]
        self._kernels[planned.name] = kernels or [NOTHING]
        return True

    def parts(self) -> List[Part]:
        """None or one."""
        if len(self._operators) < _LEAST_OPERATORS:
            return []
        freed = {name for one in self._operators for name in one.frees}
        names = [name for name in self._written if name not in freed]
        results = [self.whole(name) for name in names]
        for value in results:
            value.memory.is_result = True
        arena = self._lay_out()
        inputs = tuple(self._inputs)
        compute = self._function([_view(value) for value in results], arena)
        return [Part(self._first, self._operators, inputs, tuple(names), compute, self._kernels)]

    # --- for the operators ----------------------------------------------------------------------------------

    def like(self, name: str) -> Any:
        return self.net.known[name]

    def blob(self, name: str) -> Tuple[_Value, ...]:
        """A blob that the net computes; several: the parts of a concatenation along the channels."""
        _require(name not in self.net.constants)
        if name in self._written:
            return self._written[name]
        if name not in self._inputs:
            layout = Layout.channels_innermost(self.net.known[name].shape)
            if len(layout.shape) == 4:  # _Input copies it
                self.net.library.copy(Layout.dense(layout.shape), layout)
            self._inputs[name] = _Value(layout, _Memory(self.net.known[name].numel(), name))
        return (self._inputs[name],)

    def whole(self, name: str) -> _Value:
        values = self.blob(name)
        if len(values) > 1:
            self._written[name] = (self.joined(values, self.net.known[name].shape, 1),)
        return self._written.get(name, values)[0]

    def constant(self, name: str) -> Any:
        """A tensor that is the same in every run."""
        _require(name in self.net.constants)
        value = self.net.constants[name]
        return (value.to_dense() if value.is_mkldnn else value).contiguous()

    def new(self, shape: Sequence[int]) -> _Value:
        layout = Layout.channels_innermost(shape)
        return _Value(layout, _Memory(torch.Size(shape).numel()))

    def run(
        self,
        description: Description,
        values: Mapping[int, _Value],
        packed: Optional[Mapping[int, Tuple[Any, Any]]] = None,
    ) -> None:
        self._primitives.append(_Planned(description, values, packed or {}))

    def joined(self, values: Sequence[_Value], shape: Sequence[int], axis: int) -> _Value:
        y = self.new(shape)
        place = 0
        for value in values:
            layout = Layout(value.layout.shape, y.layout.strides)
            part = _Value(layout, y.memory, place * layout.strides[axis])
            self._copy(value, part)
            place += layout.shape[axis]
        return y

    def overwritable(self, value: _Value) -> _Value:
        """A copy of a value."""
        y = self.new(value.layout.shape)
        self._copy(value, y)
        return y

    def _copy(self, x: _Value, y: _Value) -> None:
        self.run(self.net.library.copy(x.layout, y.layout), {SRC: x, DST: y})

    # --- memory ---------------------------------------------------------------------------------------------

    def _lay_out(self) -> Any:
        """Gives each memory its place; what is only needed at different times may have the same.

        Returns the tensor for everything that is not a result.
        """
        memories: Dict[int, _Memory] = {}
        for number, step in enumerate(self._primitives):
            for value in step.values.values():
                memory = memories.setdefault(id(value.memory), value.memory)
                memory.first = number if memory.first < 0 else memory.first
                memory.last = number
        own = [memory for memory in memories.values() if memory.is_own]
        for memory in own:
            if memory.is_result:
                memory.tensor = self.net.pages.take(_FLOAT_BYTES * memory.count).view(torch.float32)
        places, size = _places([memory for memory in own if not memory.is_result])
        arena = self.net.pages.take(size)
        for memory, place in places:
            memory.address = arena.data_ptr() + place
        for memory in memories.values():
            if memory.tensor is not None:
                memory.address = memory.tensor.data_ptr()
        return arena

    def _function(self, results: Sequence[Any], arena: Any) -> Compute:
        library = self.net.library
        primitives: List[Primitive] = []
        readers: Dict[str, List[Tuple[Primitive, int]]] = {name: [] for name in self._inputs}
        held = []
        for step in self._primitives:
            arguments: Dict[int, Tuple[Any, int]] = {
                number: (one.layout, one.memory.address + _FLOAT_BYTES * one.offset)
                for number, one in step.values.items()
            }
            for number, (layout, storage) in step.packed.items():
                arguments[number] = (layout, storage.data_ptr())
            primitive = library.primitive(step.description, arguments)
            primitives.append(primitive)
            held.append((step.description, step.packed, step.values))
            for position, number in enumerate(arguments):
                if number in step.values and step.values[number].memory.name:
                    readers[step.values[number].memory.name].append((primitive, position))
        takers = [
            _Input(library, self.net.pages, value.layout, readers[name]).take
            for name, value in self._inputs.items()
        ]
        answer = tuple(results) if len(results) > 1 else results[0]

        def compute(*inputs: Any, _held: Any = (held, arena)) -> Any:
            taken = [take(x) for take, x in zip(takers, inputs)]
            library.run(primitives)
            del taken  # they were read until now
            return answer

        return compute


def _no_net(net: Any) -> Callable[[], None]:
    raise _NotPossibleError


def _view(value: _Value) -> Any:
    shape, strides = value.layout
    tensor = value.memory.tensor
    return tensor.as_strided(shape, strides, tensor.storage_offset() + value.offset)


def _places(memories: Sequence[_Memory]) -> Tuple[List[Tuple[_Memory, int]], int]:
    """The place of each in bytes, the lowest that is free, and how much all need."""
    placed: List[Tuple[_Memory, int]] = []
    size = 0
    for memory in sorted(memories, key=lambda one: one.first):
        needed = aligned(_FLOAT_BYTES * memory.count)
        place = 0
        for other, start in sorted(placed, key=lambda one: one[1]):
            end = start + aligned(_FLOAT_BYTES * other.count)
            if other.last >= memory.first and place < end and start < place + needed:
                place = end
        placed.append((memory, place))
        size = max(size, place + needed)
    return placed, size


# --- operators ----------------------------------------------------------------------------------------------


class _Place(NamedTuple):
    """An operator in a part."""

    part: _Builder
    planned: PlannedOperator
    op: Operator

    def x(self, index: int = 0) -> _Value:
        return self.part.whole(self.op.inputs[index])

    def constant(self, index: int) -> Any:
        return self.part.constant(self.op.inputs[index])

    @property
    def like_x(self) -> Any:
        return self.part.like(self.op.inputs[0])

    @property
    def shape(self) -> List[int]:
        """Of the result."""
        return list(self.part.like(self.op.outputs[0]).shape)

    @property
    def library(self) -> Library:
        return self.part.net.library

    def packed(self, description: Description, weight: Any, shape: Sequence[int]) -> Tuple[Any, Any]:
        return self.library.packed(description, weight, shape, self.part.net.pages)

    def reads_last(self, index: int) -> bool:
        """Nobody reads this input afterwards, and this operator reads it only once."""
        name = self.op.inputs[index]
        return name in self.planned.frees and self.op.inputs.count(name) == 1

    def to_overwrite(self, index: int) -> _Value:
        """The input, or a copy of it if it is needed."""
        value = self.x(index)
        return value if self.reads_last(index) and value.memory.is_own else self.part.overwritable(value)


_Result = Tuple[_Value, ...]


def _convolution(place: _Place) -> _Result:
    """Inputs: x, weights, perhaps a bias and a blob to add; Relu comes last."""
    weight = place.constant(1)
    fit = Window.of(place.op.arguments).fit(place.like_x.shape[2:])
    _require(len(fit.kernel) == 2)
    group = place.op.arguments.integer("group", 1)
    has_relu = place.op.arguments.boolean(HAS_RELU, False)
    values = place.part.blob(place.op.inputs[0]) if group == 1 else (place.x(),)
    adds = place.op.input_count > 3
    y = place.to_overwrite(3) if adds else place.part.new(place.shape)
    channel = 0
    for value in values:
        channels = value.layout.shape[1]
        is_last = value is values[-1]
        own = weight[:, channel : channel + channels] if len(values) > 1 else weight
        channel += channels
        grouped = (group, own.shape[0] // group, *own.shape[1:]) if group > 1 else tuple(own.shape)
        has_bias = is_last and place.op.input_count > 2
        description = place.library.convolution(
            value.layout,
            grouped,
            has_bias,
            y.layout,
            fit.stride,
            fit.dilation,
            fit.sides,
            adds,
            has_relu and is_last,
        )
        operands = {SRC: value, DST: y}
        if has_bias:
            operands[BIAS] = _constant(place.constant(2))
        packed = place.packed(description, own.contiguous(), grouped)
        place.part.run(description, operands, {WEIGHTS: packed})
        adds = True
    return (y,)


def _constant(tensor: Any) -> _Value:
    return _Value(Layout.dense(tensor.shape), _Memory(tensor.numel(), tensor=tensor))


def _relu(place: _Place) -> _Result:
    results = []
    for value in place.part.blob(place.op.inputs[0]):
        overwrites = place.reads_last(0) and value.memory.is_own
        y = value if overwrites else place.part.new(value.layout.shape)
        _require(y.layout == value.layout)
        place.part.run(place.library.relu(value.layout), {SRC: value, DST: y})
        results.append(y)
    return tuple(results)


def _parametric_relu(place: _Place) -> _Result:
    x, slopes = place.x(), place.constant(1).reshape(-1)
    _require(len(place.shape) == 4 and slopes.numel() in (1, place.shape[1]))
    y = place.part.new(place.shape)
    operands = {SRC: x, DST: y}
    if slopes.numel() == 1:
        place.part.run(place.library.relu(x.layout, slopes.item()), operands)
    else:
        of_channels = _constant(slopes.reshape(1, -1, 1, 1))
        description = place.library.parametric_relu(x.layout, of_channels.layout)
        place.part.run(description, {**operands, WEIGHTS: of_channels})
    return (y,)


def _sum(place: _Place) -> _Result:
    _require(place.op.input_count > 1)
    first, *others = map(place.x, range(place.op.input_count))
    y = place.part.new(place.shape)
    description = place.library.addition(y.layout)
    for other in others:
        _require(first.layout == other.layout == y.layout)
        place.part.run(
            description,
            {SRC: first, SRC_1: other, DST: y},
        )
        first = y
    return (y,)


def _concatenation(place: _Place) -> _Result:
    axis, adds_axis = axis_of_parts(place.op)
    _require(not adds_axis)
    axis = canonical_axis(axis, len(place.shape))
    count = place.op.input_count
    values = tuple(map(place.x, range(count)))
    # What stays where it is must not be overwritten before it is read.
    stays = all(place.reads_last(index) and values[index].memory.is_own for index in range(count))
    is_read_once = place.part.net.reads.get(place.op.outputs[0]) == 1
    if stays and is_read_once and axis == 1 and len(place.shape) == 4 and count <= _MOST_PARTS:
        return values
    return (place.part.joined(values, place.shape, axis),)


def _max_pool(place: _Place) -> _Result:
    return _pooled(place, MAX)


def _average_pool(place: _Place) -> _Result:
    counts_padding = place.op.arguments.boolean("count_include_pad", False)
    return _pooled(place, AVERAGE_WITH_PADDING if counts_padding else AVERAGE)


def _pooled(place: _Place, kind: int) -> _Result:
    sizes = place.like_x.shape[2:]
    fit = fitter(place.op)(sizes)
    up = rounds_up(fit, sizes)
    _require(len(fit.kernel) == 2 and up is not None)
    _require(kind != AVERAGE_WITH_PADDING or (not up and fit.is_symmetric))
    # As far as the last windows reach.
    tails = [
        max(0, (output - 1) * stride + kernel - head - size)
        for output, stride, kernel, head, size in zip(fit.output, fit.stride, fit.kernel, fit.heads, sizes)
    ]
    results = []
    for value in place.part.blob(place.op.inputs[0]):
        y = place.part.new([*value.layout.shape[:2], *place.shape[2:]])
        sides = list(zip(fit.heads, tails))
        description = place.library.pooling(kind, value.layout, y.layout, fit.stride, fit.kernel, sides)
        place.part.run(description, {SRC: value, DST: y})
        results.append(y)
    return tuple(results)


def _softmax(place: _Place) -> _Result:
    """Of everything from the axis on together, which is one dimension here."""
    x = place.x()
    axis = canonical_axis(place.op.arguments.integer("axis", 1), len(place.shape))
    _require(all(size == 1 for size in place.shape[axis + 1 :]))
    y = place.part.new(place.shape)
    place.part.run(place.library.softmax(x.layout, axis), {SRC: x, DST: y})
    return (y,)


def _fully_connected(place: _Place) -> _Result:
    weight, bias = place.constant(1), place.constant(2)
    layer = fitting(place.op, place.like_x, weight, bias)
    x = place.x()
    _require(layer.rows == x.layout.shape[0] and len(layer.result) == 2)
    y = place.part.new(layer.result)
    shape = (layer.outputs, *x.layout.shape[1:])
    description = place.library.fully_connected(x.layout, shape, y.layout)
    packed = place.packed(description, as_matrix(weight, layer).contiguous(), shape)
    operands = {SRC: x, BIAS: _constant(bias), DST: y}
    place.part.run(description, operands, {WEIGHTS: packed})
    return (y,)


_EMITTERS: Dict[str, Callable[[_Place], _Result]] = {
    "Conv": _convolution,
    FUSED_CONVOLUTION: _convolution,
    "Relu": _relu,
    "PRelu": _parametric_relu,
    "Sum": _sum,
    "Concat": _concatenation,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "FC": _fully_connected,
    "Softmax": _softmax,
}
