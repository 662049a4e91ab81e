#!/usr/bin/env bash
# The step of the second workflow: nothing of the pull request runs here, and its results are data.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [ -z "$MLBENCH" ]; then
  # The token is for the comment only.
  MLBENCH=$(env -u GITHUB_TOKEN "$here/../../install.sh" "$RUNNER_TEMP/mlbench" "$here/../../..")
fi
"$MLBENCH" comment "$DOCUMENT" --title "$TITLE"
