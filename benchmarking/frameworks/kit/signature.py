"""What a model takes and gives, as it says itself; and whether what it is fed is that."""

from __future__ import annotations

from typing import AbstractSet, Any, Dict, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

from .errors import ModelError


class TensorSignature(NamedTuple):
    name: str
    type: str
    """As a specification has it (``tensors.TYPES``), or else a name of a type that cannot be fed."""
    shape: Optional[Tuple[Union[int, str], ...]]
    """A text is a dimension that is not fixed: its name, or nothing. None: any number of dimensions."""


class Signature(NamedTuple):
    model: str
    inputs: Tuple[TensorSignature, ...]
    outputs: Tuple[str, ...]
    in_order: bool = False
    """Whether tensors whose names the model does not have are taken in the model's order. A converter gives
    tensors other names than those that the model had before."""

    def feed(self, given: Mapping[str, Any]) -> Dict[str, Any]:
        """The arrays by the model's own names, in its order.

        Raises:
            ModelError: an input is not fed, is not the model's, or has another type or shape.
        """
        own = [one.name for one in self.inputs]
        if self.in_order and len(own) == len(given) and not set(own) & set(given):
            named = dict(zip(given, self.inputs))
        else:
            named = {one.name: one for one in self.inputs}
            self._require_names(own, given)
        for name, one in named.items():
            _require_fit(name, given[name], one)
        return {one.name: given[name] for name, one in named.items()}

    def _require_names(self, own: Sequence[str], given: Mapping[str, Any]) -> None:
        for name in own:
            if name not in given:
                raise ModelError("nobody feeds the model's input %r: name it in --input" % name)
        for name in given:
            if name not in own:
                raise ModelError(
                    "--input: the model %s has no input %r; it has %s"
                    % (self.model, name, ", ".join(map(repr, own)) or "none")
                )

    def find_outputs(self, wanted: AbstractSet[str]) -> Dict[str, int]:
        """Places among the outputs: by the model's names, and by those that were ``wanted``, in their order.

        Raises:
            ModelError: there is no such output.
        """
        places = {name: at for at, name in enumerate(self.outputs)}
        asked = [name for name in wanted if name != "*"]
        if self.in_order and len(asked) == len(places) and not set(asked) & set(places):
            return {**places, **{name: at for at, name in enumerate(asked)}}
        for name in asked:
            if name not in places:
                raise ModelError(
                    "--output: the model %s has no output %r; it has %s"
                    % (self.model, name, ", ".join(self.outputs))
                )
        return places


def require_computed(name: str, array: Any) -> Any:
    """Raises:
    ModelError: there is nothing in it. Some runtimes run an empty batch, in next to no time.
    """
    if array.size == 0:
        raise ModelError("output %r has the shape %s: nothing was computed" % (name, list(array.shape)))
    return array


def _require_fit(name: str, array: Any, wanted: TensorSignature) -> None:
    from . import tensors  # not earlier: numpy starts threads, unless it is told before how many

    if wanted.type not in tensors.TYPES:
        raise ModelError("input %r is of the type %s, which cannot be fed" % (name, wanted.type))
    if array.dtype != tensors.TYPES[wanted.type]:
        raise ModelError("--input_type: %r is %s; write %s for it" % (name, array.dtype, wanted.type))
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
