#!/usr/bin/env bash
# Builds base and head, compares them, and prints the exit status of mlbench compare.
#
# Environment:
#   MLBENCH   the program mlbench
#   BASE, HEAD   directories of the two checkouts
#   OUTPUT    an empty directory for results.json, report.md and junit.xml
#   COMMAND   what is timed, a line for bash, in the directory of a checkout
#   INSTALL   a line that installs a checkout into an environment of Python, one for each; may be empty
#   BUILD     a line that builds a checkout; may be empty
#   OPTIONS   further options of mlbench compare, as words; may be empty
set -euo pipefail

prepare() { # NAME DIRECTORY: makes $OUTPUT/NAME, which runs the command there.
  local environment path=$PATH exec=
  cd "$2"
  if [ -n "${INSTALL:-}" ]; then
    environment=$(dirname "$OUTPUT")/$1-environment
    python3 -m venv "$environment"
    path=$environment/bin:$PATH
    PATH=$path bash -euo pipefail -c "$INSTALL"
  fi
  [ -z "${BUILD:-}" ] || PATH=$path bash -euo pipefail -c "$BUILD"
  # A single program takes the place of the shell: its own CPU time is known best.
  if [[ $COMMAND != *[\;\&\|\<\>\(\)\`$'\n']* && $(PATH=$path type -t -- "${COMMAND%% *}") = file ]]; then
    exec="exec "
  fi
  {
    echo "#!/usr/bin/env bash"
    printf 'cd %q || exit 126\nexport PATH=%q\n%s%s\n' "$2" "$path" "$exec" "$COMMAND"
  } > "$OUTPUT/$1"
  chmod +x "$OUTPUT/$1"
}

# What they print belongs to the log: the status alone goes to stdout.
(prepare base "$BASE") >&2
(prepare head "$HEAD") >&2
read -r -d "" -a options <<< "${OPTIONS:-}" || true # to the end of the last line
status=0
"$MLBENCH" compare "$(printf %q "$OUTPUT/base")" "$(printf %q "$OUTPUT/head")" --fail_on inconclusive ${options[@]+"${options[@]}"} \
  --screen_reporter --json --markdown "$OUTPUT/report.md" --junit "$OUTPUT/junit.xml" > "$OUTPUT/results.json" || status=$?
echo "$status"
