"""The inputs and outputs that a model declares, and a check of the inputs that it is fed."""

from __future__ import annotations

from types import MappingProxyType
from typing import AbstractSet, Any, Dict, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

from .errors import ModelError


class TensorSignature(NamedTuple):
    name: str
    type: str
    """The type as in specifications (``tensors.TYPES``), or otherwise the name of a type that cannot be fed.
    Empty: the model does not declare it.
    """
    shape: Optional[Tuple[Union[int, str], ...]]
    """A string is a dimension that is not fixed: its name, or empty. None: any number of dimensions."""


class Signature(NamedTuple):
    model: str
    inputs: Tuple[TensorSignature, ...]
    outputs: Tuple[str, ...]
    in_order: bool = False
    """Whether tensors whose names the model does not have are matched in the model's order, because
    converters rename tensors.
    """
    aliases: Mapping[str, str] = MappingProxyType({})
    """Maps other names of inputs and outputs to the model's names."""

    def feed(self, given: Mapping[str, Any]) -> Dict[str, Any]:
        """The arrays by the model's own names, in its order.

        Raises:
            ModelError: an input is not fed, is fed twice, is not the model's, or has another type or shape.
        """
        own = [one.name for one in self.inputs]
        given = self._by_own_names(given)
        if self.is_renamed(given):
            named = dict(zip(given, self.inputs))
        else:
            named = {one.name: one for one in self.inputs}
            self._require_names(own, given)
        for name, one in named.items():
            _require_fit(name, given[name], one)
        return {one.name: given[name] for name, one in named.items()}

    def is_renamed(self, given: Mapping[str, Any]) -> bool:
        """Whether inputs, and therefore also outputs, are matched in the model's order."""
        own = {one.name for one in self.inputs}
        return self.in_order and len(own) == len(given) and own.isdisjoint(self._by_own_names(given))

    def _by_own_names(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        own = {one.name for one in self.inputs}
        named: Dict[str, str] = {}
        for name in given:
            known = name if name in own else self.aliases.get(name, name)
            if known in named:
                raise ModelError("--input: %r and %r are the same input" % (named[known], name))
            named[known] = name
        return {known: given[name] for known, name in named.items()}

    def _require_names(self, own: Sequence[str], given: Mapping[str, Any]) -> None:
        for name in own:
            if name not in given:
                raise ModelError("the model's input %r is not fed: name it in --input" % name)
        for name in given:
            if name not in own:
                raise ModelError(
                    "--input: the model %s has no input %r; it has %s"
                    % (self.model, name, ", ".join(map(repr, own)) or "none")
                )

    def find_outputs(self, wanted: AbstractSet[str], renamed: bool = False) -> Dict[str, int]:
        """The positions among the outputs, by the model's names or by those that are ``wanted``.

        ``renamed``: the result of ``is_renamed`` for the inputs.

        Raises:
            ModelError: there is no such output.
        """
        places = {name: at for at, name in enumerate(self.outputs)}
        for name, own in self.aliases.items():
            if own in self.outputs:
                places.setdefault(name, places[own])
        asked = [name for name in wanted if name != "*"]
        if renamed and len(asked) == len(self.outputs) and not set(asked) & set(places):
            return {**places, **{name: at for at, name in enumerate(asked)}}
        for name in asked:
            if name not in places:
                raise ModelError(
                    "--output: the model %s has no output %r; it has %s"
                    % (self.model, name, ", ".join(self.outputs))
                )
        return places


def require_computed(name: str, array: Any) -> Any:
    """Requires that an output has values.

    Raises:
        ModelError: there is nothing in it. Some runtimes run an empty batch, in next to no time.
    """
    require_values(name, array.shape)
    return array


def require_values(name: str, shape: Sequence[int]) -> None:
    """Requires that a shape has values.

    Raises:
        ModelError: an output of this shape has none.
    """
    if 0 in shape:
        raise ModelError("output %r has the shape %s: nothing was computed" % (name, list(shape)))


def _require_fit(name: str, array: Any, wanted: TensorSignature) -> None:
    from . import tensors  # not earlier: numpy starts threads, whose number has to be set before

    if wanted.type and wanted.type not in tensors.TYPES:
        raise ModelError("input %r is of the type %s, which cannot be fed" % (name, wanted.type))
    if wanted.type and array.dtype != tensors.TYPES[wanted.type]:
        raise ModelError("--input_type: %r is %s; use %s for it" % (name, array.dtype, wanted.type))
    if wanted.shape is None:
        return
    problem = ""
    if len(wanted.shape) != array.ndim:
        problem = "dimensions have to be %d" % len(wanted.shape)
    for at, (size, given) in enumerate(zip(wanted.shape, array.shape)):
        if not problem and isinstance(size, int) and size != given:
            problem = "dimension %d has to be %d" % (at, size)
    if problem:
        raise ModelError(
            "--input_dims: %r has the shape %s; the model has %s: %s"
            % (name, list(array.shape), [size or "any" for size in wanted.shape], problem)
        )
