"""Errors that a user can fix. Any other exception is a bug and keeps its traceback."""

from __future__ import annotations


class BenchmarkProgramError(Exception):
    """Base class: the message is one clear line, and the program ends with ``exit_status``."""

    exit_status = 1


class UsageError(BenchmarkProgramError):
    """A wrong flag."""

    exit_status = 2


class ModelError(BenchmarkProgramError):
    """A model that cannot be read or run."""


class TensorError(BenchmarkProgramError):
    """An input that cannot be read, or an output that cannot be written."""
