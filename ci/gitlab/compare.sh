#!/usr/bin/env bash
# The job of compare.yml, in the checkout of head; the environment is that of ../compare.sh, with TITLE and FAIL_ON.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$PWD/.mlbench
export HEAD=$PWD BASE=$work/base OUTPUT=$work/output
# The code of the merge request does not see the token.
token=${MLBENCH_GITLAB_TOKEN:-}
unset MLBENCH_GITLAB_TOKEN
mkdir -p "$OUTPUT"
# Of a pipeline for merged results, the target is the first parent; otherwise the branches part at the second.
commit=${CI_MERGE_REQUEST_TARGET_BRANCH_SHA:-$CI_MERGE_REQUEST_DIFF_BASE_SHA}
git fetch --quiet --depth 1 origin "$commit"
git worktree add --quiet --force --detach "$BASE" "$commit"
[ ! -f "$BASE/.gitmodules" ] || git -C "$BASE" submodule update --init --recursive
status=$(bash "$here/../compare.sh")
if [ -n "$token" ] && [ -s "$OUTPUT/results.json" ]; then
  MLBENCH_GITLAB_TOKEN=$token "$MLBENCH" comment "$OUTPUT/results.json" --title "$TITLE" \
    || echo "the comment could not be written; the results are among the artifacts" >&2
fi
bash "$here/../check.sh" "$status"
