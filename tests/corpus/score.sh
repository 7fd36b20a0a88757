#!/bin/sh
# Scores the detector against a corpus of real logs that is not part of this repository.
# LASTGASP_CORPUS: its directory (score.py, dev/*.log, dev/expected-dev.jsonl). LASTGASP: the binary.
# Arguments go to score.py, after the two files: --tier core|ext|all --misses --json
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
corpus=${LASTGASP_CORPUS:-$root/../shared/corpus}
lastgasp=${LASTGASP:-$root/target/debug/lastgasp}
if [ ! -f "$corpus/score.py" ]; then
    echo "SKIPPED: no corpus at $corpus (set LASTGASP_CORPUS)" >&2
    exit 0
fi
results=$(mktemp)
trap 'rm -f "$results"' EXIT
(cd "$corpus/dev" && "$lastgasp" scan --format json ./*.log || test $? -eq 1) | python3 "$root/tests/corpus/group.py" > "$results"
python3 "$corpus/score.py" "$corpus/dev/expected-dev.jsonl" "$results" "$@"
