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
# use, where none is found.
set -eu

fail() {
    echo "build.sh: $1" >&2
    exit 1
}

[ $# -eq 2 ] || fail "usage: build.sh <repo_dir> <destination>"
destination=$2
packages="torch==1.10.2 numpy>=1.17,<1.24 protobuf>=3.19,<3.21 future>=0.18 six>=1.16"

is_suitable() {
    "$1" -c 'import sys, venv; sys.exit(not (3, 8) <= sys.version_info[:2] <= (3, 9))' >/dev/null 2>&1
}

base=
for candidate in "${CAFFE2_BASE_PYTHON:-}" python3.9 python3.8 \
    "$HOME"/.pyenv/versions/3.9*/bin/python "$HOME"/.pyenv/versions/3.8*/bin/python; do
    if [ -n "$candidate" ] && is_suitable "$candidate"; then
        base=$candidate
        break
    fi
done
[ -n "$base" ] || fail "there is no Python 3.9 or 3.8 here; name one in CAFFE2_BASE_PYTHON"

version=$("$base" -c 'import platform; print(platform.python_version())')
environments=${XDG_CACHE_HOME:-$HOME/.cache}/ml-benchmark-platform/real-caffe2
environment=$environments/torch-1.10.2-python-$version

if [ ! -x "$environment/bin/python" ]; then
    mkdir -p "$environments"
    unfinished=$(mktemp -d "$environments/unfinished.XXXXXX")
    trap 'rm -rf "$unfinished"' EXIT
    trap 'exit 130' INT TERM HUP
    "$base" -m venv "$unfinished" || fail "cannot make an environment with $base"
    # Each requirement is a word of its own.
    # shellcheck disable=SC2086
    "$unfinished/bin/python" -m pip install --quiet --disable-pip-version-check $packages ||
        fail "pip could not install $packages"
    "$unfinished/bin/python" -c 'from caffe2.python import workspace' >/dev/null 2>&1 ||
        fail "Caffe2 cannot be imported from $unfinished"
    # Fails where another build was faster; then that one is used.
    "$base" -c 'import os, sys; os.rename(*sys.argv[1:])' "$unfinished" "$environment" 2>/dev/null ||
        [ -x "$environment/bin/python" ] || fail "cannot write $environment"
fi

root=$(cd "$(dirname "$0")/../../../.." && pwd)
mkdir -p "$(dirname "$destination")"
partial=$(mktemp "$destination.XXXXXX")
trap 'rm -rf "${unfinished:-$partial}" "$partial"' EXIT
trap 'exit 130' INT TERM HUP
"$base" - "$root/benchmarking/frameworks/caffe2/program" "$environment/bin/python" "$partial" <<'PYTHON'
import io
import pathlib
import shlex
import sys
import zipapp

program, python, target = sys.argv[1:]
archive = io.BytesIO()
zipapp.create_archive(program, archive, filter=lambda path: "__pycache__" not in path.parts)
# A zip file may have anything in front: the shell reads these lines, Python what is behind them.
launcher = "#!/bin/sh\nexec %s \"$0\" \"$@\"\n" % shlex.quote(python)
pathlib.Path(target).write_bytes(launcher.encode() + archive.getvalue())
PYTHON
chmod 755 "$partial"
mv -f "$partial" "$destination"
