"""The message about a missing package: its name, and the command that installs it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import benchmarking

DISTRIBUTION = "ml-benchmark-platform"
EXTRAS = {
    "torch": "caffe2",
    "adb_shell": "android",
    "usb1": "android",
    "zeroconf": "android",
    "pynvml": "gpu",
    "matplotlib": "plot",
    "hglib": "hg",
    "moderngl": "opengl",
    "onnxruntime": "onnxruntime",
    "PIL": "images",
    "openvino": "openvino",
    "ai_edge_litert": "litert",
    "executorch": "executorch",
}
"""Maps a package that not every run needs to the extra of ``pyproject.toml`` that installs it."""
ROOT = Path(benchmarking.__file__).parents[1]
"""The root of a checkout, or the directory of installed packages."""


def require(*modules: str) -> None:
    """Checks packages that are imported later, or by another process, before anything is measured.

    Raises:
        ModuleNotFoundError
    """
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise ModuleNotFoundError(name=module)


def missing_package(error: ModuleNotFoundError, root: Path = ROOT) -> str | None:
    """The missing package and the command that installs it; None for a module of this project, which is a
    bug.
    """
    if error.name is None or error.name.startswith("benchmarking"):
        return None
    package = error.name.partition(".")[0]
    extra = EXTRAS.get(package)
    pip = f"{sys.executable} -m pip install"
    for requirements in (root / f"requirements-{extra}.txt", root / "requirements.txt"):
        if requirements.is_file():
            return f"the package {package} is missing; install the requirements with: {pip} -r {requirements}"
    if extra is None:
        return f"the package {package} is missing; install this program again with: {pip} WHEEL"
    return f"the package {package} is missing; install it with: {pip} '{DISTRIBUTION}[{extra}]'"
