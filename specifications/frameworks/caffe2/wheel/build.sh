#!/bin/sh
# Leaves real Caffe2 as a benchmark program at <destination>:
#
#     build.sh <repo_dir> <destination>
#
# The last torch that has Caffe2 is 1.10.2, which is on the package index for Python up to 3.9. An environment
# with it is made once, in the user's cache directory, and used again. The destination is our own program, with
# the environment's Python in front; with that Python it runs real Caffe2.
#
# <repo_dir> is not used: every commit gives the same program. CAFFE2_BASE_PYTHON names the Python 3.9 or 3.8 to
# make the environment with, where none is found. CAFFE2_PYTHON names a Python that has real Caffe2 already, and
# nothing is installed.
set -eu

fail() {
    echo "build.sh: $1" >&2
    exit 1
}

[ $# -eq 2 ] || fail "usage: build.sh <repo_dir> <destination>"
destination=$2
packages="torch==1.10.2 numpy==1.23.5 protobuf==3.20.3 future==1.0.0 six==1.17.0 typing-extensions==4.13.2"

is_suitable() {
    "$1" -c 'import sys, venv; sys.exit(not (3, 8) <= sys.version_info[:2] <= (3, 9))' >/dev/null 2>&1
}

has_caffe2() {
    "$1" -c 'from caffe2.python import workspace' >/dev/null 2>&1
}

find_base() {
    if [ -n "${CAFFE2_BASE_PYTHON:-}" ]; then
        is_suitable "$CAFFE2_BASE_PYTHON" ||
            fail "CAFFE2_BASE_PYTHON: $CAFFE2_BASE_PYTHON is no Python 3.9 or 3.8 with venv"
        base=$CAFFE2_BASE_PYTHON
        return
    fi
    for base in python3.9 python3.8 \
        "$HOME"/.pyenv/versions/3.9*/bin/python "$HOME"/.pyenv/versions/3.8*/bin/python; do
        if is_suitable "$base"; then
            return
        fi
    done
    fail "there is no Python 3.9 or 3.8 here; name one in CAFFE2_BASE_PYTHON"
}

# Made under another name: what has the right one is complete.
make_environment() {
    mkdir -p "$environments"
    # What builds that were killed have left; it is 2 GB each.
    find "$environments" -maxdepth 1 -name 'unfinished.*' -mtime +0 -exec rm -rf {} +
    unfinished=$(mktemp -d "$environments/unfinished.XXXXXX")
    "$base" -m venv "$unfinished" || fail "cannot make an environment with $base"
    # Each requirement is a word of its own.
    # shellcheck disable=SC2086
    "$unfinished/bin/python" -m pip install --quiet --disable-pip-version-check $packages ||
        fail "pip could not install $packages"
    has_caffe2 "$unfinished/bin/python" || fail "Caffe2 cannot be imported from what pip has installed"
    # Its base Python is gone.
    [ -x "$environment/bin/python" ] || rm -rf "$environment"
    # Fails where another build was faster; then that one is used.
    "$base" -c 'import os, sys; os.rename(*sys.argv[1:])' "$unfinished" "$environment" 2>/dev/null ||
        [ -x "$environment/bin/python" ] || fail "cannot write $environment"
}

unfinished=
partial=
trap 'rm -rf ${unfinished:+"$unfinished"} ${partial:+"$partial"}' EXIT
trap 'exit 130' INT TERM HUP

if [ -n "${CAFFE2_PYTHON:-}" ]; then
    has_caffe2 "$CAFFE2_PYTHON" || fail "CAFFE2_PYTHON: $CAFFE2_PYTHON cannot import Caffe2"
    python=$(command -v "$CAFFE2_PYTHON")
else
    find_base
    version=$("$base" -c 'import platform; print(platform.python_version())')
    pins=$(echo "$packages" | cksum | cut -d ' ' -f 1)
    environments=${XDG_CACHE_HOME:-$HOME/.cache}/ml-benchmark-platform/real-caffe2
    environment=$environments/torch-1.10.2-$pins-python-$version
    [ -x "$environment/bin/python" ] || make_environment
    python=$environment/bin/python
fi

root=$(cd "$(dirname "$0")/../../../.." && pwd)
mkdir -p "$(dirname "$destination")"
partial=$(mktemp "$destination.XXXXXX")
"$python" - "$root" "$python" "$partial" <<'PYTHON'
import os
import shlex
import sys

root, python, target = sys.argv[1:]
sys.path.insert(0, root)
from benchmarking.frameworks.kit import archive

with open(target, "wb") as stream:
    # A zip file may have anything in front: the shell reads these lines, Python what is behind them.
    stream.write(('#!/bin/sh\nexec %s "$0" "$@"\n' % shlex.quote(os.path.abspath(python))).encode())
    archive.write(stream, archive.content("benchmarking.frameworks.caffe2.program"))
PYTHON
chmod 755 "$partial"
mv -f "$partial" "$destination"
