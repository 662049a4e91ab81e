"""The specifications and examples that come with this program, in a checkout and installed."""

from __future__ import annotations

from pathlib import Path

import benchmarking

SHIPPED = ("specifications", "examples")
"""Beside the package in a checkout, inside it where it is installed."""


def shipped(path: Path) -> Path:
    """``path``; where it does not exist, what this program itself has under that name, if it has.

    So ``specifications/benchmarks/caffe2/quickstart.json`` can be named from every directory.
    """
    if path.parts[:1] not in [(one,) for one in SHIPPED] or path.exists():
        return path
    package = Path(benchmarking.__file__).parent
    found = (root / path for root in (package.parent, package))
    return next((one for one in found if one.exists()), path)
