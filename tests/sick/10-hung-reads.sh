#!/bin/bash
# Processes whose memory lock is held for good: one, ten and two hundred of them. Every tool that reads command lines
# hangs; a capture is as quick as ever, names each of them with where it hangs, shows the command line that it
# had while it was healthy, and loses none of the healthy ones.
source "$(dirname "$0")/lib.sh"
need_root
need ps pgrep pidof lsof
source "$(dirname "$0")/stuck.sh"

PS=sos_commands/process/ps_auxww
healthy 40

round() {
    local count=$1 how=$2 what=$3 file=$4 pid line seen
    hold "$how" "$file" "$count" --password=hush worker of "$how"
    # The cache knows them: the spare looks for new processes twice a minute; a restart of the watch makes it look now.
    sick_config "[capture]
disk_benchmark = false"
    start_sick_watch
    await 60 "remembered $count" "the cache of command lines"
    baseline
    [ "$how" != fault ] || fsfreeze -f "$T/frozen"
    strike "$how"
    tools_hang "$([ "$how" != fault ] || echo lsof)"
    # Twice: the first worker is exchanged for another after its snapshot, which must have the cache too.
    trigger 60
    await 60 '[ "$(status .spare_ready)" = true ]' "the next spare worker"
    trigger 60
    sound "$SNAP"
    entry_text $PS >"$T/ps"
    entry_text lastgasp/tasks.jsonl >"$T/tasks.jsonl"
    of_tasks "$T/tasks.jsonl" >"$T/tasks"
    entry_text lastgasp/tasks.txt >"$T/tasks.txt"
    seen=0
    for pid in "${HELD[@]}"; do
        line=$(awk -v pid="$pid" '$2 == pid' "$T/ps")
        has "ps line of $pid" "$line" "$STUCK hold .* number-[0-9]+ .*worker of .*\[as it was [0-9]+ s before; unreadable"
        lacks "ps line of $pid" "$line" 'hush'
        has "task $pid" "$(grep "^$pid	" "$T/tasks")" "^$pid	D	[a-z_]+	[0-9]+	(vm_mmap_pgoff|__vma_start_write|__vm_munmap)"
        seen=$((seen + 1))
    done
    is "hung processes in ps" "$seen" "${#HELD[@]}"
    [ "$how" != lock ] || has "the holder of the lock" "$(cat "$T/tasks.txt")" 'request_wait_answer'
    is "healthy processes with their command line" "$(grep -c ' sleep 1000000\.[0-9]*$' "$T/ps")" 40
    is "how processes ended" "$(outcome processes)" complete
    is "how tasks ended" "$(outcome tasks)" complete
    lacks "the readers of descriptors" "$(missing '^descriptors: /proc/' || true)" "did not answer"
    has "the manifest" "$(missing cmdline)" "the reader hangs at wchan="
    # One by hand, whose worker has seen none of them healthy: the watch lends it what it remembers.
    SNAP=$("$LASTGASP" --config "$T/lastgasp.toml" --format json snap --no-disk-benchmark | jq -r .path)
    entry_text $PS >"$T/ps"
    is "hung processes in the ps of a snapshot by hand" "$(grep -c 'worker of .*\[as it was [0-9]* s before; unreadable' "$T/ps")" "${#HELD[@]}"
    say "readers that hang: $(missing cmdline | grep -c 'the reader hangs'), $(missing 'not tried' | head -n 1)"
    in_time "$count $what"
    row "$count $what" "ps, pgrep -f, pidof$([ "$how" != fault ] || echo ", lsof -b") hang" "all with state, wchan, stack, cached command line; 40 of 40 healthy" "$SNAP_MS"
    stop_watch
}

let_go() {
    kill -KILL "$SERVER"
    local pid
    for pid in "${HELD[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
    for pid in "${HELD[@]}"; do await 20 "gone $pid" "the end of $pid"; done
    umount "$FUSE"
    HELD=()
}

for count in ${COUNTS:-1 10 200}; do
    dead_fuse
    round $count lock "processes with their memory lock held (dead FUSE)" "$FUSE/file"
    let_go
done

# The same on a frozen ext4: a page fault that waits for the thaw.
if command -v mkfs.ext4 losetup fsfreeze >/dev/null; then
    mkdir "$T/frozen"
    truncate -s 32M "$T/frozen.img"
    mkfs.ext4 -q "$T/frozen.img"
    mount -o loop "$T/frozen.img" "$T/frozen"
    MOUNTS+=("$T/frozen")
    FREE+=("fsfreeze -u '$T/frozen'")
    dd if=/dev/zero of="$T/frozen/file" bs=4096 count=1 status=none
    sync -f "$T/frozen"
    round 10 fault "processes in a page fault on a frozen ext4" "$T/frozen/file"
fi
