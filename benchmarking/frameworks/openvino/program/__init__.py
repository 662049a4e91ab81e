"""The OpenVINO benchmark program: Python 3.8 or newer with openvino and numpy runs it."""

__version__ = "1.0"
