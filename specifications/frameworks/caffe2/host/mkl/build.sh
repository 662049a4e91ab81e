#!/bin/sh
# Caffe2 for this machine's processor, with Intel's MKL.
set -eu
exec "$(dirname "$0")/../../build_caffe2.sh" "${1-}" "${2-}" host-mkl -DUSE_CUDA=OFF -DBLAS=MKL -DUSE_MKLDNN=ON
