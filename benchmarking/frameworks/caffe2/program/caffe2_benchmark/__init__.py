"""Runs a Caffe2 net and prints how long each iteration and each operator took.

Runs on Python 3.8 and newer with torch, numpy and protobuf, and imports nothing else of this project.
"""

__version__ = "0.1.0"
