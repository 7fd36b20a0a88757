#!/bin/bash
# No process and no thread can be had any more (pids.max): the workers are there beforehand, and the one that took a
# snapshot takes the next one too.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/cgroup.sh"
need_root
make_cgroup pids fork

# A fork in the group fails once it is full; whoever enters may make it more than full.
can_fork() { bash -c "echo \$\$ >'$CG/cgroup.procs'; exec 2>/dev/null; /bin/true & wait \$!"; }

sick_config
start_sick_watch
can_fork || fail "a fork in the group fails before the limit"
# shellcheck disable=SC2046 # one word a process
enter_cgroup $(family "$WATCH")
FREE+=("echo max >'$CG/pids.max'")
cat "$CG/pids.current" >"$CG/pids.max"
! can_fork || fail "a fork in the full group succeeds"
say "proven: $(cat "$CG/pids.current") tasks, no more can be had"

trigger
sound "$SNAP"
for collector in kernel_log tasks sockets memory descriptors processes network logs; do
    is "$collector" "$(outcome $collector)" complete
done
has "every process" "$(entry_text sos_commands/process/ps_auxww)" "lastgasp"
row "no process or thread to be had (pids.max)" "fork fails" "whole snapshot by the spare" "$SNAP_MS"

# There is no spare now, and none can be started.
await 10 '[ "$(status .spare_ready)" = false ]' "a watch that knows that it has no spare"
trigger
sound "$SNAP"
is tasks "$(outcome tasks)" complete
row "the same, with no spare left" "spare_ready is false" "taken by the worker before" "$SNAP_MS"

echo max >"$CG/pids.max"
await 30 '[ "$(status .spare_ready)" = true ]' "a spare worker after the limit was lifted"
await 30 '[ "$(family "$WATCH" | wc -l)" -le 5 ]' "the end of the worker that stood in"
