#!/bin/bash
# The core has no file descriptor left (EMFILE): what is open stays, the capture is taken, clients are turned away
# without the loop running hot, and it goes on when there are descriptors again.
source "$(dirname "$0")/lib.sh"
need_root
need prlimit

ticks() { sed 's/.*) //' "/proc/$WATCH/stat" | awk '{ print $12 + $13 }'; }
highest() { ls "/proc/$WATCH/fd" | sort -n | tail -n 1; }

sick_config
start_sick_watch
old=$(prlimit --pid "$WATCH" --nofile --output SOFT --noheadings)
before=$(status .snapshots)
# The limit is of numbers: free ones below the highest must be taken as well, by clients that say nothing.
await 10 '[ "$(ls /proc/$WATCH/fd | wc -l)" -gt 5 ]' "open descriptors"
limit=$(($(highest) + 1))
prlimit --pid "$WATCH" --nofile="$limit:"
python3 - "$CONTROL" "$limit" >"$T/clients" <<'PY' &
import socket, sys, threading
clients = []
for _ in range(64):
    c = socket.socket(socket.AF_UNIX)
    c.settimeout(5)
    try:
        c.connect(sys.argv[1])
        clients.append(c)
    except OSError:
        break
turned = 0
for c in clients:
    try:
        turned += c.recv(1) == b""
    except OSError:
        pass
print(len(clients), turned, flush=True)
threading.Event().wait()
PY
CLIENTS=$!
PIDS+=("$CLIENTS")
await 60 '[ -s "$T/clients" ]' "an answer to all clients"
read -r asked turned <"$T/clients"
[ "$turned" -gt 0 ] || fail "none of $asked clients was turned away"
used=$(ls "/proc/$WATCH/fd" | wc -l)
say "proven: $used of $limit descriptors are in use, $turned of $asked clients were turned away"

spent=$(ticks)
printf '[ 2000.1] BUG: kernel NULL pointer dereference, address: 0000000000000010\n[ 2000.2] RIP: 0010:sick_descriptor_fn+0x10/0x20\n[ 2000.3] ---[ end trace 0000000000000000 ]---\n' \
    >>"$T/consoles/trigger.log"
began=$(now_ms)
await 30 '[ "$(archive_count)" -ge 1 ]' "a snapshot"
took=$(($(now_ms) - began))
holds 2 'true' # two seconds of whatever the loop does now
spent=$(($(ticks) - spent))
[ "$spent" -lt 100 ] || fail "the core used $spent ticks of CPU: it runs hot"
sound "$(newest)"
row "the core has no descriptor left (EMFILE)" "$turned of $asked clients turned away" "whole snapshot, $((spent * 10)) ms of CPU" "$took"

kill "$CLIENTS"
prlimit --pid "$WATCH" --nofile="$old:"
await 30 '[ "$(status .spare_ready)" = true ]' "a spare worker when there are descriptors again"
[ "$(status .snapshots)" -gt "$before" ] || fail "the snapshot is not in the status"
