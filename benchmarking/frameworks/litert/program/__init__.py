"""The LiteRT benchmark program: Python 3.8 or newer with ai-edge-litert and numpy runs it."""

__version__ = "1.0"
