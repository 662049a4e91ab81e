"""Compares the inference runtime of models over frameworks, platforms and commits."""

__version__ = "0.1.0"
