#!/bin/sh
# Caffe2 for a Linux device of this machine's architecture; CC and CXX name cross compilers.
set -eu
exec "$(dirname "$0")/../build_caffe2.sh" "${1-}" "${2-}" linux -DUSE_CUDA=OFF -DUSE_OPENMP=OFF
