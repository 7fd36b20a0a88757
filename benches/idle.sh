#!/bin/bash
# What a watch costs while nothing happens: memory and CPU of each of its processes, with one probe a second.
#
#   benches/idle.sh [MINUTES]      default 10
#
# LASTGASP  the binary (default: target/release/lastgasp)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
export LASTGASP=${LASTGASP:-$here/../target/release/lastgasp}
[ -x "$LASTGASP" ] || { echo "there is no $LASTGASP; cargo build --release" >&2; exit 77; }
exec python3 "$here/idle.py" "${1:-${MINUTES:-10}}"
