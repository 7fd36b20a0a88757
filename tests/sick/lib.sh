#!/bin/bash
# Shared by the scenarios of this folder; what they have in common with the tests beside them (own directory,
# own watch, awaited events, reading of archives) comes from tests/root/lib.sh. A scenario sources this first:
#
#   source "$(dirname "$0")/lib.sh"
#   need_root
#   FREE+=("…")                         # first of all: what takes the fault away again
#   stage the fault
#   must_hang 5 ps auxww                # the proof
#   sick_config "[capture]…"; start_sick_watch
#   trigger; sound "$SNAP"; entry_text sos_commands/…; missing …; outcome …   # the result; or `snap`, without a watch
#   row "200 hung processes" "ps auxww hangs 5 s" "all 200 named" "$SNAP_MS"
#
# FREE, UNDO, PIDS and MOUNTS are cleared away whatever happens, see tests/root/lib.sh.

source "$(dirname "${BASH_SOURCE[0]}")/../root/lib.sh"

# row FAULT PROOF RESULT MS: a line of the table that `run` prints at the end.
row() {
    printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" >>"${SICK_ROWS:-/dev/null}"
    say "$1 | $2 | $3 | $4 ms"
}

# must_hang SECONDS COMMAND...: the command does not end within that time; it is killed then. One that cannot
# be killed either is left to what FREE says.
must_hang() {
    local limit=$1 pid until
    shift
    setsid "$@" >"$T/hang.out" 2>&1 </dev/null &
    pid=$!
    PIDS+=("$pid")
    # Its end is no news of this shell's, and nobody waits for it.
    disown "$pid"
    until=$(($(now_ms) + limit * 1000))
    while [ "$(now_ms)" -lt "$until" ]; do
        gone "$pid" && fail "'$*' was to hang, but ended: $(head -c 300 "$T/hang.out")"
        sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || true
    say "proven: '$*' hangs ($limit s)"
}

# must_end SECONDS COMMAND...: the opposite; prints nothing, leaves the output in $T/end.out and the time in END_MS.
must_end() {
    local limit=$1 pid began code=0
    shift
    began=$(now_ms)
    "$@" >"$T/end.out" 2>&1 </dev/null &
    pid=$!
    PIDS+=("$pid")
    await "$limit" "gone $pid" "the end of '$*'"
    wait "$pid" || code=$?
    END_MS=$(($(now_ms) - began))
    [ $code = 0 ] || fail "'$*' ended with $code: $(head -c 600 "$T/end.out")"
}

# sick_config [TOML]: a config whose watch takes a snapshot of every `trigger`: no kernel log (other tests may
# write there), no cool-down, a console log of our own. TOML may have any other table.
sick_config() {
    mkdir -p "$T/consoles"
    : >>"$T/consoles/trigger.log"
    config "[kmsg]
enabled = false
[incident]
coalesce = \"0s\"
cooldown = \"0s\"
max_per_hour = 3600
[[console]]
path = \"$T/consoles/trigger.log\"
${1:-}"
}

# start_sick_watch [FLAG...]: a watch that is ready for `trigger`.
start_sick_watch() {
    start_watch "$@"
    await 20 "[ \"\$(status '.consoles | length')\" = 1 ]" "a watch that follows its console log"
}

# trigger [SECONDS]: a failure that no other trigger had, and its snapshot. SNAP is the archive, SNAP_MS the time
# from the line in the log to the published archive.
TRIGGERS=1000
trigger() {
    local limit=${1:-60} before began
    TRIGGERS=$((TRIGGERS + 1))
    before=$(status .snapshots)
    began=$(now_ms)
    cat >>"$T/consoles/trigger.log" <<OOPS
[  $TRIGGERS.000001] BUG: kernel NULL pointer dereference, address: 0000000000000010
[  $TRIGGERS.000002] #PF: supervisor read access in kernel mode
[  $TRIGGERS.000005] Oops: 0000 [#1] PREEMPT SMP NOPTI
[  $TRIGGERS.000006] CPU: 0 PID: 1 Comm: sick-test Not tainted 6.1.0 #1
[  $TRIGGERS.000007] RIP: 0010:sick_number_${TRIGGERS}_fn+0x10/0x20 [marked]
[  $TRIGGERS.000008] Call Trace:
[  $TRIGGERS.000009]  <TASK>
[  $TRIGGERS.000010]  sick_number_${TRIGGERS}_caller+0x10/0x20 [marked]
[  $TRIGGERS.000012]  </TASK>
[  $TRIGGERS.000013] ---[ end trace 0000000000000000 ]---
OOPS
    await "$limit" "[ \"\$(status .snapshots)\" -gt $before ]" "a snapshot of trigger $TRIGGERS"
    SNAP_MS=$(($(now_ms) - began))
    SNAP=$(status '[.last_snapshots[] | .. | .path? // empty] | last')
}

# snap [SECONDS] [FLAG...]: a snapshot by hand, without a watch: `lastgasp snap`. Sets SNAP, SNAP_MS as above and
# leaves what the command said in $T/end.out.
snap() {
    local limit=${1:-60}
    shift || true
    [ -e "$T/lastgasp.toml" ] || config
    must_end "$limit" "$LASTGASP" --config "$T/lastgasp.toml" snap "$@"
    SNAP_MS=$END_MS
    SNAP=$(newest)
}

# entry_text PATH: one entry of $SNAP, through our own reader.
entry_text() { "$LASTGASP" show "$SNAP" "$1"; }

# missing PATTERN: what the manifest says is missing, a line `collector: what: why` each, as far as it matches.
missing() { manifest "$SNAP" '.collectors[] | .name as $n | .missing[] | "\($n): \(.what): \(.why)"' | grep -E -- "$1"; }

# outcome COLLECTOR, why COLLECTOR: how it ended, and the reason.
outcome() { manifest "$SNAP" ".collectors[] | select(.name == \"$1\") | .outcome"; }
why() { manifest "$SNAP" ".collectors[] | select(.name == \"$1\") | .why"; }
