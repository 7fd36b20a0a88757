#!/bin/bash
# Captures that are killed half-way: after the next start every archive in the store is whole by its own
# manifest, and nothing half-written is left.
#
# ROUNDS is 50 by hand and 10 with CI=true; each round kills the daemon or the capture worker at a random moment of the capture.
source "$(dirname "$0")/lib.sh"

ROUNDS=${ROUNDS:-$([ "${CI:-}" = true ] && echo 10 || echo 50)}
SEED=${SEED:-$(($(date +%s) % 32768))}
RANDOM=$SEED
mkdir "$T/consoles"
config "[kmsg]
enabled = false
[incident]
coalesce = \"0s\"
cooldown = \"0s\"
max_per_hour = 3600
[[console]]
path = \"$T/consoles/*.log\"
"
# oops N: a failure whose function is no other round's.
oops() {
    cat <<OOPS
[  $1.000001] BUG: kernel NULL pointer dereference, address: 0000000000000010
[  $1.000002] #PF: supervisor read access in kernel mode
[  $1.000005] Oops: 0000 [#1] PREEMPT SMP NOPTI
[  $1.000006] CPU: 0 PID: 1 Comm: kill-test Not tainted 6.1.0 #1
[  $1.000007] RIP: 0010:killed_in_round_$1_fn+0x10/0x20 [marked]
[  $1.000008] Call Trace:
[  $1.000009]  <TASK>
[  $1.000010]  killed_in_round_$1_caller+0x10/0x20 [marked]
[  $1.000012]  </TASK>
[  $1.000013] ---[ end trace 0000000000000000 ]---
OOPS
}
# The worker that is at work: it holds a lock on a partial, or will in a moment.
workers() { pgrep -P "$WATCH" -f 'role capture' || true; }
partials() { find "$STORE" -name '*.partial*'; }

daemon_kills=0 worker_kills=0 retried=0
for round in $(seq "$ROUNDS"); do
    log=$T/consoles/node$round.log
    # Before the start: a file that appears later is read from its beginning, which is another matter.
    : >"$log"
    start_watch
    await 20 "[ \"\$(status '.consoles | length')\" = 1 ]"
    victim=daemon
    [ $((RANDOM % 3)) != 0 ] || victim=worker
    delay=$(printf '0.%03d' $((RANDOM % 400)))
    spare=$(workers)
    oops $((1000 + round)) >>"$log"
    # The one wait for a time in these tests: the moment is what is random.
    sleep "$delay"
    if [ $victim = worker ]; then
        worker_kills=$((worker_kills + 1))
        kill -KILL $spare 2>/dev/null || true
        # It is tried again with another worker, if it was not done already.
        await 60 "[ \$(status .snapshots) -ge 1 ] || [ \$(status '.losses.counts.capture_failed // 0') -ge 1 ]" \
            "round $round: an end of the capture whose worker was killed after $delay s"
        is "round $round: captures lost by the death of a worker after $delay s" \
            "$(status '.losses.counts.capture_failed // 0')" 0
        [ "$(status '[.log[].text | select(test("tried again"))] | length')" = 0 ] || retried=$((retried + 1))
        has "round $round: place of the snapshot" "$(status '.last_snapshots[0].path')" "^$STORE/"
    else
        daemon_kills=$((daemon_kills + 1))
    fi
    kill_watch
done
say "seed $SEED: $daemon_kills daemons and $worker_kills workers killed ($retried captures tried again)"

: >"$T/consoles/none.log"
start_watch
await 60 '[ -z "$(partials)" ]' "the salvage of all partials"
whole=0 salvaged=0
for a in $(archives); do
    sound "$a"
    if [ "$(manifest "$a" .salvaged)" = null ]; then whole=$((whole + 1)); else salvaged=$((salvaged + 1)); fi
done
unreadable=$(find "$STORE" -name '*.unreadable' | wc -l)
rounds_seen=$(for a in $(archives); do manifest "$a" .incident.host; done | sort -u | wc -l)
stop_watch
out=$("$LASTGASP" --store "$STORE" verify --all 2>&1) || fail "verify --all: $out"
# What is known: snapshots, the reserve, the state of the tail role, the history; and the empty files of a process
# that died while it tested the store or made a name, which go when they are old.
left=$(find "$STORE" -mindepth 1 -printf '%f\n' | grep -vE '\.tar\.zst$|\.unreadable$|^reserve$|^state\.json|^history|^\.write-test-|\.partial\.new$' || true)
[ -z "$left" ] || fail "left in the store: $left"
absent=$((ROUNDS - rounds_seen - unreadable))
say "$ROUNDS rounds: $whole archives complete, $salvaged salvaged, $unreadable with nothing readable;" \
    "$absent rounds without any (killed before the head was written)"
