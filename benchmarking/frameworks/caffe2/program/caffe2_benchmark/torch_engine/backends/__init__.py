"""The backends of the engine torch. A backend's module is imported only when it is chosen."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Dict, Tuple, Type

if TYPE_CHECKING:
    from .backend import Backend

BACKENDS: Dict[str, Tuple[str, str]] = {
    "builtin": (".builtin", "Builtin"),
    "default": (".builtin", "Default"),
    "onednn": (".onednn", "Onednn"),
    "mkl": (".mkl", "Mkl"),
    "nnpack": (".nnpack", "Nnpack"),
    "cuda": (".cuda", "Cuda"),
    "opengl": (".opengl", "OpenGL"),
}
"""Maps the name to the module (with a dot: in this package) and the class."""


def backend_class(name: str) -> Type[Backend]:
    module, class_name = BACKENDS[name]
    found: Type[Backend] = getattr(import_module(module, __name__), class_name)
    return found
