"""Errors in a net that a user can fix."""

from __future__ import annotations

from benchmarking.frameworks.kit.errors import ModelError


class NetError(ModelError):
    """A net that cannot be read or run."""
