#!/bin/bash
# The disk of the store is full, and whatever fills it goes on: the snapshot takes the place of the reserve, which is
# announced and rebuilt when there is room. Then a disk without a free inode.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/disks.sh"
need_root

disk home 96
disk next 48
HOME_STORE=$T/home/store NEXT_STORE=$T/next/store
stores "$HOME_STORE" "$NEXT_STORE"
start_sick_watch
[ -e "$HOME_STORE/reserve" ] || fail "no reserve"

# --- full, with a program that takes every byte that becomes free

fill "$T/home"
(while :; do dd if=/dev/zero bs=4k oflag=append conv=notrunc of="$T/home/ballast-greedy" || sleep 0.02; done) 2>/dev/null &
greedy=$!
PIDS+=("$greedy")
disown "$greedy"
must_fail() { ! "$@" 2>/dev/null || fail "'$*' was to fail"; }
must_fail dd if=/dev/zero of="$T/home/proof" bs=4k count=1
rm -f "$T/home/proof"
trigger
went "$HOME_STORE"
is "the reserve is spent" "$(ls "$HOME_STORE/reserve" 2>/dev/null)" ""
has "notes of the manifest" "$(manifest "$SNAP" '.notes[]')" "$HOME_STORE is full: the snapshot took the place of its reserve"
said "$HOME_STORE is full: the snapshot took the place of its reserve; free some space" >/dev/null || fail "not announced"
bytes=$(stat -c %s "$SNAP")
[ $(($(stat -c %b "$SNAP") * 512)) -lt 8388608 ] || fail "the snapshot holds the whole reserve"
row "store's disk full, a program takes every free byte" "not one 4 KiB block can be written" \
    "first store, in its reserve's place ($bytes bytes)" "$SNAP_MS"

# --- no reserve any more: the next store, and home again when there is room

await 90 'said "snapshots go to $NEXT_STORE" >/dev/null' "the next store is ready beforehand"
trigger
went "$NEXT_STORE"
tried "$HOME_STORE" "No space left on device"
away=$SNAP away_ms=$SNAP_MS
kill -KILL "$greedy"
unfill "$T/home"
began=$(now_ms)
came_home "$HOME_STORE" "$(basename "$away")" 90
row "disk full, the reserve is spent" "as above" "next store; moved home $((($(now_ms) - began) / 1000)) s after there was room" "$away_ms"
await 90 '[ -e "$HOME_STORE/reserve" ]' "a new reserve"
trigger
went "$HOME_STORE"
is "tries when all is well" "$(manifest "$SNAP" .stores)" null
stop_watch

# --- no free inode

disk inodes 64 -N 32
INODE_STORE=$T/inodes/store
stores "$INODE_STORE" "$NEXT_STORE"
start_sick_watch
[ -e "$INODE_STORE/reserve" ] || fail "no reserve"
n=0
while : >"$T/inodes/file$n"; do n=$((n + 1)); done 2>/dev/null
[ "$(df --output=iavail "$T/inodes" | tail -n 1 | tr -d ' ')" = 0 ] || fail "there are inodes left"
must_fail touch "$T/inodes/proof"
trigger
went "$INODE_STORE"
[ ! -e "$INODE_STORE/reserve" ] || fail "the reserve is still there"
row "no free inode" "touch: $(touch "$T/inodes/proof" 2>&1 | sed 's/.*: //')" "first store, in its reserve's place" "$SNAP_MS"
stop_watch
