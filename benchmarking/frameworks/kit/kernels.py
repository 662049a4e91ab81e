"""Which kernels ran: of a backend's own, or of what it fell back to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Union

from .errors import ModelError

Fact = Union[str, int, float, bool, None]


class Kernel(NamedTuple):
    kernel: str
    own: bool
    """Whether it is the chosen backend's."""


class Observation(NamedTuple):
    """Of one run of a model."""

    kernels: Mapping[str, Kernel]
    """By operator, in the order in which they run."""
    covers: str
    """What the backend is meant for: ``convolutions``, ``operators`` ..."""
    covered: Sequence[str]
    """The operators that are of that kind."""
    reasons: Mapping[str, str] = {}
    """Why the backend did not compute an operator that it has a kernel for; by operator."""

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
    """Raises:
    ModelError: the backend was asked for and computed nothing.
    """
    if not observation.kernels or observation.own:
        return
    others = sorted({one.kernel for one in observation.kernels.values()})
    why = sorted(set(observation.reasons.values()))
    raise ModelError(
        "--backend %s computed none of the model's %d operators (they ran %s)%s; take another for this model"
        % (backend, len(observation.kernels), _first(others, 5), ": " + _first(why, 3) if why else "")
    )


def _first(texts: Sequence[str], count: int) -> str:
    return ", ".join(texts[:count]) + (" ..." if len(texts) > count else "")
