#!/bin/bash
# From a failure to its snapshot on the disk: benches/latency.sh [RUNS]
#
# An oops is written to a console log; from the line to the decision, from there to the first tier on the
# disk, and to the published snapshot. The worker is the spare one, as in a real failure.
#
# LASTGASP  the binary (default: target/release/lastgasp)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
export LASTGASP=${LASTGASP:-$here/../target/release/lastgasp}
[ -x "$LASTGASP" ] || { echo "there is no $LASTGASP; cargo build --release" >&2; exit 77; }
exec python3 "$here/latency.py" "${1:-15}"
