"""A Python that runs programs: its version, and the packages that it lacks."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarking.errors import CaseError, UsageError
from benchmarking.programs import process
from benchmarking.programs.command import Command
from benchmarking.programs.process import Cancellation

OLDEST = (3, 8)
"""The oldest version that runs this project's programs."""
_LIMIT_S = 60.0
_SCRIPT = """
import importlib.util, json, sys
from sys import argv
missing = [name for name in argv[1:] if importlib.util.find_spec(name.split(".")[0]) is None]
from importlib import metadata
packages = sorted(str(one.metadata["Name"]) + "==" + one.version for one in metadata.distributions())
found = {"version": sys.version_info[:2], "prefix": sys.prefix, "missing": missing, "packages": packages}
found["interpreter"] = sys.version + " in " + sys.base_prefix
print(json.dumps(found))
"""


@dataclass(frozen=True)
class PythonEnvironment:
    name: str
    """The name of its directory."""
    content: str
    """12 hexadecimal digits of a hash of its packages, with their versions, and of Python's version."""
    interpreter: str
    """The exact version and the installation of the Python, without its packages."""


def examine(python: str, modules: Sequence[str], where: str) -> PythonEnvironment:
    """``modules``: the modules that it needs; ``where``: the option that named it, for messages.

    Raises:
        UsageError: it is not a Python, is too old, or lacks a module.
    """
    command = Command((python, "-c", _SCRIPT, *modules), timeout_s=_LIMIT_S)
    with Cancellation() as never:
        try:
            outcome = process.run(command, never)
            found = json.loads(outcome.stdout)
            version, missing = tuple(found["version"]), found["missing"]
        except (CaseError, ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{where}: {python!r} does not run as Python 3.8 or newer") from error
    if version < OLDEST:
        raise UsageError(f"{where}: {python!r} is version {version[0]}.{version[1]}; at least 3.8 is needed")
    if missing:
        raise UsageError(
            f"{where}: {python!r} lacks {', '.join(missing)}; install with: {python} -m pip install PACKAGE"
        )
    digest = hashlib.sha256(json.dumps([version, found["packages"]]).encode()).hexdigest()[:12]
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", str(found["prefix"]).rstrip("/").rpartition("/")[2])
    return PythonEnvironment(name[:60] or "python", digest, str(found.get("interpreter")))
