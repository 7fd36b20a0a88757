#!/bin/bash
# Collectors that hang: twelve configured logs on a FUSE mount that answers nothing. The collector ends in time, says where it
# hangs, the others are not touched, and neither the next capture nor the end of the watch waits for it.
source "$(dirname "$0")/lib.sh"
need_root
source "$(dirname "$0")/stuck.sh"

dead_fuse
logs=$(for i in $(seq 12); do printf '"%s/log%s", ' "$FUSE" "$i"; done)
echo "a healthy line" >"$T/healthy.log"
sick_config "[capture]
disk_benchmark = false
logs = [${logs}\"$T/healthy.log\"]"
start_sick_watch
baseline
fuse_dies
must_hang 2 cat "$FUSE/file"
for round in 1 2 3 4 5 6; do
    trigger 60
    sound "$SNAP"
    slowest=$((SNAP_MS > ${slowest:-0} ? SNAP_MS : slowest))
    is "round $round: how tasks ended" "$(outcome tasks)" complete
    [ "$(status .losses.counts.capture_failed)" = null ] || fail "round $round: a capture failed"
    [ $round = 1 ] || continue
    tried=$(missing "logs: $FUSE/log.*no answer in" | wc -l)
    has "where it hangs" "$(missing "logs: $FUSE/log1:")" "no answer in [0-9]+ ms, held at wchan=[a-z_]+ syscall=[0-9]+ stack=.*fuse_"
    has "further ones" "$(missing "logs: $FUSE/log12:")" "not tried: $FUSE does not answer"
    is "a log elsewhere" "$(entry_text "${T#/}/healthy.log")" "a healthy line"
    is "threads left behind for them" "$tried" 1
    first_ms=$SNAP_MS
done
SNAP_MS=$slowest
in_time "the slowest of six captures"
stuck=$(status .stuck_children)
say "children that hang after six captures: $stuck; the slowest capture $slowest ms"
# A read that the server has taken but not answered is waited for even after SIGKILL: four such workers are enough.
[ "$stuck" -le 5 ] || fail "$stuck children hang"
has "the sixth snapshot's notes" "$(manifest "$SNAP" '.notes[]')" "[4-5] workers hang in the kernel: only what cannot hang is collected"
is "the sixth snapshot's logs" "$(outcome logs)" ""
began=$(now_ms)
stop_watch
stopped=$(($(now_ms) - began))
[ $stopped -lt 10000 ] || fail "the watch took $stopped ms to end"
row "12 logs on a dead FUSE mount" "cat hangs" "$tried tried and abandoned with wchan, syscall, stack; from $stuck hung workers on the safe list; watch ends in $stopped ms" "$first_ms"
