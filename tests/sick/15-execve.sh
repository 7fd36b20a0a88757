#!/bin/bash
# Processes that hang inside execve: the kernel closes a descriptor of theirs on a dead FUSE mount while it holds the lock
# that nearly every file of /proc/PID takes. Two hundred of them cost the capture two readers, not two hundred, and no
# healthy process is lost.
source "$(dirname "$0")/lib.sh"
need_root
need ps
source "$(dirname "$0")/stuck.sh"

COUNT=${COUNT:-200}

healthy 40
dead_fuse
hold exec "$FUSE/file" "$COUNT" --password=hush before its execve
sick_config "[capture]
disk_benchmark = false"
start_sick_watch
await 60 "remembered $COUNT" "the cache of command lines"
baseline
strike exec
must_hang 3 ps auxww
must_hang 1 cat "/proc/${HELD[0]}/environ"
trigger 60
sound "$SNAP"
entry_text sos_commands/process/ps_auxww >"$T/ps"
entry_text lastgasp/tasks.jsonl >"$T/tasks.jsonl"
of_tasks "$T/tasks.jsonl" >"$T/tasks"
for pid in "${HELD[@]}"; do
    line=$(awk -v pid="$pid" '$2 == pid' "$T/ps")
    has "ps line of $pid" "$line" "$STUCK hold exec .* before its execve \[as it was [0-9]+ s before; unreadable: it hangs inside execve"
    lacks "ps line of $pid" "$line" hush
    has "task $pid" "$(grep "^$pid	" "$T/tasks")" "^$pid	[SD]	(-	.*	true|[a-z_]+	.*false)\$"
done
is "healthy processes with their command line" "$(grep -c ' sleep 1000000\.[0-9]*$' "$T/ps")" 40
for name in tasks processes; do is "how $name ended" "$(outcome $name)" complete; done
lacks "the readers of descriptors" "$(missing '^descriptors: /proc/' || true)" "did not answer"
say "$(missing execve | head -n 3)"
in_time "$COUNT processes inside execve"
row "$COUNT processes inside execve" "ps, cat environ hang" "all with state, name, cached command line; 40 of 40 healthy" "$SNAP_MS"
