"""Runs the golden tests of a specification in real Caffe2 and writes what comes out as their golden outputs.

python real_caffe2_output.py SPECIFICATION.json [INIT_NET.pb]

Real Caffe2 is in torch 1.10.2 (Python 3.6 to 3.9). The model's files are those beside the specification.
"""

import json
import os
import sys

import numpy as np
from caffe2.proto import caffe2_pb2
from caffe2.python import workspace

TYPES = {"float": np.float32, "uint8_t": np.uint8, "int": np.int32}


def read_net(path):
    net = caffe2_pb2.NetDef()
    with open(path, "rb") as stream:
        net.ParseFromString(stream.read())
    return net


def read_tensor(path, shape, dtype):
    values = np.load(path) if path.endswith(".npy") else np.loadtxt(path)
    return values.astype(dtype).reshape(shape)


def write_tensor(path, values):
    if path.endswith(".npy"):
        np.save(path, values)
        return
    with open(path, "w") as stream:
        stream.writelines("%.9g\n" % value for value in values.reshape(-1).tolist())


def pick(one_or_list, index):
    """The i-th of each list belong together; what is no list, or a list of one, goes with each."""
    if not isinstance(one_or_list, list):
        return one_or_list
    return one_or_list[index if len(one_or_list) > 1 else 0]


def run_test(test, directory, init, predict):
    paths = list(test["input_files"].values()) + list(test["output_files"].values())
    for index in range(max(len(path) if isinstance(path, list) else 1 for path in paths)):
        workspace.ResetWorkspace()
        workspace.RunNetOnce(init)
        for blob, path in test["input_files"].items():
            description = test["inputs"][blob]
            shape, dtype = pick(description["shapes"], index), TYPES[description["type"]]
            workspace.FeedBlob(blob, read_tensor(os.path.join(directory, pick(path, index)), shape, dtype))
        workspace.RunNetOnce(predict)
        for blob, path in test["output_files"].items():
            write_tensor(os.path.join(directory, pick(path, index)), workspace.FetchBlob(blob))


def main(specification_path, init_path=None):
    with open(specification_path) as stream:
        specification = json.load(stream)
    directory = os.path.dirname(os.path.abspath(specification_path))
    files = specification["model"]["files"]
    init = read_net(init_path or os.path.join(directory, files["init"]["filename"]))
    predict = read_net(os.path.join(directory, files["predict"]["filename"]))
    for test in specification["tests"]:
        if test["metric"] == "error":
            run_test(test, directory, init, predict)


if __name__ == "__main__":
    workspace.GlobalInit(["real_caffe2_output", "--caffe2_log_level=3"])
    main(*sys.argv[1:])
