"""The PyTorch benchmark program."""

__version__ = "1.0"
