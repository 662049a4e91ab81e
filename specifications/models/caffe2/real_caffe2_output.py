"""Runs one net in real Caffe2 (torch 1.10.2, Python 3.6 to 3.9) and writes one output as text.

python real_caffe2_output.py INIT_NET PREDICT_NET INPUT.txt 1,3,64,64 OUTPUT_BLOB OUTPUT.txt
"""

import sys

import numpy as np
from caffe2.proto import caffe2_pb2
from caffe2.python import workspace


def read_net(path):
    net = caffe2_pb2.NetDef()
    with open(path, "rb") as stream:
        net.ParseFromString(stream.read())
    return net


def main(init_path, predict_path, input_path, shape, output_blob, output_path):
    workspace.RunNetOnce(read_net(init_path))
    predict = read_net(predict_path)
    values = np.loadtxt(input_path, dtype=np.float32)
    workspace.FeedBlob("data", values.reshape([int(one) for one in shape.split(",")]))
    workspace.RunNetOnce(predict)
    output = workspace.FetchBlob(output_blob)
    with open(output_path, "w") as stream:
        stream.writelines("%.9g\n" % value for value in output.reshape(-1).tolist())


if __name__ == "__main__":
    main(*sys.argv[1:])
