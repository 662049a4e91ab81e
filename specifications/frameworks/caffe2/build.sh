#!/bin/sh
# Caffe2 for this machine's processor, for every platform without a script of its own.
set -eu
exec "$(dirname "$0")/build_caffe2.sh" "${1-}" "${2-}" generic -DUSE_CUDA=OFF
