#!/bin/bash
# A second look: a task that is stuck, one that is blocked again and again, one that is busy and one that writes are
# told apart, in words and by their rates.
source "$(dirname "$0")/lib.sh"
need_root
need gcc
gcc -O1 -pthread -o "$T/crowd" "$ROOT/tests/sick/crowd.c" || fail "the helper does not build"

start() { # NAME ARGUMENT...
    local name=$1
    shift
    ln "$T/crowd" "$T/$name"
    (exec "$T/$name" "$@") >"$T/$name.out" 2>&1 &
    PIDS+=($!)
    eval "${name//-/_}=$!"
    await 20 "grep -q ready $T/$name.out" "$name"
}
start sick-stuck blocked
start sick-slow slow
start sick-busy busy
start sick-writer writer "$T/written"
start sick-pool threads 8

# --- the proof: the first two are in state D whenever one looks, and only the counters of the second move

state() { sed 's/.*) //' "/proc/$1/stat" | cut -d' ' -f1; }
switches() { awk '/^voluntary/ { print $2 }' "/proc/$1/status"; }
for pid in $sick_stuck $sick_slow; do
    await 5 "[ \"\$(state $pid)\" = D ]" "state D of $pid"
done
a=$(switches "$sick_stuck") b=$(switches "$sick_slow")
await 5 "[ \$(switches $sick_slow) -gt $((b + 50)) ]" "switches of the slow one"
is "switches of the stuck one" "$(switches "$sick_stuck")" "$a"
say "proven: $sick_stuck and $sick_slow are in state D, only the second one's switches go up"

# --- a snapshot about the pool

mkdir -p /run/lastgasp-sick-$$
UNDO+=("rm -rf /run/lastgasp-sick-$$")
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
echo "$sick_pool" >/run/lastgasp-sick-$$/pid
config "[kmsg]
enabled = false
[capture]
disk_benchmark = false
[[probe]]
name = \"pool\"
target = \"process:sick-pool\"
min = 2
interval = \"500ms\"
failures = 1
"
start_watch
began=$(now_ms)
await 60 '[ "$(archive_count)" -ge 1 ]' "a snapshot of the pool that has too few processes"
took=$(($(now_ms) - began))
SNAP=$(newest)
sound "$SNAP"
motion=$(entry "$SNAP" lastgasp/task_motion.txt)
has "the stuck one" "$motion" "^task sick-stuck tid $sick_stuck of pid $sick_stuck: STUCK in [a-z_]*: the same place at all 4 looks"
has "its stack" "$(grep -A 3 "^task sick-stuck " <<<"$motion")" '^    [a-z_]*vfork[a-z_]*\+0x'
has "the slow one" "$motion" "^task sick-slow tid $sick_slow of pid $sick_slow: slow, not stuck: .*\([0-9]{2,} context switches"
is "threads of what failed that were looked at" "$(grep -c "^task sick-pool .* asleep in " <<<"$motion")" 8
grep -q "^task sick-stuck " <<<"$(grep '^task ' <<<"$motion" | sed -n 1,3p)" || fail "the stuck one is not among the first"

rates() { entry "$SNAP" lastgasp/task_rates.jsonl | jq -c "select(.pid == $1)"; }
rates "$sick_busy" | jq -e '.user_percent > 5 and .state == "R"' >/dev/null || fail "the busy one: $(rates "$sick_busy")"
rates "$sick_writer" | jq -e '.voluntary_switches_per_s > 1' >/dev/null || fail "the writer: $(rates "$sick_writer")"
rates "$sick_slow" | jq -e '.voluntary_switches_per_s > 20' >/dev/null || fail "the slow one: $(rates "$sick_slow")"
rates "$sick_stuck" | jq -e '.user_percent == 0 and .voluntary_switches_per_s == 0' >/dev/null || fail "the stuck one: $(rates "$sick_stuck")"
rates "$sick_pool" | jq -e '.of_service' >/dev/null || fail "the pool is not known as what failed"
has "what failed is named" "$(entry "$SNAP" lastgasp/task_rates.txt)" "^what failed \(1\):"
has "queues" "$(entry "$SNAP" lastgasp/queue_rates.txt)" 'context switches$'
row "stuck, slow, busy and writing tasks" "state D; switches move or not" "told apart in words; busy at $(rates "$sick_busy" | jq '.user_percent | round') % CPU" "$took"
stop_watch
