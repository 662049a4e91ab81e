"""The ExecuTorch benchmark program."""

__version__ = "1.0"
