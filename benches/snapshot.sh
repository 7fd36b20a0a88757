#!/bin/bash
# A snapshot against the shell bundle, sos report and the floor, on a machine made busy: benches/snapshot.sh [RUNS]
#
# LASTGASP  the binary (default: target/release/lastgasp)
# LOAD      processes, connections and threads of one process (default: "2000 5000 0"; "0 0 0" is the machine as it is)
# SOS_RUNS  rounds in which sos report runs as well, which takes long (default: 2; 0 leaves it out)
# BENCH_DIR directory for the output (default: the system's temporary one); its disk is part of the figures
#
# HERE      set to anything: on the machine as it is. Otherwise in a PID and a network namespace of its own, so that processes and
#           sockets are those of the load, whatever else there is
#
# Needs: cc, python3, ps, lsof, ss, netstat, zstd, sos (Debian: sosreport). Run as root, else all sides see only a part.
# A process whose memory lock is held hangs all sides but lastgasp: not on a machine where something is being staged.
set -eu
if [ -z "${HERE:-}" ] && unshare --pid --net --fork --mount-proc true 2>/dev/null; then
    HERE=namespace exec unshare --pid --net --fork --kill-child --mount-proc bash "$0" "$@"
fi
[ "${HERE:-}" != namespace ] || ip link set lo up
here=$(cd "$(dirname "$0")" && pwd)
lastgasp=${LASTGASP:-$here/../target/release/lastgasp}
runs=${1:-5}
sos_runs=${SOS_RUNS:-2}
for tool in cc python3 ps lsof ss netstat zstd; do
    command -v $tool >/dev/null || { echo "there is no $tool here" >&2; exit 77; }
done
[ -x "$lastgasp" ] || { echo "there is no $lastgasp; cargo build --release" >&2; exit 77; }

work=$(mktemp -d)
load=
trap 'kill $load 2>/dev/null || true; wait $load 2>/dev/null || true; rm -rf "$work"' EXIT
cc -O2 -Wall -o "$work/floor" "$here/floor.c"
coproc LOADED { exec python3 "$here/load.py" ${LOAD:-2000 5000 0}; }
load=$LOADED_PID
read -r -t 120 ready <&"${LOADED[0]}" || { echo "the load did not get ready" >&2; exit 1; }
[[ $ready == ready* ]] || { echo "the load: $ready" >&2; exit 1; }
echo "$ready; $(nproc) CPUs, load average $(cut -d' ' -f1-3 /proc/loadavg), $(date -u +%FT%TZ)"

sos=()
if [ "$sos_runs" -gt 0 ]; then
    if command -v sos >/dev/null; then
        sos=("sos report@$sos_runs" "sos report --batch -q --tmp-dir \"\$OUT\" -o kernel,process,networking,block,memory,logs >/dev/null 2>&1")
    else
        echo "SKIPPED: sos report, which is not installed (Debian: apt-get install sosreport)" >&2
    fi
fi
# The same ground as the bundle: no configuration files, sysctl, disks, control groups and the like, and no second
# reading of the disks' counters, which waits for a quarter of a second.
same=kernel_log,tasks,sockets,memory,processes,descriptors,network,mounts_df,proc_system
python3 "$here/measure.py" "$runs" \
    "lastgasp" "'$lastgasp' --store \"\$OUT\" --format json snap --no-disk-benchmark" \
    "lastgasp, same ground" "'$lastgasp' --store \"\$OUT\" --format json snap --no-disk-benchmark --only $same" \
    "shell bundle" "bash '$here/bundle.sh'" \
    "floor: read /proc" "'$work/floor'" \
    "${sos[@]}"
