#!/bin/bash
# Crowds: 10,000 threads, 100,000 sockets, as many descriptors of one process as the machine allows (50,000), and
# 2,000 processes in one capture. What is worth most stands first, the caps hold, and what was cut is said.
source "$(dirname "$0")/lib.sh"
need_root
need gcc
gcc -O1 -pthread -o "$T/crowd" "$ROOT/tests/sick/crowd.c" || fail "the helper does not build"
mkdir "$T/files"

# start NAME ARGUMENT...: a crowd in the background; its pid in CROWD.
start() {
    local name=$1 out="$T/out.$RANDOM"
    shift
    [ -e "$T/$name" ] || ln "$T/crowd" "$T/$name"
    (exec "$T/$name" "$@") >"$out" 2>&1 &
    CROWD=$!
    PIDS+=("$CROWD")
    await 60 "grep -q ready $out" "$name $*"
}

hard=$(ulimit -Hn)
[ "$hard" != unlimited ] || hard=1048576
fds=50000
if ! (ulimit -Hn $((fds + 64))) 2>/dev/null; then fds=$((hard - 64)); fi
each=$((fds < 50000 ? fds / 2 * 2 : 50000))

start sick-threads threads 10000
threads=$CROWD
sockets=0
while [ $sockets -lt 100000 ]; do
    n=$((100000 - sockets < each ? 100000 - sockets : each))
    start sick-sockets sockets $n
    sockets=$((sockets + n))
done
start sick-files files "$fds" "$T/files"
files=$CROWD
start sick-crowd processes 2000
# What matters comes last, so that it has the highest pids.
start sick-blocked blocked
blocked=$CROWD
start sick-service threads 20
service=$CROWD
await 10 "[ \"\$(cut -d' ' -f3 /proc/$blocked/stat)\" = D ]" "a task in state D"

# --- the proof: they are there

is "threads" "$(find "/proc/$threads/task" -maxdepth 1 -mindepth 1 | wc -l)" 10000
[ "$(wc -l </proc/net/unix)" -gt 100000 ] || fail "there are only $(wc -l </proc/net/unix) unix sockets"
[ "$(find "/proc/$files/fd" -maxdepth 1 -mindepth 1 | wc -l)" -ge "$fds" ] || fail "not $fds descriptors"
say "proven: 10,000 threads, $(wc -l </proc/net/unix) unix sockets, $fds descriptors in one process, $(find /proc -maxdepth 1 -name '[0-9]*' | wc -l) processes"

# --- a snapshot of a service that is down; the probe knows it by its pid

mkdir -p /run/lastgasp-sick-$$
UNDO+=("rm -rf /run/lastgasp-sick-$$")
echo "$service" >/run/lastgasp-sick-$$/pid
config "[kmsg]
enabled = false
[capture]
disk_benchmark = false
[[probe]]
name = \"sick\"
target = \"pidfile:/run/lastgasp-sick-$$/pid\"
interval = \"500ms\"
failures = 1
"
start_watch
await 20 "[ \"\$(status '.probes[0].state')\" = up ]" "the probe up"
core=$(status .pid)
rss() { awk '/^VmRSS/ { print $2 }' "/proc/$core/status"; }
before=$(rss)
# A zombie is down for the probe and still a process for everybody else.
python3 - "$T/zombie" <<'PY' &
import os, sys, time
pid = os.fork()
if pid == 0:
    os._exit(0)
open(sys.argv[1], "w").write(str(pid))
time.sleep(300)
PY
PIDS+=($!)
await 10 "[ -s $T/zombie ]" "a zombie"
began=$(now_ms)
cp "$T/zombie" /run/lastgasp-sick-$$/pid
await 60 '[ "$(archive_count)" -ge 1 ]' "a snapshot"
took=$(($(now_ms) - began))
SNAP=$(newest)
sound "$SNAP"
after=$(rss)
total=$(manifest "$SNAP" .total_ms)
t0=$(manifest "$SNAP" '.tiers[0].durable_ms')

entry "$SNAP" lastgasp/tasks.jsonl | jq -r '"\(.pid) \(.state) \(.comm)"' >"$T/order"
has "the blocked task is among the first" "$(sed -n 1,30p "$T/order")" "^$blocked D sick-blocked$"
place() { grep -nE -m 1 -- "$1" "$T/order" | cut -d: -f1; }
crowd_at=$(place ' sick-crowd$')
[ "$(place "^$blocked ")" -lt "$crowd_at" ] || fail "the crowd stands before the blocked task"
[ "$(place "^$(cat "$T/zombie") Z ")" -lt "$crowd_at" ] || fail "the crowd stands before the process of what failed"
is "threads seen" "$(entry "$SNAP" lastgasp/tasks.jsonl | jq -c "select(.pid == $threads) | [.sleeping_threads[]] | add")" 9999
listed=$(entry "$SNAP" lastgasp/descriptors_summary.txt | awk -v pid="$files" '$1 == pid && !n++ { print $2 }')
[ "${listed:-0}" -ge "$fds" ] || fail "$listed descriptors of process $files are listed, not $fds"
lsof=sos_commands/process/lsof_-b_M_-n_-l
lines=$(entry "$SNAP" "$lsof" | wc -l)
[ "$lines" -gt $((100000 + fds)) ] || fail "lsof has only $lines lines"
is "control characters in lsof" "$(entry "$SNAP" "$lsof" | LC_ALL=C tr -d '\n\040-\176\200-\377' | wc -c)" 0
# 100,000 of them are more than the cap takes together with those of the machine: that is said.
cut=$(missing 'sockets of /proc/net/unix: cut after 100000' | sed -n 1p) && [ -n "$cut" ] || fail "that sockets were cut is not said: $(missing .)"
for c in tasks sockets descriptors processes; do
    o=$(manifest "$SNAP" ".collectors[] | select(.name == \"$c\") | .outcome")
    has "outcome of $c" "$o" '^(complete|truncated)$'
done
[ "$after" -le $((before + 4096)) ] || fail "the core grew from $before to $after KiB"
peak=$(manifest "$SNAP" '[.collectors[].bytes] | add')
say "T0 on the disk after $t0 ms, whole after $total ms, $((peak >> 20)) MiB of text, $(stat -c %s "$SNAP") bytes; core $before -> $after KiB"
row "10,000 threads, 100,000 sockets, $fds descriptors, 2,000 processes" "counted in /proc" \
    "blocked and failing first, cut said: ${cut:0:60}…" "$took"
stop_watch
