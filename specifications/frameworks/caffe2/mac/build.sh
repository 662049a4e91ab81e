#!/bin/sh
# Caffe2 for this Mac's processor.
set -eu
exec "$(dirname "$0")/../build_caffe2.sh" "${1-}" "${2-}" mac -DUSE_CUDA=OFF -DUSE_OPENMP=OFF
