#!/usr/bin/env bash
# Usage: check.sh STATUS: ends the job. In the environment, FAIL_ON is regressed, inconclusive or never.
set -euo pipefail
status=$1
case $FAIL_ON in
  regressed | inconclusive | never) ;;
  *) echo "fail_on is regressed, inconclusive or never, not $FAIL_ON" >&2; exit 2 ;;
esac
case $status in
  0) ;;
  5) [ "$FAIL_ON" = never ] || { echo "a regression was confirmed" >&2; exit 5; } ;;
  8) [ "$FAIL_ON" != inconclusive ] || { echo "the comparison was inconclusive" >&2; exit 8; } ;;
  *) echo "the comparison failed: the log says why" >&2; exit "$status" ;;
esac
