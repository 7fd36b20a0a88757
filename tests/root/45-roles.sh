#!/bin/bash
# The processes of a watch die or hang one after the other: each is replaced, nothing is lost or invented, and
# the core answers all the time.
source "$(dirname "$0")/lib.sh"
need curl

PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkdir "$T/www" "$T/consoles"
: >"$T/consoles/node.log"
(cd "$T/www" && exec python3 -m http.server --bind 127.0.0.1 "$PORT") >/dev/null 2>&1 &
PIDS+=("$!")
disown "$!"
await 20 'curl -s -m 1 -o /dev/null "http://127.0.0.1:$PORT/"' "a service to probe"

SECOND=$T/second
config "[kmsg]
enabled = false
[incident]
coalesce = \"0s\"
cooldown = \"0s\"
max_per_hour = 100
[capture]
disk_benchmark = false
[[console]]
path = \"$T/consoles/*.log\"
[[probe]]
name = \"web\"
target = \"http://127.0.0.1:$PORT/\"
interval = \"500ms\"
timeout = \"450ms\"
"
sed -i "s|^dirs = .*|dirs = [\"$STORE\", \"$SECOND\"]|" "$T/lastgasp.toml"
start_watch
await 20 '[ "$(status ".probes[0].state")" = up ]' "the probe's first success"

# role NAME: the pid of the process that has this role. A worker that has just been replaced may still be ending.
role() { pgrep -n -P "$WATCH" -f "role $1" || true; }
said() { status "[.log[].text | select(test(\"$1\"))] | length"; }
oops() {
    cat >>"$T/consoles/node.log" <<OOPS
[  100.000001] BUG: kernel NULL pointer dereference, address: 0000000000000010
[  100.000002] #PF: supervisor read access in kernel mode
[  100.000005] Oops: 0000 [#1] PREEMPT SMP NOPTI
[  100.000006] CPU: 0 PID: 1 Comm: role-test Not tainted 6.1.0 #1
[  100.000007] RIP: 0010:$1+0x10/0x20 [marked]
[  100.000008] Call Trace:
[  100.000009]  <TASK>
[  100.000010]  $1_caller+0x10/0x20 [marked]
[  100.000012]  </TASK>
[  100.000013] ---[ end trace 0000000000000000 ]---
OOPS
}

# --- the tail role dies: what is written meanwhile is read by the next one. Its place in the file is on the disk
# every 2 s; lines since then come twice, so this waits until the first oops is behind it.

oops while_all_was_well
await 30 '[ "$(status .snapshots)" = 1 ]' "a snapshot"
place() { jq -r '.consoles.files[0].offset' "$STORE/state.json"; }
await 20 '[ "$(place)" = "$(stat -c %s "$T/consoles/node.log")" ]' "the place in the file on the disk"
tail=$(role tail)
kill -KILL "$tail"
oops while_the_tail_was_dead
await 30 '[ "$(role tail)" != "" ] && [ "$(role tail)" != "$tail" ]' "another tail role"
await 30 '[ "$(status .snapshots)" = 2 ]' "a snapshot of what was written meanwhile"
is "oopses" "$(status .events.oops)" 2
say "tail role killed: replaced, the oops written meanwhile was found once"

# --- the probe role dies, then hangs: neither is a failure of the service

prober=$(role probe)
kill -KILL "$prober"
await 30 '[ "$(role probe)" != "" ] && [ "$(role probe)" != "$prober" ]' "another probe role"
prober=$(role probe)
kill -STOP "$prober"
await 30 '[ "$(said "the probe role says nothing of web")" = 1 ]' "a line about the probe role that hangs"
await 30 '[ "$(role probe)" != "" ] && [ "$(role probe)" != "$prober" ]' "a third probe role"
await 20 '[ "$(status ".probes[0].stale_since")" = null ]' "fresh reports"
is "state of the service" "$(status '.probes[0].state')" up
is "events of the service" "$(status '.events.service_down // 0')" 0
say "probe role killed, then stopped: replaced twice, no false alarm"

# --- a worker hangs at work, as on a disk that does not answer: the snapshot goes to the next store

await 30 '[ "$(status .spare_ready)" = true ]' "a spare worker"
worker=$(role capture)
kill -STOP "$worker"
began=$(now_ms)
oops while_the_worker_hung
await 10 '[ "$(status ".capturing | length")" = 1 ]' "a capture"
answers=0
while [ "$(status .snapshots)" = 2 ]; do
    [ $(($(now_ms) - began)) -lt 60000 ] || fail "no snapshot within 60 s of a worker that hangs"
    asked=$(now_ms)
    timeout 2 "$LASTGASP" --config "$T/lastgasp.toml" status >/dev/null || fail "the core does not answer"
    [ $(($(now_ms) - asked)) -lt 2000 ] && answers=$((answers + 1))
    sleep 0.2
done
say "worker stopped: snapshot in the second store after $(($(now_ms) - began)) ms; the core answered $answers times meanwhile"
has "where the snapshot went" "$(status '.log[].text')" "^snapshot \w+ is in $SECOND/"
# Nothing is wrong with the first store, so it is soon there.
await 90 '[ "$(dirname "$(status ".last_snapshots[-1].path")")" = "$STORE" ] && [ "$(archive_count "$SECOND")" = 0 ]' "the move home"
snapshot=$(status '.last_snapshots[-1].path')
sound "$snapshot"
has "notes of the manifest" "$(manifest "$snapshot" '.notes[]')" "an attempt before this one failed: the snapshot.s first tier did not reach the disk in time"
await 30 '[ "$(status .spare_ready)" = true ]' "a spare worker"
is "stuck children" "$(status .stuck_children)" 0
is "captures lost" "$(status '.losses.counts.capture_failed // 0')" 0

# --- the next one is as before

oops when_all_is_well_again
await 30 '[ "$(status .snapshots)" = 4 ]' "a snapshot"
is "where the next one goes" "$(dirname "$(status '.last_snapshots[-1].path')")" "$STORE"
mapfile -t all < <(archives)
sound "${all[@]}"
stop_watch
