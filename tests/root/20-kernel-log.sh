#!/bin/bash
# Real messages of the running kernel: an OOM kill in a memory cgroup is captured with its victim, a
# crash of a program is only told where the config wants it so, text that a user writes into the log raises nothing, and none of it is
# told again after a restart.
#
# The kernel log is the machine's, not ours: events of others may come in between, and are let be.
source "$(dirname "$0")/lib.sh"
need_root
need gcc
[ -r /dev/kmsg ] || skip "/dev/kmsg cannot be read"
[ -w /dev/kmsg ] || skip "/dev/kmsg cannot be written"

# shellcheck source=tests/root/oom.sh
source "$(dirname "$0")/oom.sh"
make_oom_group

cat >"$T/crash.c" <<'C'
int main(void) { return *(volatile int *)0; }
C
CRASHER=crsh-$(printf %05d $(($$ % 100000)))
gcc -O1 -o "$T/$CRASHER" "$T/crash.c"

config "[incident]
coalesce = \"0s\"
cooldown = \"0s\"
max_per_hour = 1000
[capture]
disk_benchmark = false
[[rules.regrade]]
rule = \"segfault\"
alarm = false
"
start_watch
# What was in the log before us is not ours to judge; what we cause comes after this.
first=$(archive_count)
say "kernel log by $(status .kernel_log), $(status .kernel_records) records, $first snapshot(s) of what was logged before"

# A crash of a program, without a core file and without the shell's word on it.
crash() { { (ulimit -c 0; "$T/$CRASHER") || true; } 2>/dev/null; }

# --- OOM

began=$(now_ms)
run_out_of_memory
victim_snapshots() {
    local a
    for a in $(archives); do
        [[ $a == *-oom-* ]] && [ "$(manifest "$a" .incident.trigger.event.details.victim_pid)" = $victim ] && echo "$a"
    done
    true
}
await 60 '[ -n "$(victim_snapshots)" ]' "a snapshot of the OOM kill"
say "OOM kill: snapshot published within $(($(now_ms) - began)) ms of the first byte"
snapshot=$(victim_snapshots)
is "snapshots of the OOM kill" "$(wc -l <<<"$snapshot")" 1
sound "$snapshot"
event=$(manifest "$snapshot" .incident.trigger.event)
is "kind" "$(jq -r .kind <<<"$event")" oom
is "alarm" "$(jq -r .alarm <<<"$event")" true
is "victim" "$(jq -r .details.victim <<<"$event")" "$VICTIM"
is "origin" "$(jq -r '.origin | tostring' <<<"$event" | tr -d '"')" kmsg
text=$(jq -r '.text[]' <<<"$event")
has "text: begin" "$text" "invoked oom-killer"
has "text: end" "$text" "Memory cgroup out of memory: Killed process $victim \($VICTIM\)"
has "text: the cgroup" "$text" "$(basename "$GROUP")"
# The first reading may be earlier than the report's last line; what came after it is in the second.
log=$(entry "$snapshot" sos_commands/kernel/dmesg; entry "$snapshot" lastgasp/dmesg_late.txt)
has "kernel log in the snapshot" "$log" "Killed process $victim \($VICTIM\)"
say "title: $(manifest "$snapshot" .incident.title); $(wc -l <<<"$text") lines of text"

# --- a program that crashes, and text from user space

before=$(archive_count)
notes() { status "[.log[].text | select(test(\"$1\"))] | length"; }
faults=$(status '.events.user_fault // 0')
traced=$(cat /proc/sys/debug/exception-trace 2>/dev/null || echo 1)
if [ "$traced" = 0 ]; then
    say "CANNOT CHECK crashes of programs: debug.exception-trace is 0, so the kernel does not tell of them"
else
    crash
    await 20 "[ \$(status '.events.user_fault // 0') -gt $faults ]" "an event of the crashed program"
    await 10 "[ \$(notes 'no alarm: user_fault.*$CRASHER') = 1 ]" "a line for it in the log of the status"
    has "crash" "$(status '.log[].text')" "no alarm: user_fault.*$CRASHER"
fi

mark=fake-$$
for text in "<0>Kernel panic - not syncing: $mark" "<0>BUG: unable to handle page fault for address: ffff888$mark" \
    "<3>Out of memory: Killed process 4711 ($mark) total-vm:1kB, anon-rss:1kB, file-rss:0kB, shmem-rss:0kB, UID:0" \
    "<0>watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [$mark:4711]"; do
    echo "$text" >/dev/kmsg
done
# Records come in order: a later crash, once told, proves that the lines before it were read.
if [ "$traced" != 0 ]; then
    faults=$(status '.events.user_fault // 0')
    crash
    await 20 "[ \$(status '.events.user_fault // 0') -gt $faults ]" "an event of the second crash"
fi
is "events of text written by a user" "$(notes "$mark")" 0
is "panics" "$(status '.events.panic // 0')" 0
for a in $(archives | tail -n +1); do
    lacks "trigger of $a" "$(manifest "$a" .incident.title) $(manifest "$a" '.incident.trigger.event.text[0]')" "$mark|4711"
done
new=$(($(archive_count) - before))
say "crashed program: event without alarm; 4 lines of fake kernel text: no event; $new snapshot(s) meanwhile"
[ $new = 0 ] || say "(of other things that happened on this machine: $(archives | tail -n $new | xargs -n1 basename | tr '\n' ' '))"

# --- after a restart nothing is told twice

mine=$(victim_snapshots | wc -l)
stop_watch
start_watch
marks=$(status .kernel_records)
crash
if [ "$traced" != 0 ]; then
    await 20 '[ $(status ".events.user_fault // 0") -ge 1 ]' "an event after the restart"
    is "crashes told after the restart" "$(notes "no alarm: user_fault.*$CRASHER")" 1
fi
lacks "log after the restart" "$(status '.log[].text')" "$VICTIM|pid $victim"
is "OOM snapshots after the restart" "$(victim_snapshots | wc -l)" "$mine"
say "restarted: $marks record(s) read at the start, nothing told twice"

# --- nor after a crash of the watch itself

await 20 '[ "$(jq -r .cursor.seq "$STORE/state.json")" -ge 1 ]' "a cursor on the disk"
kill_watch
start_watch
is "OOM snapshots after a kill -9" "$(victim_snapshots | wc -l)" "$mine"
stop_watch
