"""The fastest kernels of current torch."""

from __future__ import annotations

from .backend import Backend


class Builtin(Backend):
    name = "builtin"
    compiles_parts = True

    def is_own(self, kernel: str) -> bool:
        return True


class Default(Builtin):
    name = "default"
