"""Imports the package with which a program runs models."""

from __future__ import annotations

import importlib
from typing import Any

from .errors import UsageError


def imported(module: str, title: str, requirement: str) -> Any:
    """Imports the package.

    Raises:
        UsageError: it is not installed, or is no more than a part of itself.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(
            "%s cannot be imported: %s; pip install '%s'" % (title, error, requirement)
        ) from error
