"""Small TensorFlow Lite models, made for tests with the writer of the committed ones."""

import importlib.util
from pathlib import Path

import numpy as np

DIRECTORY = Path(__file__).parents[2] / "specifications/models/tflite"
LENET = DIRECTORY / "lenet/lenet.tflite"


def module(name):
    spec = importlib.util.spec_from_file_location(name, DIRECTORY / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def writer():
    return module("tflite_writer").GraphWriter()


def linear(custom="", aliases=()):
    """y = x W + b, W of ones (2, 3), b of 1 and 2; any number of rows. ``custom``: an operator behind it."""
    graph = writer()
    graph.tensor("x", [-1, 3])
    graph.constant("w", np.ones((2, 3), np.float32))
    graph.constant("b", np.array([1, 2], np.float32))
    graph.tensor("y", [-1, 2])
    graph.operator("FULLY_CONNECTED", ["x", "w", "b"], ["y"], "FullyConnectedOptions")
    last = "y"
    if custom:
        last = graph.tensor("z", [-1, 2])
        graph.custom_operator(custom, ["y"], ["z"])
    return graph.written(["x"], [last], *aliases)


def partly():
    """Two operators that XNNPACK has kernels for, around one that it does not, and two inputs of two types."""
    graph = writer()
    graph.tensor("x", [2, 4])
    graph.tensor("which", [2], "int32")
    graph.tensor("exponential", [2, 4])
    graph.operator("LOGISTIC", ["x"], ["exponential"])
    graph.tensor("rows", [2, 4])
    graph.operator("GATHER", ["exponential", "which"], ["rows"], "GatherOptions")
    graph.tensor("y", [2, 4])
    graph.operator("TANH", ["rows"], ["y"])
    return graph.written(["x", "which"], ["y"])
