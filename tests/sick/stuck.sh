#!/bin/bash
# Hung processes and dead file systems for the scenarios that source this (after lib.sh): see stuck.c.
#
#   dead_fuse                    a FUSE mount at $FUSE whose file $FUSE/file is never read; $SERVER is its pid
#   hold HOW FILE COUNT [WORD…]  so many processes, healthy yet; pids in HELD
#   strike                       lets all in HELD hang, and awaits that they do
#
#   healthy COUNT                so many processes `sleep 1000000.N`, none of which a capture may lose
#   baseline                     the time of a capture here while nothing hangs, in BASELINE_MS; in_time checks SNAP_MS by it
#
# All of them go when the scenario ends, whatever happens: the end of the server frees whoever waits for it, and the
# server ends by itself after five minutes.

need gcc setsid
[ -c /dev/fuse ] || skip "there is no /dev/fuse here"
STUCK=$T/stuck
gcc -O1 -Wall -pthread -o "$STUCK" "$(dirname "${BASH_SOURCE[0]}")/stuck.c" || fail "build stuck.c"
HELD=()

healthy() {
    local i
    for i in $(seq "$1"); do
        sleep "1000000.$i" &
        PIDS+=($!)
        disown $!
    done
}

baseline() {
    trigger 60
    BASELINE_MS=$SNAP_MS
    await 60 '[ "$(status .spare_ready)" = true ]' "the next spare worker"
}

# A few readers' limits more than without the fault, on a machine that may be busy.
in_time() {
    local most=$((2 * BASELINE_MS + 3000))
    [ "$SNAP_MS" -le $most ] || fail "$1: the capture took $SNAP_MS ms; without the fault $BASELINE_MS ms"
    say "$1: $SNAP_MS ms; without the fault $BASELINE_MS ms"
}

dead_fuse() {
    FUSE=$T/fuse
    mkdir -p "$FUSE"
    setsid "$STUCK" serve "$FUSE" >"$T/fuse.ready" 2>"$T/fuse.log" </dev/null &
    SERVER=$!
    disown "$SERVER"
    FREE+=("kill -KILL $SERVER")
    MOUNTS+=("$FUSE")
    await 10 'grep -q ready "$T/fuse.ready"' "the FUSE mount"
}

# From now on it answers nothing at all.
fuse_dies() { kill -USR1 "$SERVER"; }

hold() {
    local how=$1 file=$2 count=$3 i pid
    shift 3
    for ((i = 0; i < count; i++)); do
        "$STUCK" hold "$how" "$file" "number-$i" "$@" 2>"$T/hold.log" </dev/null &
        pid=$!
        disown "$pid"
        HELD+=("$pid")
        # Freed by the end of what they wait for; ended here. After the shell's own FREE of that, because it comes first.
        PIDS+=("$pid")
    done
    # Waiting for the signal (rt_sigtimedwait), with the file open.
    for pid in "${HELD[@]}"; do
        await 20 "[ -e /proc/$pid/fd/3 ] && grep -qs sigtimedwait /proc/$pid/wchan" "process $pid ready"
    done
}

# Looks only at files that never wait.
hangs() {
    case $2 in
    exec) grep -qs '^VmExe:[[:space:]]*0 kB' "/proc/$1/status" ;;
    *) grep -qs '^State:[[:space:]]*D' "/proc/$1/status" ;;
    esac
}

strike() {
    local pid
    for pid in "${HELD[@]}"; do kill -USR1 "$pid"; done
    for pid in "${HELD[@]}"; do await 20 "hangs $pid $1" "process $pid hung"; done
}

# What an operator would type. With lsof: it reads maps, which since 6.17 needs the whole memory lock only while that is
# held for writing.
tools_hang() {
    must_hang 3 ps auxww
    must_hang 1 pgrep -f no-such-process-anywhere
    must_hang 1 pidof no-such-process-anywhere
    [ "${1:-}" != lsof ] || must_hang 3 lsof -b -w
}

# of_tasks FILE: pid, state, wchan, syscall, innermost function of the stack of each process, a line each.
of_tasks() { jq -r '[.pid, .state, .wchan // "-", (.syscall // "-" | split(" ")[0]), (.stack // ["-"])[0], .in_execve // false] | @tsv' "$1"; }

# remembered COUNT: the cache of command lines has so many of them. Read through the core's descriptor of its file.
remembered() {
    local fd
    fd=$(find "/proc/$WATCH/fd" -lname '/memfd:lastgasp-command-lines*' | head -n 1)
    [ "$(tr '\0' '\n' <"$fd" | grep -aoE "number-[0-9]+ --password" | sort -u | wc -l)" = "$1" ]
}
