#!/bin/sh
# Checks and measures the Caffe2 program's backend cuda on the card of this machine, in under five minutes:
#
#     benchmarks/gpu.sh [--python PYTHON] [--wheels FOLDER] [options of gpu.py]
#
# Needs a Python (3.11 or newer) with torch and numpy, and no package index. protobuf, the one other package,
# is taken from a folder of wheels where that Python lacks it. On a machine with an index that folder is made by
#
#     pip download --only-binary :all: --python-version 3.12 --platform manylinux2014_x86_64 -d wheels protobuf
#
# --backend default runs the same on the processor; gpu.py --help shows the other options.
set -eu

fail() {
    echo "gpu.sh: $1" >&2
    exit 2
}

python=python3
wheels=
while [ $# -gt 0 ]; do
    case $1 in
    --python | --wheels)
        [ $# -ge 2 ] || fail "$1: a value is missing"
        [ "$1" = --python ] && python=$2 || wheels=$2
        shift 2
        ;;
    *) break ;;
    esac
done

here=$(cd "$(dirname "$0")" && pwd)
has() { "$python" -c "import $1" >/dev/null 2>&1; }

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 ||
    fail "$python: not a Python 3.11 or newer; name another: --python"
for package in torch numpy; do
    has "$package" || fail "$python has no $package; name a Python that has it: --python"
done
if ! has google.protobuf; then
    [ -n "$wheels" ] || fail "$python has no protobuf; name a folder with its wheel: --wheels"
    packages=$(mktemp -d)
    trap 'rm -rf "$packages"' EXIT
    "$python" -m pip install --quiet --no-index --find-links "$wheels" --target "$packages" protobuf ||
        fail "protobuf cannot be installed from $wheels"
    PYTHONPATH=$packages${PYTHONPATH:+:$PYTHONPATH}
    export PYTHONPATH
fi
# In the background, so that a signal that ends this script reaches the measuring one, which then shows its table.
"$python" "$here/gpu.py" "$@" &
child=$!
trap 'kill -TERM "$child" 2>/dev/null || :' TERM INT HUP
status=0
wait "$child" || status=$?
# A signal ends the first wait early: the table is still to come.
while kill -0 "$child" 2>/dev/null; do wait "$child" || status=$?; done
exit "$status"
