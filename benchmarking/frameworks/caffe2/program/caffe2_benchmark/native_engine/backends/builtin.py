"""The engines that the net names."""

from __future__ import annotations

from typing import AbstractSet, Any

from benchmarking.frameworks.kit.kernels import Kernel

from .backend import HOST, NativeBackend, Prepared, part_of


class Builtin(NativeBackend):
    """The engines that the net names."""

    name = "builtin"

    def prepare(self, definition: Any, wanted: AbstractSet[str]) -> Prepared:
        kernel = Kernel(HOST, True)
        return Prepared([part_of(index, one, one, [], kernel) for index, one in enumerate(definition.op)], {})


class Default(Builtin):
    name = "default"
