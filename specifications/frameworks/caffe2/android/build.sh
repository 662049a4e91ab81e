#!/bin/sh
# Caffe2 for Android; with gcc where the NDK still has it (up to r17), else with clang.
#
# ANDROID_NDK names the NDK's directory, ANDROID_ABI the processor (arm64-v8a), ANDROID_PLATFORM the oldest Android
# that is to be supported (android-21).
set -eu

toolchain=${ANDROID_NDK:-}/build/cmake/android.toolchain.cmake
[ -f "$toolchain" ] || {
    echo "build.sh: ANDROID_NDK does not name the directory of an Android NDK: '${ANDROID_NDK:-}'" >&2
    exit 1
}
compiler=clang
if ls "$ANDROID_NDK"/toolchains/*-4.9/prebuilt/*/bin/*-gcc >/dev/null 2>&1; then
    compiler=gcc
fi
exec "$(dirname "$0")/../build_caffe2.sh" "${1-}" "${2-}" "android-${ANDROID_ABI:-arm64-v8a}" \
    -DCMAKE_TOOLCHAIN_FILE="$toolchain" -DANDROID_TOOLCHAIN="$compiler" \
    -DANDROID_ABI="${ANDROID_ABI:-arm64-v8a}" -DANDROID_PLATFORM="${ANDROID_PLATFORM:-android-21}" \
    -DANDROID_STL=c++_static -DUSE_CUDA=OFF -DUSE_OPENMP=OFF -DBUILD_MOBILE_BENCHMARK=OFF
