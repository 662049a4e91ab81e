#!/bin/sh
# Caffe2 for NVIDIA's GPUs; CUDACXX names the compiler where it is not on the PATH.
set -eu
exec "$(dirname "$0")/../build_caffe2.sh" "${1-}" "${2-}" gpu -DUSE_CUDA=ON -DUSE_CUDNN=ON -DUSE_NCCL=OFF
