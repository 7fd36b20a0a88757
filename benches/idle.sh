#!/bin/bash
# What a watch costs while nothing happens: memory and CPU of each of its processes, with one probe a second, beside a C
# program that does nothing but such a request a second (idle_floor.c).
#
#   benches/idle.sh [MINUTES]      default 10
#
# LASTGASP  the binary (default: target/release/lastgasp)
# LOAD      processes and connections that are there meanwhile and do nothing (load.py; default: none). The figures
#           with "2000 0" are to be those without.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
export LASTGASP=${LASTGASP:-$here/../target/release/lastgasp}
[ -x "$LASTGASP" ] || { echo "there is no $LASTGASP; cargo build --release" >&2; exit 77; }
if [ -n "${LOAD:-}" ]; then
    coproc LOADED { exec python3 "$here/load.py" $LOAD; }
    load=$LOADED_PID
    read -r -t 120 ready <&"${LOADED[0]}" || { echo "the load did not get ready" >&2; exit 1; }
    echo "$ready"
fi
echo "load average $(cut -d' ' -f1-3 /proc/loadavg), $(ls /proc | grep -c '^[0-9]') processes"
floor=$(mktemp)
trap 'rm -f "$floor"; kill ${load:-} 2>/dev/null || true; wait ${load:-} 2>/dev/null || true' EXIT
cc -O2 -Wall -o "$floor" "$here/idle_floor.c"
python3 "$here/idle.py" "${1:-${MINUTES:-10}}" "$floor"
