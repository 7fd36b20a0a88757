#!/bin/bash
# The reserve is large enough: a full disk on the largest host tested, 2,000 processes with 5,000 connections, 10,000 threads
# and 100,000 sockets. The snapshot is whole in the reserve's place, all tiers, with room to spare.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/disks.sh"
need_root

disk home 96
HOME_STORE=$T/home/store
stores "$HOME_STORE" "$T/next"
mkfifo "$T/hold"
cat >"$T/crowd.py" <<'PY'
import resource, socket, sys, threading
threads, sockets = int(sys.argv[1]), int(sys.argv[2])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
threading.stack_size(65536)
end = threading.Event()
for _ in range(threads):
    threading.Thread(target=end.wait, daemon=True).start()
held = []
for n in range(sockets):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("127.0.1.%d" % int(sys.argv[3]), 1100 + n))
    held.append(s)
print("ready", flush=True)
sys.stdin.read()
PY
exec 9<>"$T/hold"
# They end when their standard input does, and their children with them.
FREE+=('exec 9>&-; wait "$LOAD"; kill "${PIDS[@]}"; wait "${PIDS[@]}"')
mkdir "$T/crowds"
python3 "$ROOT/benches/load.py" 2000 5000 <"$T/hold" >"$T/load.out" 2>&1 9>&- &
LOAD=$!
PIDS+=($LOAD)
for n in 1 2 3 4 5 6 7 8; do
    python3 "$T/crowd.py" 1250 12500 "$n" <"$T/hold" >"$T/crowds/$n" 2>&1 9>&- &
    PIDS+=($!)
done
await 180 'grep -q ready "$T/load.out" && [ "$(grep -l ready "$T"/crowds/* | wc -l)" = 8 ]' "the crowd"
threads=$(ps -eL --no-headers | wc -l)
sockets=$(awk '/^(TCP|UDP):/ { n += $3 } END { print n }' /proc/net/sockstat)
[ "$threads" -ge 12000 ] && [ "$sockets" -ge 105000 ] || fail "only $threads threads and $sockets sockets"
start_sick_watch
[ -e "$HOME_STORE/reserve" ] || fail "no reserve"
fill "$T/home"
trigger 120
[ "$(dirname "$SNAP")" = "$HOME_STORE" ] || fail "it is in $SNAP"
sound "$SNAP"
has "notes" "$(manifest "$SNAP" '.notes[]')" "the snapshot took the place of its reserve"
bytes=$(stat -c %s "$SNAP")
is "tiers on the disk" "$(manifest "$SNAP" '[.tiers[] | select(.durable_ms != null) | .tier] | join(" ")')" "T0 T1 T2 T3"
[ "$bytes" -lt $((8388608 / 2)) ] || fail "$bytes bytes leave less than half of the reserve"
row "full disk, $threads threads, $sockets sockets" "$(df --output=avail "$T/home" | tail -n 1 | tr -d ' ') kB free" \
    "whole in the reserve of 8,388,608 bytes: $bytes" "$SNAP_MS"
stop_watch
