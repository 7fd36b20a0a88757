#!/bin/bash
# Storms: a thousand distinct oopses in a row, and a hundred services that fail at once. Nothing
# grows, nothing is silent.
source "$(dirname "$0")/lib.sh"
need_root

status_of() { awk -v key="^$2" '$0 ~ key { print $2 }' "/proc/$1/status"; }
# --- a thousand oopses, each of a function of its own

python3 - "$T/oopses.log" <<'PY'
import sys
with open(sys.argv[1], "w") as out:
    for n in range(1000):
        at = f"[{1000 + n // 100:5d}.{n % 100:02d}0000]"
        frames = "\n".join(f"{at}  storm_caller_{n}_{k}+0x10/0x20 [storm]" for k in range(20))
        out.write(f"""{at} BUG: kernel NULL pointer dereference, address: 0000000000000010
{at} #PF: supervisor read access in kernel mode
{at} Oops: 0000 [#1] PREEMPT SMP NOPTI
{at} CPU: 0 PID: 1 Comm: storm Not tainted 6.1.0 #1
{at} RIP: 0010:storm_number_{n}+0x10/0x20 [storm]
{at} Call Trace:
{at}  <TASK>
{frames}
{at}  </TASK>
{at} ---[ end trace 0000000000000000 ]---
""")
PY
is "signatures in the storm" "$("$LASTGASP" --format json scan "$T/oopses.log" | jq -r .signature | sort -u | wc -l)" 1000
mkdir "$T/consoles"
touch "$T/consoles/node1.log"
lines_each=$(($(wc -l <"$T/oopses.log") / 1000))
storm() { # COALESCE OOPSES_AT_A_TIME NAME
    config "[kmsg]
enabled = false
[capture]
disk_benchmark = false
skip = [\"systemd\", \"journal\"]
[incident]
coalesce = \"$1\"
max_per_hour = 6
[[console]]
path = \"$T/consoles/*.log\"
"
    rm -rf "$STORE" "$T/consoles/node1.log"
    : >"$T/consoles/node1.log"
    start_watch
    await 20 "[ \"\$(status '.consoles | length')\" = 1 ]" "the console log"
    local core before began
    core=$(status .pid)
    before=$(status_of "$core" VmRSS)
    began=$(now_ms)
    local n
    for ((n = $2; n <= 1000; n += $2)); do
        sed -n "$(((n - $2) * lines_each + 1)),$((n * lines_each))p" "$T/oopses.log" >>"$T/consoles/node1.log"
        await 60 "[ \"\$(status .events.oops)\" = $n ]" "$n oopses counted"
    done
    await 60 '[ "$(status ".capturing | length")" = 0 ]' "the end of all captures"
    AFTER=$(status_of "$core" VmHWM)
    GREW=$((AFTER - before))
    COUNT=$(archive_count)
    [ "$COUNT" -ge 1 ] && [ "$COUNT" -le 6 ] || fail "$COUNT snapshots of the storm"
    # shellcheck disable=SC2046 # one argument for each archive
    sound $(archives)
    [ "$AFTER" -le 16384 ] || fail "the core had $AFTER KiB"
    TOOK=$(($(now_ms) - began))
    say "$3: $COUNT snapshot(s), core $before -> $AFTER KiB, lost and said: $(status '.losses.counts | tojson')"
}
storm 10s 1000 "as one burst"
first=$(archives | sed -n 1p)
named=$(manifest "$first" '(.incident.events | length) + 1')
left=$(manifest "$first" .incident.events_left_out)
# What was complete only after the snapshot is in a further one, once the burst is over.
if [ $((named + left)) -lt 1000 ]; then
    await 40 '[ "$(archive_count)" -ge 2 ]' "a further snapshot for the rest"
    further=$(archives | sed -n 2p)
    is "what the further snapshot follows" "$(manifest "$further" .incident.follows)" "$(manifest "$first" .incident.id)"
    rest=$(manifest "$further" '(.incident.events | length) + 1 + .incident.events_left_out')
    is "oopses in both snapshots" $((named + left + rest)) 1000
fi
row "1000 distinct oopses, one burst" "scan finds 1000 signatures" "$COUNT snapshot(s), $named named, $left counted; core +$GREW KiB" "$TOOK"
stop_watch
storm 0s 100 "as ten bursts"
lost=$(status '.losses.counts | .rate_limit // 0')
[ "$lost" -gt 0 ] || fail "nothing is said to be lost"
row "1000 distinct oopses, ten bursts" "as above" "$COUNT snapshots, $lost counted as not captured; core +$GREW KiB" "$TOOK"
stop_watch

# --- a hundred services

python3 - "$T/ports" <<'PY' &
import socket, sys, time
listeners = [socket.create_server(("127.0.0.1", 0), backlog=8) for _ in range(100)]
open(sys.argv[1] + ".new", "w").write("\n".join(str(s.getsockname()[1]) for s in listeners) + "\n")
import os; os.rename(sys.argv[1] + ".new", sys.argv[1])
import selectors
sel = selectors.DefaultSelector()
for s in listeners:
    sel.register(s, selectors.EVENT_READ)
while True:
    for key, _ in sel.select():
        key.fileobj.accept()[0].close()
PY
services=$!
PIDS+=("$services")
await 20 "[ -e $T/ports ]" "a hundred services"
probes=$(awk '{ printf "[[probe]]\nname = \"svc%d\"\ntarget = \"tcp:127.0.0.1:%d\"\ninterval = \"1s\"\ntimeout = \"400ms\"\nfailures = 1\n", NR, $1 }' "$T/ports")
config "[kmsg]
enabled = false
[capture]
disk_benchmark = false
[incident]
coalesce = \"3s\"
$probes"
rm -rf "$STORE"
start_watch
await 30 '[ "$(status "[.probes[] | select(.state == \"up\")] | length")" = 100 ]' "a hundred probes up"
began=$(now_ms)
{ kill -KILL "$services" && wait "$services" || true; } 2>/dev/null
await 30 '[ "$(status "[.probes[] | select(.state == \"down\")] | length")" = 100 ]' "a hundred probes down"
await 30 '[ "$(status .snapshots)" -ge 1 ] && [ "$(status ".capturing | length")" = 0 ]' "a snapshot"
took=$(($(now_ms) - began))
named() {
    for a in $(archives); do
        manifest "$a" '.incident.trigger.event.details.probe, (.incident.events[].details.probe)'
    done | sort -u | grep -c '^svc'
}
counted() { for a in $(archives); do manifest "$a" .incident.events_left_out; done | awk '{ n += $1 } END { print n + 0 }'; }
# What came when the first one was complete is in a further one, when the burst has had its say.
await 30 '[ $(($(named) + $(counted))) -ge 100 ]' "all hundred named or counted"
count=$(archive_count)
[ "$count" -le 2 ] || fail "$count snapshots of one failure"
# shellcheck disable=SC2046
sound $(archives)
row "100 services fail at once" "100 probes down" "$count snapshot(s), $(named) named, $(counted) counted" "$took"
stop_watch
