#!/bin/sh
# Caffe2 for this machine's processor, with Eigen.
set -eu
exec "$(dirname "$0")/../build_caffe2.sh" "${1-}" "${2-}" host -DUSE_CUDA=OFF -DBLAS=Eigen
