"""Compares the inference time of models across frameworks, platforms and commits."""

__version__ = "0.1.0"
