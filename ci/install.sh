#!/usr/bin/env bash
# Usage: install.sh DIRECTORY REQUIREMENT: installs mlbench into an environment of its own, and prints its path.
set -euo pipefail
directory=$1 requirement=$2
if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "mlbench needs Python 3.11 or newer as python3; here it is $(python3 --version)" >&2
  exit 2
fi
python3 -m venv "$directory" >&2
"$directory/bin/python" -m pip install --quiet --disable-pip-version-check "$requirement" >&2
echo "$directory/bin/mlbench"
