"""What a user can mend. Anything else that is raised is a bug and keeps its traceback."""

from __future__ import annotations


class BenchmarkProgramError(Exception):
    """One clear line; the program ends with ``exit_status``."""

    exit_status = 1


class UsageError(BenchmarkProgramError):
    """A wrong flag."""

    exit_status = 2


class ModelError(BenchmarkProgramError):
    """A model that cannot be read or run."""


class TensorError(BenchmarkProgramError):
    """An input that cannot be read, or an output that cannot be written."""
