#!/bin/bash
# The file system of the store went read-only, as after an error of the disk; and a disk that gives I/O errors at once.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/disks.sh"
need_root

disk home 96
disk next 48
HOME_STORE=$T/home/store NEXT_STORE=$T/next/store
stores "$HOME_STORE" "$NEXT_STORE"
start_sick_watch

mount -o remount,ro "$T/home"
proof=$(touch "$T/home/proof" 2>&1) && fail "it can be written to"
trigger
went "$NEXT_STORE"
tried "$HOME_STORE" "Read-only file system"
[ "$SNAP_MS" -lt 8000 ] || fail "$SNAP_MS ms"
name=$(basename "$SNAP") ms=$SNAP_MS
await 30 'said "$HOME_STORE.*remount it writable.*snapshots go to $NEXT_STORE" >/dev/null' "a line with the remedy"
mount -o remount,rw "$T/home"
began=$(now_ms)
came_home "$HOME_STORE" "$name" 60
row "store remounted read-only under a ready spare" "touch: ${proof##*: }" \
    "next store; home $((($(now_ms) - began) / 1000)) s after it was writable" "$ms"
is "store of the watch" "$(status .store)" "$HOME_STORE"
stop_watch

# --- a disk that ends: whatever lies behind its first megabyte is an I/O error

disk bad 96 -O ^has_journal
mount -o remount,errors=continue "$T/bad"
stores "$T/bad/store" "$NEXT_STORE"
start_sick_watch
is "store of the watch" "$(status .store)" "$T/bad/store"
truncate -s 1M "$T/images/bad"
# shellcheck disable=SC2154 # set by disk
losetup -c "$DEV_bad"
dd if=/dev/urandom of="$T/bad/proof" bs=64k count=16 conv=fsync 2>"$T/dd" && fail "the disk takes new blocks"
proof=$(grep -o 'Input/output error' "$T/dd" | head -n 1) || fail "dd: $(cat "$T/dd")"
trigger
went "$NEXT_STORE"
tried "$T/bad/store" "Input/output error"
row "I/O errors from the store's disk" "dd: $proof" "next store; given up after $(took "$T/bad/store") ms" "$SNAP_MS"
stop_watch
