#!/bin/bash
# Every CPU busy: with the priorities of the unit a snapshot is still taken at once, and what was busy keeps most of
# the machine meanwhile.
source "$(dirname "$0")/lib.sh"
need_root
need gcc nice ionice choom
gcc -O1 -pthread -o "$T/crowd" "$ROOT/tests/sick/crowd.c" || fail "the helper does not build"
ln "$T/crowd" "$T/sick-busy"

unit() { sed -n "s/^$1=//p" "$ROOT/packaging/lastgasp.service"; }
cpus=$(nproc)
busy=()
for ((n = 0; n < 3 * cpus; n++)); do
    (exec "$T/sick-busy" busy) >/dev/null 2>&1 &
    PIDS+=($!)
    busy+=($!)
done

# --- the proof: no CPU is idle

ticks_busy() { local p; for p in "${busy[@]}"; do sed 's/.*) //' "/proc/$p/stat" | awk '{ print $12 + $13 }'; done | awk '{ n += $1 } END { print n }'; }
# of_cpus TICKS MS: percent of all CPUs.
of_cpus() { echo $(($1 * 1000 / $(getconf CLK_TCK) * 100 / ($2 * cpus))); }
idle() { awk '/^cpu / { print $5 + $6 }' /proc/stat; }
a=$(idle) b=$(ticks_busy) began=$(now_ms)
await 10 "[ \$(now_ms) -ge $((began + 1000)) ]" "a second"
share=$(awk -v d=$(($(idle) - a)) -v c="$cpus" -v hz="$(getconf CLK_TCK)" -v ms=$(($(now_ms) - began)) 'BEGIN { printf "%d", 100 * d / (c * hz * ms / 1000) }')
had=$(of_cpus $(($(ticks_busy) - b)) $(($(now_ms) - began)))
[ "$share" -lt 10 ] || fail "the CPUs are $share % idle"
say "proven: $cpus CPUs with $((3 * cpus)) busy tasks, which have $had % of them; $share % idle"

# --- a watch as the unit starts it

mkdir -p /run/lastgasp-sick-$$
UNDO+=("rm -rf /run/lastgasp-sick-$$")
echo 1 >/run/lastgasp-sick-$$/pid
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
choom -n "$(unit OOMScoreAdjust)" -p $$ >/dev/null 2>&1 || say "the OOM score cannot be lowered here (CAP_SYS_RESOURCE)"
adjust=$(cat /proc/$$/oom_score_adj)
renice -n "$(unit Nice)" -p $$ >/dev/null || skip "the priority cannot be raised"
ionice -c 2 -n "$(unit IOSchedulingPriority)" -p $$
start_watch
choom -n 0 -p $$ >/dev/null 2>&1 || true
renice -n 0 -p $$ >/dev/null
await 30 "[ \"\$(status '.probes[0].state')\" = up ]" "the probe up"
core=$(status .pid)
for pid in $core $(cat "/proc/$core/task/$core/children"); do
    is "OOM score of $pid" "$(cat "/proc/$pid/oom_score_adj")" "$adjust"
    is "nice of $pid" "$(sed 's/.*) //' "/proc/$pid/stat" | cut -d' ' -f17)" "$(unit Nice)"
    is "I/O class of $pid" "$(ionice -p "$pid")" "best-effort: prio $(unit IOSchedulingPriority)"
done

# --- a snapshot

# With the children that it has waited for.
ticks_own() { sed 's/.*) //' "/proc/$core/stat" | awk '{ print $12 + $13 + $14 + $15 }'; }
a=$(ticks_busy) o=$(ticks_own) began=$(now_ms)
echo 999999999 >/run/lastgasp-sick-$$/pid
await 60 '[ "$(status .snapshots)" -ge 1 ]' "a snapshot"
took=$(($(now_ms) - began))
await 30 "[ \"\$(status .spare_ready)\" = true ]" "the next spare"
wall=$(($(now_ms) - began))
hz=$(getconf CLK_TCK)
kept=$(of_cpus $(($(ticks_busy) - a)) "$wall")
SNAP=$(newest)
sound "$SNAP"
t0=$(manifest "$SNAP" '.tiers[0].durable_ms') total=$(manifest "$SNAP" .total_ms)
own=$((($(ticks_own) - o) * 1000 / hz))
[ "$t0" -le 2000 ] || fail "T0 was on the disk after $t0 ms"
[ "$total" -le 10000 ] || fail "the snapshot took $total ms"
# This machine may have other work, and the tools of this test use the CPUs as well: compared with before.
[ $((3 * kept)) -ge "$had" ] || fail "the busy tasks kept only $kept of $had % of the CPUs"
taken=$((own * 100 / (wall * cpus)))
[ "$taken" -le 60 ] || fail "the watch took $taken % of the CPUs"
say "T0 after $t0 ms, whole after $total ms; $own ms of CPU by the watch and its workers in $wall ms; that is $taken % of $cpus CPUs; the busy tasks had $had %, kept $kept %"
row "every CPU busy ($((3 * cpus)) tasks on $cpus)" "$share % idle" "T0 $t0 ms, whole $total ms; took $taken % of the CPUs, the noise kept $kept of $had %" "$took"
stop_watch
