#!/bin/sh
# Builds Caffe2's benchmark program from source:
#
#     build_caffe2.sh <repo_dir> <destination> <variant> [cmake option ...]
#
# The build.sh scripts below call it. Each variant keeps a build directory of its own in the repository's build/,
# which the repository ignores, so that the next commit compiles only what has changed.
#
# CAFFE2_BUILD_JOBS says how many compilers run at once; all processors otherwise.
set -eu

fail() {
    echo "build.sh: $1" >&2
    exit 1
}

[ $# -ge 3 ] && [ -n "$1" ] && [ -n "$2" ] || fail "usage: build.sh <repo_dir> <destination>"
repository=$1
destination=$2
build=$repository/build/$3
shift 3

[ -f "$repository/CMakeLists.txt" ] || fail "$repository is no Caffe2: it has no CMakeLists.txt"
command -v cmake >/dev/null || fail "cmake is missing; install it"
if [ -z "${CMAKE_GENERATOR:-}" ] && command -v ninja >/dev/null; then
    export CMAKE_GENERATOR=Ninja
fi
jobs=${CAFFE2_BUILD_JOBS:-$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)}

configure() {
    mkdir -p "$build"
    cmake -S "$repository" -B "$build" -DCMAKE_BUILD_TYPE=Release -DBUILD_BINARY=ON -DBUILD_SHARED_LIBS=OFF \
        -DBUILD_PYTHON=OFF -DBUILD_TEST=OFF "$@"
}

# What an older commit, or another place of the repository, has configured may not suit this one.
configure "$@" || {
    echo "build.sh: configuring again from the beginning" >&2
    rm -rf "$build"
    configure "$@" || fail "cmake could not configure $repository"
}
cmake --build "$build" --target caffe2_benchmark --parallel "$jobs" || fail "caffe2_benchmark could not be built"

program=$build/bin/caffe2_benchmark
[ -f "$program" ] || program=$(find "$build" -type f -name caffe2_benchmark -perm -u+x | head -n 1)
[ -n "$program" ] || fail "the build left no caffe2_benchmark in $build"
mkdir -p "$(dirname "$destination")"
partial=$(mktemp "$destination.XXXXXX")
trap 'rm -f "$partial"' EXIT
trap 'exit 130' INT TERM HUP
cp "$program" "$partial"
chmod 755 "$partial"
mv -f "$partial" "$destination"
