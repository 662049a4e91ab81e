"""Whether a file is an ExecuTorch program. What it takes and gives, only the runtime can tell."""

from __future__ import annotations

from benchmarking.frameworks.kit.errors import ModelError

_MAGIC = b"ET12"
"""From the fifth byte on."""


def require_program(path: str) -> None:
    """
    Raises:
        ModelError: the file cannot be read, or is not an ExecuTorch program.
    """
    try:
        with open(path, "rb") as stream:
            beginning = stream.read(8)
    except OSError as error:
        raise ModelError("--model: cannot read %s: %s" % (path, error.strerror)) from error
    if beginning[4:] != _MAGIC:
        raise ModelError("--model: %s is not an ExecuTorch program" % path)
