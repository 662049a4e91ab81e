#!/usr/bin/env bash
# The step that comments. A pull request from a fork has a token that may not: the summary of the job has it all.
set -euo pipefail
[ -s "$DOCUMENT" ] || { echo "::notice::there are no results to comment on"; exit 0; }
"$MLBENCH" comment "$DOCUMENT" --title "$TITLE" \
  || echo "::notice::the comment could not be written (the log says why); the results are in the summary of the job"
