#!/usr/bin/env bash
# The step that measures: the environment is that of ../compare.sh, with a checkout of head in $HEAD. If REF is empty,
# base is the first parent of head, which for a pull request is the branch that it would go into; otherwise $BASE has it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# An earlier job of a runner of one's own, or an earlier use in this job, may have left its own.
work=$(dirname "$OUTPUT")
rm -rf "$OUTPUT" "$work/base-environment" "$work/head-environment"
mkdir -p "$OUTPUT"
if [ -z "${REF:-}" ]; then
  rm -rf "$BASE"
  git -C "$HEAD" worktree prune
  git -C "$HEAD" worktree add --quiet --detach "$BASE" HEAD^1
  [ ! -f "$BASE/.gitmodules" ] || git -C "$BASE" submodule update --init --recursive
fi
if [ -z "$MLBENCH" ]; then
  MLBENCH=$("$here/../install.sh" "$RUNNER_TEMP/mlbench" "$here/../..")
fi
export MLBENCH
status=$("$here/../compare.sh")
case $status in
  0) verdict=fine ;;
  5) verdict=regressed ;;
  8) verdict=inconclusive ;;
  *) verdict=failed ;;
esac
{
  echo "status=$status"
  echo "verdict=$verdict"
  echo "mlbench=$MLBENCH"
  echo "document=$OUTPUT/results.json"
} >> "$GITHUB_OUTPUT"
# A summary has at most a mebibyte.
[ ! -f "$OUTPUT/report.md" ] || { echo "### $TITLE"; echo; head -c 1000000 "$OUTPUT/report.md"; } >> "$GITHUB_STEP_SUMMARY"
