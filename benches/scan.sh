#!/bin/bash
# How fast old logs are scanned: benches/scan.sh [RUNS] [MiB]
#
# A console log of so many MiB (1024) is made by console_log.py and read once, so that it is in memory. Then, interleaved:
# `lastgasp scan`, ripgrep on one thread and grep with the very same phrases as a file of patterns, ripgrep told
# that they are plain text, and wc, which only counts lines. `found` is lines with a phrase; of lastgasp, events: it knows
# what belongs together, where a phrase may stand, and control sequences inside of phrases.
#
# LASTGASP  the binary (default: target/release/lastgasp)
# BENCH_DIR where the log is made (default: a temporary directory)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
LASTGASP=$(realpath "${LASTGASP:-$here/../target/release/lastgasp}")
runs=${1:-5} mib=${2:-1024}
[ -x "$LASTGASP" ] || { echo "there is no $LASTGASP; cargo build --release" >&2; exit 77; }
for tool in rg grep wc python3; do
    command -v $tool >/dev/null || { echo "there is no $tool here (Debian: ripgrep)" >&2; exit 77; }
done
work=$(mktemp -d "${BENCH_DIR:-${TMPDIR:-/tmp}}/lastgasp-scan.XXXXXX")
trap 'rm -rf "$work"' EXIT
log=$work/console.log
python3 "$here/console_log.py" $((mib << 20)) "$log"
"$LASTGASP" rules --format json >"$work/rules.jsonl"
python3 - "$work" <<'PATTERNS'
import json, re, sys
work = sys.argv[1]
phrases = sorted({p for line in open(f"{work}/rules.jsonl") for p in json.loads(line)["phrases"]})
open(f"{work}/phrases", "w").write("\n".join(phrases) + "\n")
# What a regular expression takes for more than itself, in both dialects.
open(f"{work}/patterns", "w").write("\n".join(re.sub(r"([\\.+*?()|\[{^$])", r"\\\1", p) for p in phrases) + "\n")
print(len(phrases), "phrases;", end=" ")
PATTERNS
export MEASURE_BYTES
MEASURE_BYTES=$(stat -c %s "$log")
echo "$MEASURE_BYTES bytes, $(wc -l <"$log") lines; $(rg --version | sed -n 1p), $(grep --version | sed -n 1p)"
echo "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | sed -n 1p), $(nproc) CPUs, load average $(cut -d' ' -f1-3 /proc/loadavg)"
cat "$log" >/dev/null
# Not to /dev/null: there grep stops at the first match.
found='echo "{\"found\": $(cat "$OUT/count")}"'
python3 "$here/measure.py" "$runs" \
    "lastgasp scan" "'$LASTGASP' scan --format json '$log' >\"\$OUT/events\" && wc -l <\"\$OUT/events\" >\"\$OUT/count\" && $found" \
    "rg -c -j1 -f" "rg -c -j1 -f '$work/patterns' '$log' >\"\$OUT/count\" && $found" \
    "rg -c -j1 -F -f" "rg -c -j1 -F -f '$work/phrases' '$log' >\"\$OUT/count\" && $found" \
    "grep -cE -f" "grep -cE -f '$work/patterns' '$log' >\"\$OUT/count\" && $found" \
    "wc -l" "wc -l <'$log' >\"\$OUT/count\" && $found"
