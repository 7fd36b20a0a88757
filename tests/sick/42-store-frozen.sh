#!/bin/bash
# The file system of the store is frozen: creat there cannot even be killed. The snapshot is in the next store within
# seconds, a spare is ready all the time, few processes get stuck; thawed, everything goes home.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/disks.sh"
need_root

FREE+=('thaw')
thaw() { fsfreeze -u "$T/home" 2>/dev/null || true; }
disk home 96
disk next 48
HOME_STORE=$T/home/store NEXT_STORE=$T/next/store
stores "$HOME_STORE" "$NEXT_STORE"
start_sick_watch
is "store of the watch" "$(status .store)" "$HOME_STORE"
freeze() {
    fsfreeze -f "$T/home"
    touch "$T/home/proof" &
    disown $!
    proof=$!
    # Its start may be in state D for a moment as well: what counts is the lock of the frozen file system.
    await 5 'grep -q percpu_rwsem_wait "/proc/$proof/wchan"' "a touch that waits for the frozen file system"
    kill -KILL "$proof"
    holds 1 '[ "$(cut -d" " -f3 "/proc/$proof/stat")" = D ]' "a touch that cannot be killed"
}

# --- frozen after the spare has opened it

freeze
trigger 30
went "$NEXT_STORE"
tried "$HOME_STORE" "does not answer"
t0=$(manifest "$SNAP" '.tiers[0].durable_ms')
[ "$SNAP_MS" -lt 10000 ] || fail "$SNAP_MS ms until the snapshot was published"
[ "$t0" -lt 5000 ] || fail "$t0 ms until the first tier was on a disk"
first=$(basename "$SNAP")
row "store frozen under a ready spare" "touch in state D survives SIGKILL" "next store; given up after $(took "$HOME_STORE") ms, T0 durable after $t0 ms" "$SNAP_MS"

# --- and before: its own opening hangs, and is known beforehand

await 30 '[ "$(status .spare_ready)" = true ] && [ "$(status .store)" = "$NEXT_STORE" ]' "a spare for the next store"
trigger 30
went "$NEXT_STORE"
tried "$HOME_STORE" "does not answer|left alone"
second=$(basename "$SNAP")
[ "$SNAP_MS" -lt 5000 ] || fail "$SNAP_MS ms with a spare that knew"
row "store frozen before the spare" "as above" "next store, without waiting" "$SNAP_MS"
for _ in 1 2 3; do
    trigger 30
    went "$NEXT_STORE"
done
await 30 '[ "$(status .spare_ready)" = true ]' "a spare"
stuck=$(status .stuck_children)
[ "$stuck" -le 3 ] || fail "$stuck processes are stuck after five snapshots"
asked=$(now_ms)
status .pid >/dev/null
[ $(($(now_ms) - asked)) -lt 1000 ] || fail "the core does not answer"

# --- thawed

thawed=$(now_ms)
thaw
came_home "$HOME_STORE" "$first" 90
came_home "$HOME_STORE" "$second" 90
await 90 '[ "$(archive_count "$HOME_STORE")" = 5 ] && [ "$(archive_count "$NEXT_STORE")" = 0 ]' "all five at home"
row "five snapshots of a frozen store, thawed" "$stuck processes were stuck" "all five at home, none twice" $(($(now_ms) - thawed))
sound "$HOME_STORE"/*.tar.zst
await 60 '[ "$(status .stuck_children)" = 0 ]' "the end of the stuck processes"
is "left beside them" "$(find "$HOME_STORE" "$NEXT_STORE" -name '*partial*')" ""
trigger
went "$HOME_STORE"
stop_watch

# --- a watch that starts on a frozen store

freeze
start_sick_watch
is "store of the watch" "$(status .store)" "$NEXT_STORE"
trigger 30
went "$NEXT_STORE"
row "a watch that starts on a frozen store" "as above" "next store" "$SNAP_MS"
name=$(basename "$SNAP")
thaw
came_home "$HOME_STORE" "$name" 90
stop_watch
