#!/bin/bash
# Control groups of a scenario's own, of either version. Sourced behind lib.sh.

# make_cgroup CONTROLLER NAME: sets CG (its directory) and CG_VERSION; goes with the scenario.
make_cgroup() {
    local controller=$1 base
    if [ -d "/sys/fs/cgroup/$controller" ]; then
        base=/sys/fs/cgroup/$controller CG_VERSION=1
    elif grep -qw "$controller" /sys/fs/cgroup/cgroup.controllers 2>/dev/null; then
        base=/sys/fs/cgroup CG_VERSION=2
        echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control || skip "the controller $controller cannot be switched on"
    else
        skip "there is no cgroup controller $controller here"
    fi
    CG=$base/lastgasp-$2-$$
    mkdir "$CG" || skip "no cgroup can be made"
    CGROUPS+=("$CG")
}
CGROUPS=()
# Processes leave at their own pace.
remove_cgroups() {
    local cg until
    for cg in "${CGROUPS[@]}"; do
        until=$((SECONDS + 10))
        until rmdir "$cg" 2>/dev/null || [ $SECONDS -ge $until ]; do sleep 0.1; done
    done
}
UNDO+=(remove_cgroups)

# family PID: it and everything that it started.
family() {
    local child
    echo "$1"
    for child in $(cat "/proc/$1"/task/*/children 2>/dev/null); do
        family "$child"
    done
}

# enter_cgroup PID...: with all their threads.
enter_cgroup() {
    local pid
    for pid in "$@"; do
        echo "$pid" >"$CG/cgroup.procs"
    done
}
