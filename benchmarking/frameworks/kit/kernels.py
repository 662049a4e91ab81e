"""The kernels that ran: the backend's own, or those to which it fell back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Union

from .errors import ModelError

Fact = Union[str, int, float, bool, None]


class Kernel(NamedTuple):
    kernel: str
    own: bool
    """Whether the kernel belongs to the chosen backend."""


class Observation(NamedTuple):
    """The observation of one run of a model."""

    kernels: Mapping[str, Kernel]
    """Maps the operator, in the order in which they ran, to its kernel."""
    covers: str
    """The kind of operators that the backend is meant for: ``convolutions``, ``operators`` ..."""
    covered: Sequence[str]
    """The operators of that kind."""
    reasons: Mapping[str, str] = {}
    """Maps the operator to the reason why the backend did not compute it although it has a kernel for it."""

    @property
    def own(self) -> list[str]:
        return [name for name, one in self.kernels.items() if one.own]

    def facts(self, backend: str) -> dict[str, Fact]:
        return {"backend_operators": len(self.own), "backend_summary": self._summary(backend)}

    def _summary(self, backend: str) -> str:
        counted = {name: self.kernels[name].own for name in self.covered}
        own = sum(counted.values())
        text = "%s: %d of %d %s" % (backend, own, len(counted), self.covers)
        return text + (", %d fell back" % (len(counted) - own) if own < len(counted) else "")


def require_own(observation: Observation, backend: str) -> None:
    """Requires that the backend computed something.

    Raises:
        ModelError: the backend was asked for and computed nothing.
    """
    if not observation.kernels or observation.own:
        return
    others = sorted({one.kernel for one in observation.kernels.values()})
    why = sorted(set(observation.reasons.values()))
    raise ModelError(
        "--backend %s computed none of the model's %d operators (they ran %s)%s; choose another backend for"
        " this model"
        % (backend, len(observation.kernels), _first(others, 5), ": " + _first(why, 3) if why else "")
    )


def _first(texts: Sequence[str], count: int) -> str:
    return ", ".join(texts[:count]) + (" ..." if len(texts) > count else "")
