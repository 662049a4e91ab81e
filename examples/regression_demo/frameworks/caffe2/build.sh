#!/bin/sh
# build.sh <repo_dir> <destination>
set -eu

[ $# -eq 2 ] || { echo "usage: build.sh <repo_dir> <destination>" >&2; exit 1; }
"${CC:-cc}" -O2 -o "$2.part" "$1"/*.c -lm
mv -f "$2.part" "$2"
