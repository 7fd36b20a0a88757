#!/bin/bash
# A snapshot against the shell bundle, on a machine made busy: benches/snapshot.sh [RUNS]
#
# LASTGASP  the binary (default: target/release/lastgasp)
# LOAD      processes and connections (default: "2000 5000"; "0 0" is the machine as it is)
# BENCH_DIR directory for the output (default: the system's temporary one); its disk is part of the figures
#
# Needs: python3, ps, lsof, ss, netstat, zstd. Run as root, else both sides see only a part.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
lastgasp=${LASTGASP:-$here/../target/release/lastgasp}
runs=${1:-5}
for tool in python3 ps lsof ss netstat zstd; do
    command -v $tool >/dev/null || { echo "there is no $tool here" >&2; exit 77; }
done
[ -x "$lastgasp" ] || { echo "there is no $lastgasp; cargo build --release" >&2; exit 77; }

coproc LOADED { exec python3 "$here/load.py" ${LOAD:-2000 5000}; }
load=$LOADED_PID
trap 'kill $load 2>/dev/null || true; wait $load 2>/dev/null || true' EXIT
read -r -t 120 ready <&"${LOADED[0]}" || { echo "the load did not get ready" >&2; exit 1; }
[[ $ready == ready* ]] || { echo "the load: $ready" >&2; exit 1; }
echo "$ready; $(nproc) CPUs, load average $(cut -d' ' -f1-3 /proc/loadavg), $(date -u +%FT%TZ)"

# The same ground as the bundle: no configuration files, sysctl, disks, control groups and the like, and no second
# reading of the disks' counters, which waits for a quarter of a second.
same=kernel_log,tasks,sockets,memory,processes,descriptors,network,mounts_df,proc_system
python3 "$here/measure.py" "$runs" \
    "shell bundle" "bash '$here/bundle.sh'" \
    "lastgasp" "'$lastgasp' --store \"\$OUT\" --format json snap --no-disk-benchmark" \
    "lastgasp, same ground" "'$lastgasp' --store \"\$OUT\" --format json snap --no-disk-benchmark --only $same"
