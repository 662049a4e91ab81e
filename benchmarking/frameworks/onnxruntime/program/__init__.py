"""The ONNX Runtime benchmark program: Python 3.8 or newer with onnxruntime and numpy runs it."""

__version__ = "1.0"
