# shellcheck shell=bash
# A real OOM kill in a memory cgroup of 32 MiB; sourced by tests that need one, after lib.sh.
#
#   make_oom_group       makes the cgroup and the program, or ends the test; sets VICTIM, its name
#   run_out_of_memory    has it killed; sets victim, its pid

LIMIT_BYTES=$((32 << 20))

make_oom_group() {
    need gcc
    if [ -w /sys/fs/cgroup/memory/cgroup.procs ]; then
        GROUP=/sys/fs/cgroup/memory/lastgasp-oom-$$
        mkdir "$GROUP" || skip "no memory cgroup can be made"
        echo $LIMIT_BYTES >"$GROUP/memory.limit_in_bytes"
        # Without swap accounting there is no such file, and mostly no swap either.
        echo $LIMIT_BYTES 2>/dev/null >"$GROUP/memory.memsw.limit_in_bytes" || true
    elif grep -qw memory /sys/fs/cgroup/cgroup.controllers 2>/dev/null; then
        echo +memory >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null || true
        GROUP=/sys/fs/cgroup/lastgasp-oom-$$
        mkdir "$GROUP" || skip "no memory cgroup can be made"
        echo $LIMIT_BYTES 2>/dev/null >"$GROUP/memory.max" || { rmdir "$GROUP"; skip "the memory controller is not for us"; }
        echo 0 2>/dev/null >"$GROUP/memory.swap.max" || true
    else
        skip "no memory controller, neither cgroup v1 nor v2"
    fi
    UNDO+=('rmdir "$GROUP" 2>/dev/null || true')
    # A name of its own, cut by the kernel to 15 bytes, so that this OOM is told from any other.
    VICTIM=gasp-$(printf %05d $(($$ % 100000)))
    cat >"$T/eat.c" <<'C'
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(void) {
    char byte;
    /* Begins when it is in its cgroup and told so. */
    if (read(0, &byte, 1) != 1) return 1;
    for (;;) {
        char *p = malloc(1 << 20);
        if (!p) return 2;
        memset(p, 1, 1 << 20);
    }
}
C
    gcc -O1 -o "$T/$VICTIM" "$T/eat.c"
    mkfifo "$T/go"
}

run_out_of_memory() {
    "$T/$VICTIM" <"$T/go" &
    victim=$!
    PIDS+=("$victim")
    # Its death is no news to the shell.
    disown "$victim"
    exec 3>"$T/go"
    echo $victim >"$GROUP/cgroup.procs"
    echo x >&3
    await 60 "gone $victim" "the death of the victim"
    exec 3>&-
}
