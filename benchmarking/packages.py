"""The message about a missing package: its name, and the command that installs it."""

from __future__ import annotations

import importlib.util
import sys
from importlib import metadata
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
    "mcp": "mcp",
    "fastapi": "server",
    "uvicorn": "server",
    "sqlalchemy": "server",
    "alembic": "server",
    "jinja2": "server",
    "orjson": "server",
    "multipart": "server",
    "psycopg": "postgres",
    "procrastinate": "lab",
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
    command = install_command(EXTRAS.get(package), root)
    if command.endswith(".txt"):
        return f"the package {package} is missing; install the requirements with: {command}"
    if package not in EXTRAS:
        return f"the package {package} is missing; install this program again with: {command}"
    return f"the package {package} is missing; install it with: {command}"


def install_command(extra: str | None, root: Path = ROOT) -> str:
    """The command that installs the packages of an extra; None: of this program itself."""
    pip = f"{sys.executable} -m pip install"
    for requirements in (root / f"requirements-{extra}.txt", root / "requirements.txt"):
        if requirements.is_file():
            return f"{pip} -r {requirements}"
    return f"{pip} WHEEL" if extra is None else f"{pip} '{DISTRIBUTION}[{extra}]'"


def installed_version(module: str) -> str | None:
    """The version of the installed package that has this module, which is not imported; None: there is
    none.
    """
    if importlib.util.find_spec(module) is None:
        return None
    names = metadata.packages_distributions().get(module, ())
    return next((metadata.version(name) for name in names), "unknown")
